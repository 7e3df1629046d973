"""One task's gradient by difference from the script's own pass: against gradients that are taken one by one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import dominance
from dominance.record import at_backward, gradient_by_difference
from dominance.record.gradient_by_difference import EVERY, FIRST
from dominance.record.recorder import Recorder
from dominance.record.split.remainders import ROUNDINGS
from dominance.record.tasks.finder import FoundTask

EPS = float(np.finfo(np.float32).eps)
STEPS = FIRST + EVERY + 4
WITHOUT = [False] * FIRST + [True] * (EVERY - 1) + [False] + [True] * (STEPS - FIRST - EVERY)
"""Of which steps a pass is left out."""


class Net(nn.Module):
    """A trunk, a head that two tasks share, and a head for each."""

    def __init__(self, tasks: int, kind: str) -> None:
        super().__init__()
        between: dict[str, Callable[[], nn.Module]] = {
            "plain": nn.Identity,
            "norm": lambda: nn.BatchNorm1d(24),
            "dropout": lambda: nn.Dropout(0.3),
            "attention": lambda: nn.TransformerEncoderLayer(24, 2, 32, dropout=0.1, batch_first=True),
        }
        self.trunk = nn.Sequential(nn.Linear(6, 24), between[kind](), nn.Tanh(), nn.Linear(24, 24))
        self.pair = nn.Linear(24, 8)
        self.heads = nn.ModuleList(nn.Linear(8 if k < 2 else 24, 1) for k in range(tasks))

    def losses(self, x: Tensor) -> list[Tensor]:
        h = self.trunk(x)
        pair = torch.relu(self.pair(h))
        scales = [1 + (k == 1) * 3 for k in range(len(self.heads))]
        outs = [head(pair if k < 2 else h)[:, 0] for k, head in enumerate(self.heads)]
        return [scale * (out - k / 5).square().mean() for k, (out, scale) in enumerate(zip(outs, scales, strict=True))]


@dataclass
class Trained:
    net: nn.Module
    random: Tensor
    """The state of the generator at the end."""
    passes: list[int] = field(default_factory=list)
    """Tasks of which our own gradients were taken, at each backward()."""
    truth: list[list[list[Tensor | None]]] = field(default_factory=list)
    """At each step each task's gradient of each parameter, taken by themselves."""
    total: list[list[Tensor | None]] = field(default_factory=list)


Wrong = Callable[[nn.Module, int], None]


def train(
    path: Path | None,
    tasks: int,
    kind: str = "plain",
    *,
    amp: bool = False,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    before: Wrong = lambda net, step: None,
    loss_of: Callable[[list[Tensor], int], Tensor] = lambda losses, step: sum(losses, torch.zeros(())),
    passes: int = 1,
    to_none: bool = True,
    clip: float | None = None,
) -> Trained:
    """A training, recorded; or with the tasks' gradients taken by autograd.grad beside each step."""
    torch.manual_seed(0)
    net, x = Net(tasks, kind), torch.randn(32, 6)
    by = optimizer(net.parameters(), lr=1e-2)
    made = Trained(net, torch.empty(0))
    with contextlib.nullcontext() if path is None else counted(path, net, by, made):
        for step in range(STEPS):
            by.zero_grad(set_to_none=to_none)
            before(net, step)
            for _ in range(passes):
                with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                    losses = net.losses(x)
                total = loss_of(losses, step)
                if path is None:
                    weights = torch.autograd.grad(total, losses, retain_graph=True, allow_unused=True)
                    every = [loss if w is None else w * loss for loss, w in zip(losses, weights, strict=True)]
                    made.truth.append([gradients(loss, net) for loss in every])
                total.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            made.total.append([None if p.grad is None else p.grad.clone() for p in net.parameters()])
            by.step()
    made.random = torch.get_rng_state()
    return made


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True))


@contextlib.contextmanager
def counted(path: Path, net: nn.Module, by: Any, made: Trained) -> Iterator[None]:
    taken = at_backward.gradients_of

    def counts(tasks: Sequence[FoundTask], *others: Any, **by_name: Any) -> dict[str, dict[Tensor, Tensor]]:
        if tasks:
            made.passes.append(len(tasks))
        return taken(tasks, *others, **by_name)

    with pytest.MonkeyPatch.context() as patch, Recorder(path, net, by, every=1, exact=True):
        patch.setattr(at_backward, "gradients_of", counts)
        yield


def kept(path: Path, net: nn.Module) -> NDArray[np.float32]:
    """(step, task, coordinate): everything is kept of a net of this size."""
    found = dominance.open_run(path)["gradient"]["gradient"].to_numpy()
    assert found.shape[-1] == sum(p.numel() for p in net.parameters())
    return found


def by_parameter(row: NDArray[np.float32], net: nn.Module) -> list[NDArray[np.float64]]:
    ends = np.cumsum([p.numel() for p in net.parameters()])
    return [each.astype(np.float64) for each in np.split(row, ends[:-1])]


def flat(gradient: Tensor | None, p: Tensor) -> NDArray[np.float64]:
    return np.zeros(p.numel()) if gradient is None else gradient.double().numpy().reshape(-1)


