"""Passes side by side: gradients as of whole passes, and never more of them than of one section of the graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from allocated import mark, peaks
from torch import Tensor, nn

from dominance import Recorder, open_run
from dominance.record.split.side_by_side import joined, sampled_side_by_side, sections_of
from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.graph import edge_of

WIDE = 24


class Residual(nn.Module):
    """Blocks around which the activations go as well, and a layer whose output is used after them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(WIDE, WIDE), nn.Tanh()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


class Tied(nn.Module):
    """A layer that is used before another and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tied, self.inner = (nn.Linear(WIDE, WIDE) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.tied(torch.tanh(self.inner(torch.tanh(self.tied(self.first(x)))))))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.layers = mlp()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.layers, x.requires_grad_(), use_reentrant=self.reentrant)


def mlp() -> nn.Module:
    return nn.Sequential(*(module for _ in range(3) for module in (nn.Linear(WIDE, WIDE), nn.ReLU())))


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mlp": (mlp, 3),
    "residual": (Residual, 3),
    "tied": (Tied, 2),  # the two uses, and what lies between them, stay together
    "transformer": (lambda: nn.TransformerEncoderLayer(WIDE, 2, 32, dropout=0.0, batch_first=True), 2),
    "checkpointed": (lambda: Checkpointed(reentrant=False), 3),
}
"""And how many sections a matrix of each has to be in."""


def tasks_of(trunk: nn.Module, count: int) -> tuple[list[FoundTask], list[Tensor], list[nn.Parameter]]:
    """Tasks that are heads over a trunk, and one that is a head over the middle of the heads' input; their losses."""
    torch.manual_seed(1)
    heads = [nn.Linear(WIDE, 1) for _ in range(count)]
    z = trunk(torch.randn(4, 5, WIDE))
    losses = [head(z).square().mean() for head in heads] + [z.abs().sum()]
    weights = [torch.tensor(0.5 + k) for k in range(len(losses))]
    tasks = [
        FoundTask(f"task {k}", [edge_of(loss)], [weight], 0.0, 1.0)
        for k, (loss, weight) in enumerate(zip(losses, weights, strict=True))
    ]
    parameters = [*trunk.parameters(), *(p for head in heads for p in head.parameters())]
    return tasks, [loss * weight for loss, weight in zip(losses, weights, strict=True)], parameters


def as_is(parameter: Tensor, gradient: Tensor) -> Tensor:
    return gradient


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_are_those_of_whole_passes(kind: str) -> None:
    made, fewest = MODELS[kind]
    trunk = made()
    tasks, losses, parameters = tasks_of(trunk, 2)
    sampled: dict[Tensor, Tensor] = {p: torch.tensor([0, 3, p.numel() - 1]) for p in trunk.parameters() if p.dim() > 1}
    sections = joined(sections_of([task.edges for task in tasks], set(parameters)), set(sampled))
    assert len([section for section in sections if any(p in sampled for p in section.leaves)]) >= fewest
    found = sampled_side_by_side(tasks, parameters, sampled, as_is)
    assert found is not None
    taken, products = found
    assert products.keys() == sampled.keys()
    whole = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    for place, p in enumerate(parameters):
        there = [row[place] for row in whole]
        for task, want in zip(tasks, there, strict=True):
            held = taken[task.name].get(p)
            assert (held is None) == (want is None)
            if want is not None and held is not None:
                torch.testing.assert_close(held, want.reshape(-1)[sampled[p]] if p in sampled else want)
        if p in sampled:
            rows = torch.stack([g.reshape(-1) for g in there if g is not None]).double().numpy()
            np.testing.assert_allclose(
                products[p].gram, rows @ rows.T, rtol=1e-5, atol=1e-5 * np.abs(rows @ rows.T).max()
            )


def test_a_graph_in_one_section_is_left_to_whole_passes() -> None:
    one = nn.Linear(WIDE, WIDE)
    tasks, _, parameters = tasks_of(one, 2)
    assert sampled_side_by_side(tasks, parameters, {one.weight: torch.tensor([0])}, as_is) is None
    tasks, _, parameters = tasks_of(Checkpointed(reentrant=True), 2)
    assert sampled_side_by_side(tasks, parameters, {}, as_is) is None


