"""What the gradients of K groups of examples cost, in plain training steps.

    python tests/speed/group_gradients.py [--rounds 5] [--groups 16] [--models mlp-256,mlp-1024,transformer]

Median ratios of CPU time to the plain step (forward, backward, Adam), interleaved, on one thread:

- passes: a pass a group from the logits, all masks from one forward, gradients formed
- rows: what ``record`` takes them with: groups are rows of one pass, gradients formed
- recorded: a whole recorded step, each group's momentum and its part of the step included
- light: the same with ``--light``: norms and inner products of all gradients, all else at the kept coordinates alone
- masks: as a person would write it: the losses of the examples times a group's mask, ``autograd.grad``, group by group
- vmap: each example's gradient by ``torch.func.vmap(grad(...))``, some at a time, summed by group
- opacus: each example's gradient by Opacus' GradSampleModule, where it is installed, summed by group

Each is the cost above the plain step plus the plain step itself.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import dominance
from dominance import Recorder, by_group
from dominance.record.split.gradients import gradients_of
from dominance.record.split.one_pass import Apart
from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.graph import edge_of

WIDE, WORDS, LENGTH = 1024, 64, 128
BUDGET = "1GB"
"""So that of each layer of the perceptron some 1,500 coordinates are kept."""
CHUNK, MOST_BYTES = 8, 8e9
"""Examples whose gradients ``vmap`` has in memory at a time, as all of a batch of 1,024 would be 26 GB; and the most
that Opacus may have, which has those of the whole batch."""


class Transformer(nn.Module):
    """Four layers, 256 wide."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 256), nn.Embedding(LENGTH, 256)
        layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(256, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(self.words(x) + self.places(torch.arange(x.shape[1]))))
        return out