def assert_same_training(one: Trained, other: Trained) -> None:
    assert torch.equal(one.random, other.random)
    for mine, theirs in zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(one.total, other.total, strict=True):
        for g, h in zip(mine, theirs, strict=True):
            assert (g is None) == (h is None)
            assert g is None or h is None or torch.equal(g, h)


def assert_near(path: Path, made: Trained, plain: Trained, besides: str = "") -> None:
    """Each task's gradient is off by roundings of the sum's and the tasks' norms, and zero where it does not reach."""
    found = kept(path, made.net)
    names = [name for name, _ in made.net.named_parameters()]
    for step, truth in enumerate(plain.truth):
        for k, of_task in enumerate(truth):
            rows = by_parameter(found[step, k], made.net)
            for i, (p, mine, wanted) in enumerate(zip(made.net.parameters(), rows, of_task, strict=True)):
                if wanted is None:
                    assert not mine.any(), (step, k, i)
                    continue
                if names[i] == besides:
                    continue
                sizes = [np.linalg.norm(flat(other[i], p)) for other in truth]
                size = np.linalg.norm(flat(plain.total[step][i], p)) + sum(sizes)
                assert np.linalg.norm(mine - flat(wanted, p)) <= ROUNDINGS * EPS * size, (step, k, i)


@pytest.mark.parametrize("kind", ["plain", "norm", "dropout", "attention"])
@pytest.mark.parametrize("tasks", [2, 4, 8])
def test_gradients_are_those_that_passes_of_their_own_give(tasks: int, kind: str, tmp_path: Path) -> None:
    made, plain = train(tmp_path / "run", tasks, kind), train(None, tasks, kind)
    assert made.passes == [tasks - without for without in WITHOUT]
    assert_same_training(made, plain)
    # The bias before the norm has no gradient but rounding.
    assert_near(tmp_path / "run", made, plain, besides="trunk.0.bias" if kind == "norm" else "")


def test_what_one_task_alone_reaches_is_what_came(tmp_path: Path) -> None:
    made, plain = train(tmp_path / "run", 2), train(None, 2)
    names = [name for name, _ in made.net.named_parameters()]
    own = [i for i, name in enumerate(names) if name.startswith("heads.1")]
    for step, row in enumerate(kept(tmp_path / "run", made.net)):
        for i in own:
            total = plain.total[step][i]
            assert total is not None
            assert np.array_equal(by_parameter(row[1], made.net)[i], total.reshape(-1).double().numpy())
            assert not by_parameter(row[0], made.net)[i].any()


@pytest.mark.parametrize("how", ["zeros", "clipped", "momentum", "decay"])
def test_of_other_trainings(how: str, tmp_path: Path) -> None:
    given: dict[str, dict[str, Any]] = {
        "zeros": {"to_none": False},
        "clipped": {"clip": 1e-2},
        "momentum": {"optimizer": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)},
        "decay": {"optimizer": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1)},
    }
    made, plain = train(tmp_path / "run", 3, **given[how]), train(None, 3, **given[how])
    assert made.passes == [3 - without for without in WITHOUT]
    assert_same_training(made, plain)
    if how == "clipped":
        for step, truth in enumerate(plain.truth):
            norm = np.sqrt(
                sum(
                    np.square(np.sum([flat(g[i], p) for g in truth], axis=0)).sum()
                    for i, p in enumerate(plain.net.parameters())
                )
            )
            factor = min(1.0, 1e-2 / (norm + 1e-6))
            plain.truth[step] = [[None if g is None else g * factor for g in of_task] for of_task in truth]
    assert_near(tmp_path / "run", made, plain)


def test_the_rest_of_the_run_is_that_of_a_pass_for_each_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "mine", 3)
    monkeypatch.setattr(gradient_by_difference, "FIRST", STEPS)
    assert train(tmp_path / "all", 3).passes == [3] * STEPS
    mine, every = (dominance.open_run(tmp_path / name) for name in ("mine", "all"))
    compared = 0
    for node in every.subtree:
        for name, values in node.dataset.data_vars.items():
            if name in ("time", "closure") or values.dtype.kind not in "fiu":
                continue
            here, there = (tree[node.path.strip("/") or "/"][name].to_numpy() for tree in (mine, every))
            assert np.array_equal(np.isnan(here), np.isnan(there)), name
            if str(name).startswith(("residual", "unexplained")):
                continue
            np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-5 * np.nanmax(np.abs(there), initial=0))
            compared += there.size > 0
    assert compared > 10


