"""Gradients taken row by row in one call, or at a tensor between losses and parameters: whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dominance import Recorder, open_run
from dominance.record.tasks.cut import Cut
from dominance.record.tasks.finder import Found, FoundTask

Truth = list[dict[str, list[Tensor | None]]]


@pytest.fixture(autouse=True)
def _same() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Model(nn.Module):
    """A trunk and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.depth, self.seg = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def features(self, x: Tensor) -> Tensor:
        return torch.tanh(self.trunk(x))

    def losses(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return (self.depth(z)[:, 0] - x.sum(1)).square().mean(), (self.seg(z)[:, 0] - x[:, 0]).abs().mean()


def recorded(path: Path, train: Callable[[Model, Tensor], Any], steps: int = 3) -> tuple[Any, Model, list[Tensor]]:
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = [torch.randn(16, 6) for _ in range(steps)]
    with Recorder(path, model, optimizer, every=1, exact=True):
        for x in data:
            optimizer.zero_grad()
            train(model, x)
            optimizer.step()
    return open_run(path), model, data


def truth(data: list[Tensor], weights: tuple[float, float]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """The first step's task gradients, flat over all parameters."""
    torch.manual_seed(0)
    model = Model()
    depth, seg = model.losses(data[0], model.features(data[0]))
    for name, loss, weight in zip(("depth", "seg"), (depth, seg), weights, strict=True):
        grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), grads, strict=True)]
        yield {name: weight * torch.cat([g.flatten() for g in flat]).numpy()}


def holds(run: Any, data: list[Tensor], weights: tuple[float, float]) -> None:
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    assert run.attrs["unrecorded"] == []
    assert run.sizes["step"] == len(data)
    for position, each in enumerate(truth(data, weights)):
        (want,) = each.values()
        found = np.nan_to_num(run["gradient/gradient"].values[0, position])
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=1e-6)
    assert float(run["layer/unexplained_gradient_sq"].max()) < 1e-9


def put(model: Model, gradients: list[Tensor | None]) -> None:
    for p, g in zip(model.parameters(), gradients, strict=True):
        p.grad = g


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["is_grads_batched", "vmap"])
def test_rows_of_one_batched_call_are_the_tasks(way: str, tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        depth, seg = model.losses(x, model.features(x))
        losses, parameters = torch.stack([depth, seg]), list(model.parameters())
        if way == "vmap":
            rows = torch.vmap(lambda v: torch.autograd.grad(losses, parameters, v, retain_graph=True))(torch.eye(2))
        else:
            rows = torch.autograd.grad(losses, parameters, torch.eye(2), is_grads_batched=True)
        put(model, [r.mean(0) for r in rows])

    run, _, data = recorded(tmp_path / "run", train)
    holds(run, data, (0.5, 0.5))
    np.testing.assert_allclose(run["loss/weight"].values[:, :2], 0.5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rows_over_separate_losses(tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        depth, seg = model.losses(x, model.features(x))
        parameters = list(model.parameters())
        rows = torch.autograd.grad([depth, seg], parameters, list(torch.eye(2)), is_grads_batched=True)
        put(model, [2 * r[0] + r[1] for r in rows])

    run, _, data = recorded(tmp_path / "run", train)
    holds(run, data, (2.0, 1.0))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.25, 3.0)])