def test_tasks_of_one_name_are_left_to_whole_passes() -> None:
    trunk = mlp()
    tasks, _, parameters = tasks_of(trunk, 2)
    tasks[1].name = tasks[0].name
    assert sampled_side_by_side(tasks, parameters, {}, as_is) is None


def test_no_more_gradients_are_there_than_of_one_section() -> None:
    trunk = mlp()
    tasks, _, _ = tasks_of(trunk, 2)
    made: list[weakref.ref[Tensor]] = []
    most = 0

    def seen(parameter: Tensor, gradient: Tensor) -> Tensor:
        nonlocal most
        made.append(weakref.ref(gradient))
        most = max(most, sum(each() is not None for each in made))
        return gradient

    matrices: dict[Tensor, Tensor] = {p: torch.tensor([1]) for p in trunk.parameters() if p.dim() > 1}
    found = sampled_side_by_side(tasks, list(matrices), matrices, seen)
    assert found is not None
    assert len(made) == 3 * len(tasks)
    assert most == len(tasks)


def train(path: Path, *, light: bool, tasks: int, clamp: bool = False) -> None:
    torch.manual_seed(0)
    wide = 512
    trunk = nn.Sequential(*(module for _ in range(4) for module in (nn.Linear(wide, wide), nn.Tanh())))
    heads = nn.ModuleList(nn.Linear(wide, 1) for _ in range(tasks))
    model, x = nn.ModuleDict({"trunk": trunk, "heads": heads}), torch.randn(8, wide)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    recorder = Recorder(path, model, optimizer, budget="20MB", every=1, light=light, exact=True, quiet=True)
    with recorder:
        for step in range(5):
            mark()
            optimizer.zero_grad()
            z = trunk(x)
            sum((head(z)[:, 0] - k).square().mean() for k, head in enumerate(heads)).backward()
            if clamp and step == 3:
                with torch.no_grad():
                    trunk[0].weight.mul_(0.99)
            optimizer.step()
            if clamp and step == 2:
                with torch.no_grad():
                    trunk[2].weight.clamp_(-0.04, 0.04)


def test_memory_of_a_light_step_does_not_grow_with_the_tasks(tmp_path: Path) -> None:
    """But by a gradient of one layer for each; in full it is the gradient and the momentum of all layers."""
    layer = 512 * 512 * 4

    def most(name: str, *, light: bool, tasks: int) -> int:
        return max(peaks(lambda: train(tmp_path / name, light=light, tasks=tasks))[2:])

    few, many = most("few", light=True, tasks=2), most("many", light=True, tasks=6)
    full = most("full", light=False, tasks=6)
    assert many - few < (6 - 2) * 2 * layer  # half a layer is what inner products are taken in
    assert full - many > 6 * 2 * 4 * 0.8 * layer


def test_what_moves_a_parameter_besides_is_found_without_a_copy_of_its_step(tmp_path: Path) -> None:
    """Before the optimizer's step, and after it."""
    for light in (False, True):
        train(tmp_path / str(light), light=light, tasks=2, clamp=True)
    full, found = open_run(tmp_path / "False"), open_run(tmp_path / "True")
    assert np.count_nonzero(np.abs(full["update/outside"].values).sum(1)) == 2
    for name in ("update/outside", "update/total", "gradient/total", "update/update"):
        want = full[name].values
        np.testing.assert_allclose(found[name].values, want, rtol=1e-5, atol=1e-6 * np.abs(want).max(), err_msg=name)
    want = full["layer/outside_sq"].values
    np.testing.assert_allclose(found["layer/outside_sq"].values, want, rtol=1e-6)
    want = full["layer/total_update_sq"].values  # with the inner product of the step and what moved besides
    np.testing.assert_allclose(found["layer/total_update_sq"].values, want, rtol=0.05)