def test_two_optimizers_take_the_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Net(2, "plain"), torch.randn(32, 6)
    trunk = torch.optim.SGD(net.trunk.parameters(), lr=1e-2)
    heads = torch.optim.Adam([*net.pair.parameters(), *net.heads.parameters()], lr=1e-2)
    made = Trained(net, torch.empty(0))
    other = copy.deepcopy(net)
    with counted(tmp_path / "run", net, [trunk, heads], made):
        for _ in range(STEPS):
            net.zero_grad()
            sum(net.losses(x), torch.zeros(())).backward()
            trunk.step()
            heads.step()
    assert made.passes == [2 - without for without in WITHOUT]
    steps: list[torch.optim.Optimizer] = [torch.optim.SGD(other.trunk.parameters(), lr=1e-2)]
    steps.append(torch.optim.Adam([*other.pair.parameters(), *other.heads.parameters()], lr=1e-2))
    for row in kept(tmp_path / "run", net):
        losses = other.losses(x)
        for k, loss in enumerate(losses):
            rows = by_parameter(row[k], net)
            for p, mine, wanted in zip(net.parameters(), rows, gradients(loss, other), strict=True):
                np.testing.assert_allclose(mine, flat(wanted, p), rtol=1e-4, atol=1e-6)
        other.zero_grad()
        sum(losses, torch.zeros(())).backward()
        for each in steps:
            each.step()


# Where it is not done


def test_in_half_precision_each_task_has_its_pass(tmp_path: Path) -> None:
    made = train(tmp_path / "run", 3, amp=True)
    assert made.passes == [3] * STEPS
    assert_same_training(made, train(None, 3, amp=True))


def test_steps_of_several_passes_have_them_all(tmp_path: Path) -> None:
    made = train(tmp_path / "run", 3, passes=2)
    assert made.passes == [3] * (2 * STEPS)


def test_where_the_loss_has_another_term_each_task_has_its_pass(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Net(2, "plain"), torch.randn(32, 6)
    by, made = torch.optim.Adam(net.parameters()), Trained(net, torch.empty(0))
    with counted(tmp_path / "run", net, by, made):
        for _ in range(5):
            by.zero_grad()
            penalty = sum((p.square().sum() for p in net.trunk.parameters()), torch.zeros(()))
            (sum(net.losses(x), torch.zeros(())) + 1e-3 * penalty).backward()
            by.step()
    assert made.passes == [2, 1] * 5  # the penalty has one of its own


def test_a_hook_on_a_gradient_ends_it(tmp_path: Path) -> None:
    """Also one that hangs on what the task that is left out alone goes through."""

    def hang(net: nn.Module, step: int) -> None:
        if step == 5:
            last: Any = net.heads[1]
            last.weight.register_hook(lambda gradient: 3 * gradient)

    made = train(tmp_path / "run", 2, before=hang)
    assert made.passes == [2, 2, 1, 1, 1] + [2] * (STEPS - 5)


def test_a_function_of_the_script_ends_it(tmp_path: Path) -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0].clamp(-1e-4, 1e-4)

    def loss_of(losses: list[Tensor], step: int) -> Tensor:
        apply: Any = Twice.apply
        return sum(losses[:-1], apply(losses[-1]) if step >= 4 else losses[-1])

    made = train(tmp_path / "run", 2, loss_of=loss_of)
    assert made.passes[:4] == [2, 2, 1, 1]
    assert made.passes[4:] == [2] * (STEPS - 4)


def test_what_goes_wrong_later_is_found_at_the_next_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, calls = at_backward.gradients_of, []

    def wrong(tasks: Sequence[FoundTask], *others: Any, **by_name: Any) -> dict[str, dict[Tensor, Tensor]]:
        found = taken(tasks, *others, **by_name)
        calls.append(len(tasks))
        if sum(map(bool, calls)) > 5:
            found = {name: {p: 1.001 * g for p, g in of.items()} for name, of in found.items()}
        return found

    monkeypatch.setattr(at_backward, "gradients_of", wrong)
    made = train(tmp_path / "run", 2)
    assert made.passes == [2 - without for without in WITHOUT[: FIRST + EVERY]] + [2] * (STEPS - FIRST - EVERY)


def test_a_loss_of_another_structure_is_looked_at_anew(tmp_path: Path) -> None:
    made = train(tmp_path / "run", 3, loss_of=lambda losses, step: sum(losses[: 3 - (step >= 5)], torch.zeros(())))
    assert made.passes == [3, 3, 2, 2, 2, 2, 2] + [1] * (STEPS - 7)


def test_a_gradient_that_is_zero_for_once_is_zero(tmp_path: Path) -> None:
    """The strongest task has no example in the batch of one step."""

    def loss_of(losses: list[Tensor], step: int) -> Tensor:
        return losses[0] + torch.relu(losses[1] - (1e9 if step == 4 else 0.0))

    made, plain = train(tmp_path / "run", 2, loss_of=loss_of), train(None, 2, loss_of=loss_of)
    assert not kept(tmp_path / "run", made.net)[4, 1].any()
    assert_same_training(made, plain)
    assert made.passes[2:5] == [1, 1, 1]
    assert_near(tmp_path / "run", made, plain)


def test_the_task_is_chosen_anew_where_it_has_become_weak(tmp_path: Path) -> None:
    def loss_of(losses: list[Tensor], step: int) -> Tensor:
        return losses[0] * torch.tensor(1.0 if step < 4 else 100.0) + losses[1] * torch.tensor(1.0)

    made, plain = train(tmp_path / "run", 2, loss_of=loss_of), train(None, 2, loss_of=loss_of)
    assert made.passes[:8] == [2, 2, 1, 1, 1, 2, 1, 1]
    assert_near(tmp_path / "run", made, plain)