def test_a_pass_from_a_mixture_of_gradients_at_the_representation(weights: tuple[float, float], tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        z = model.features(x)
        depth, seg = model.losses(x, z)
        heads = [*model.depth.parameters(), *model.seg.parameters()]
        total = torch.zeros_like(z)
        for weight, loss in zip(weights, (depth, seg), strict=True):
            *own, at = torch.autograd.grad(loss, [*heads, z], retain_graph=True, allow_unused=True)
            for p, g in zip(heads, own, strict=True):
                if g is not None:
                    p.grad = weight * g
            total += weight * at
        z.backward(total)

    run, _, data = recorded(tmp_path / "run", train)
    holds(run, data, weights)


def test_a_pass_from_the_gradients_of_detached_copies(tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        z = model.features(x)
        copies = [z.detach().clone().requires_grad_() for _ in range(2)]
        (depth, _), (_, seg) = (model.losses(x, copy) for copy in copies)
        depth.backward()
        seg.backward()
        z.backward(2 * copies[0].grad + copies[1].grad)

    run, model, data = recorded(tmp_path / "run", train)
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    trunk = slice(0, sum(p.numel() for p in model.trunk.parameters()))
    for position, each in enumerate(truth(data, (2.0, 1.0))):
        (want,) = each.values()
        np.testing.assert_allclose(
            run["gradient/gradient"].values[0, position, trunk], want[trunk], rtol=2e-4, atol=1e-6
        )


def test_rows_at_the_representation_that_are_taken_further(tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        z = model.features(x)
        depth, seg = model.losses(x, z)
        depth.backward(inputs=list(model.depth.parameters()), retain_graph=True)
        seg.backward(inputs=list(model.seg.parameters()), retain_graph=True)
        at = [torch.autograd.grad(depth, z, retain_graph=True)[0], torch.autograd.grad(seg, z, retain_graph=True)[0]]
        trunk = list(model.trunk.parameters())
        rows = torch.vmap(lambda v: torch.autograd.grad(z, trunk, v, retain_graph=True))(torch.stack(at))
        for p, r in zip(trunk, rows, strict=True):
            p.grad = r.sum(0)

    run, _, data = recorded(tmp_path / "run", train)
    holds(run, data, (1.0, 1.0))


def test_what_is_no_mixture_is_said(tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        z = model.features(x)
        depth, seg = model.losses(x, z)
        one, two = (torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in (depth, seg))
        z.backward(one + two if model.training else torch.where(one.abs() > two.abs(), one, two))
        model.eval()

    run, _, _ = recorded(tmp_path / "run", train)
    (reason,) = run.attrs["unrecorded"]
    assert "no mixture of the tasks' gradients" in reason["reason"]
    assert (reason["steps"], reason["first"]) == (2, 1)


def test_gradients_of_samples_are_no_tasks_beside_the_losses(tmp_path: Path) -> None:
    def train(model: Model, x: Tensor) -> None:
        parameters = list(model.parameters())
        singles = [
            torch.autograd.grad(sum(model.losses(row, model.features(row))), parameters) for row in x[:4].split(1)
        ]
        depth, seg = model.losses(x, model.features(x))
        (depth + seg).backward()
        put(model, [torch.stack(each).mean(0) + torch.randn_like(each[0]) for each in zip(*singles, strict=True)])

    run, _, _ = recorded(tmp_path / "run", train)
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    share = run["layer/unexplained_gradient_sq"].sum() / run["layer/total_gradient_sq"].sum()
    assert float(share) > 0.2


def test_of_few_numbers_any_are_a_mixture() -> None:
    cut = Cut()
    for name, gradient in (("a", [1.0, 0.0, 1.0]), ("b", [0.0, 1.0, 0.0])):
        task = FoundTask(name, [], [], 1.0, 0.5)
        cut.keep(Found(name, [task], []), task, torch.tensor(gradient))
    assert cut._mixture(torch.tensor([1.0, 2.0, 1.0])) is None
    (only,) = cut._mixture(torch.tensor([0.0, 1.0, 0.0])) or []
    assert (only[0].task.name, only[1]) == ("b", 1.0)


@pytest.mark.parametrize("way", ["backward", "mtl_backward"])
def test_torchjd_as_its_documentation_has_it(way: str, tmp_path: Path) -> None:
    autojac = pytest.importorskip("torchjd.autojac")
    mean = pytest.importorskip("torchjd.aggregation").Mean()

    def train(model: Model, x: Tensor) -> None:
        z = model.features(x)
        depth, seg = model.losses(x, z)
        if way == "backward":
            autojac.backward([depth, seg])
            autojac.jac_to_grad(model.parameters(), mean)
        else:
            autojac.mtl_backward([depth, seg], features=z)
            autojac.jac_to_grad(model.trunk.parameters(), mean)

    run, model, data = recorded(tmp_path / "run", train)
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    trunk = slice(0, sum(p.numel() for p in model.trunk.parameters()))
    for position, each in enumerate(truth(data, (0.5, 0.5))):
        (want,) = each.values()
        found = run["gradient/gradient"].values[0, position, trunk]
        np.testing.assert_allclose(found, want[trunk], rtol=2e-4, atol=1e-6)
    assert float(run["layer/unexplained_gradient_sq"].max()) < 1e-9