def made(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A model, a batch and its targets."""
    torch.manual_seed(0)
    if name == "transformer":
        x = torch.randint(0, WORDS, (16, LENGTH))
        return Transformer(), x, x.roll(1, 1)
    layers = [layer for _ in range(6) for layer in (nn.Linear(WIDE, WIDE), nn.ReLU())]
    batch = int(name.partition("-")[2])
    return nn.Sequential(*layers, nn.Linear(WIDE, 10)), torch.randn(batch, WIDE), torch.randint(0, 10, (batch,))


def losses_of(out: Tensor, y: Tensor) -> Tensor:
    """Of each example, (example,)."""
    return F.cross_entropy(out.flatten(0, -2), y.flatten(), reduction="none").view(len(out), -1).mean(1)


def loss_of(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), y.flatten())


class Steps:
    """One model, trained in several ways."""

    def __init__(self, name: str, groups: int) -> None:
        self.model, self.x, self.y = made(name)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.ids = [str(i % groups) for i in range(len(self.x))]
        self.masks = [torch.tensor([each == str(k) for each in self.ids]) for k in range(groups)]
        self.parameters, self.apart = list(self.model.parameters()), Apart()

    def plain(self) -> None:
        self._end(loss_of(self.model(self.x), self.y))

    def passes(self) -> None:
        self._end(self._with(None))

    def rows(self) -> None:
        self._end(self._with(self.apart))

    def recorded(self) -> None:
        out = self.model(self.x)
        dominance.observe(at=out, shares=by_group(self.ids))
        self._end(loss_of(out, self.y))

    def _with(self, apart: Apart | None) -> Tensor:
        out = self.model(self.x)
        loss = loss_of(out, self.y)
        (gradient,) = torch.autograd.grad(loss, out, retain_graph=True)
        shape = (-1, *[1] * (out.dim() - 1))
        tasks = [FoundTask(str(k), [edge_of(out)], [gradient * m.view(shape)], 1, 0) for k, m in enumerate(self.masks)]
        gradients_of(tasks, self.parameters, apart)
        return loss

    def _end(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def masks(steps: Steps) -> Callable[[], None]:
    """A loop of masks over the losses of the examples."""

    def step() -> None:
        losses = losses_of(steps.model(steps.x), steps.y)
        for mask in steps.masks:
            torch.autograd.grad((losses * mask).mean(), steps.parameters, retain_graph=True)
        steps.optimizer.zero_grad()
        losses.mean().backward()
        steps.optimizer.step()

    return step


def vmapped(steps: Steps) -> Callable[[], None]:
    """Each example's gradient by a vectorised function, summed by group."""
    model, member = steps.model, torch.stack(steps.masks).float()
    values = dict(model.named_parameters())

    def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss_of(functional_call(model, parameters, (x[None],)), y[None])

    each = vmap(grad(one), in_dims=(None, 0, 0))

    def step() -> None:
        steps.optimizer.zero_grad()
        detached = {name: p.detach() for name, p in values.items()}
        sums = {name: torch.zeros(len(member), *p.shape) for name, p in values.items()}
        for at in torch.arange(len(steps.x)).split(CHUNK):
            taken = each(detached, steps.x[at], steps.y[at])
            for name in values:
                sums[name] += torch.tensordot(member[:, at], taken.pop(name), 1)
        for name, p in values.items():
            p.grad = sums[name].sum(0) / len(steps.x)
        steps.optimizer.step()

    return step


def opacus(steps: Steps) -> Callable[[], None] | None:
    """The same by each example's gradient; None where it is not installed, does not know the model, or they would
    not fit."""
    if 4 * len(steps.x) * sum(p.numel() for p in steps.parameters) > MOST_BYTES:
        return None
    try:
        from opacus import GradSampleModule
        from opacus.validators import ModuleValidator
    except ImportError:
        return None
    if not ModuleValidator.is_valid(steps.model):  # torch's own attention, say
        return None
    wrapped = GradSampleModule(copy.deepcopy(steps.model))  # its hooks would be in the plain step, too
    parameters = list(wrapped.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(wrapped(steps.x), steps.y).backward()
        member = torch.stack(steps.masks).float()
        for p in parameters:
            torch.tensordot(member, p.grad_sample, 1)  # type: ignore[attr-defined]
            p.grad_sample = None  # type: ignore[attr-defined]
        optimizer.step()

    return step


def timed(step: Callable[[], None]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def measure(name: str, groups: int, rounds: int, *, peers: bool) -> dict[str, float]:
    """Kind -> median ratio to the plain step."""
    steps = Steps(name, groups)
    kinds: dict[str, Callable[[], None]] = {"plain": steps.plain, "passes": steps.passes, "rows": steps.rows}
    found: dict[str, list[float]] = {}
    for step in kinds.values():
        step()
    for _ in range(rounds):
        seconds = {kind: timed(step) for kind, step in kinds.items()}
        for kind, each in seconds.items():
            found.setdefault(kind, []).append(each / seconds["plain"])
    for kind, light in {"recorded": False, "light": True}.items():
        found[kind] = [each / timed(steps.plain) for each in _recorded(steps, rounds, light=light)]
    for kind, peer in {"masks": masks(steps), "vmap": vmapped(steps)}.items() if peers else ():
        peer()
        found[kind] = [timed(peer) / timed(steps.plain) for _ in range(rounds)]
    if peers and (step := opacus(steps)) is not None:
        step()
        found["opacus"] = [timed(step) / timed(steps.plain) for _ in range(rounds)]
    return {kind: median(each) for kind, each in found.items()}


def _recorded(steps: Steps, rounds: int, *, light: bool) -> list[float]:
    """Seconds of recorded steps, without the first, which lay the run out and get to know the graph."""
    folder = Path(tempfile.mkdtemp())
    try:
        with Recorder(folder / "run", steps.model, steps.optimizer, budget=BUDGET, light=light):
            for _ in range(4):
                steps.recorded()
            return [timed(steps.recorded) for _ in range(rounds)]
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--models", default="mlp-256,mlp-1024,transformer")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.models.split(","):
        ratios = measure(name, options.groups, options.rounds, peers=not options.no_peers)
        print(f"{name}, K = {options.groups}: " + ", ".join(f"{kind} {each:.2f}" for kind, each in ratios.items()))


if __name__ == "__main__":
    main()
