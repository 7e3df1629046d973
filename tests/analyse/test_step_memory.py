"""How much of a step its own gradients decide: by hand, and against trainings whose optimizer's state was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from dominance import Recorder, open_run, optim, step_memory
from dominance.errors import NothingRecorded

torch.set_num_threads(1)
STEPS = 12


def losses(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    x = torch.randn(5, 3, generator=generator)
    out = net(x)
    return {"a": (out[:, 0] - x.sum(1)).square().mean(), "b": 3 * (out[:, 1] + x.prod(1)).square().mean()}


def trained(folder: Path, make: Any, **options: Any) -> tuple[xr.DataTree, list[dict[str, Any]]]:
    """A run of a linear layer that two tasks share, all of it; and of each step: gradients, step, and what was kept."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    shared = net[0].weight
    optimizer = make(net.parameters())
    generator = torch.Generator().manual_seed(1)
    seen = []
    with Recorder(folder, net, optimizer, every=1, exact=True, quiet=True, **options):
        for _ in range(STEPS):
            found = losses(net, generator)
            each = [torch.autograd.grad(loss, shared, retain_graph=True)[0].double() for loss in found.values()]
            before = shared.detach().double().clone()
            state = optimizer.state[shared]
            kept = {
                name: state[name].double().clone()
                for name in ("exp_avg", "momentum_buffer")
                if state.get(name) is not None
            }
            optimizer.zero_grad()
            sum(found.values()).backward()  # type: ignore[union-attr]
            optimizer.step()
            after = {name: value.double().clone() for name, value in state.items() if torch.is_tensor(value)}
            seen.append({"g": each, "step": shared.detach().double() - before, "before": kept, "after": after})
    return open_run(folder), seen


def current(seen: dict[str, Any], gain: float, fades: float, name: str) -> list[float]:
    """From what the optimizer kept: Σ Δ² c g^k / s / Σ Δ², s = fades s' + gain g."""
    g = sum(seen["g"])
    whole = fades * seen["before"].get(name, torch.zeros_like(g)) + gain * g
    step = seen["step"]
    return [float((step * step * gain * own / whole).sum() / (step * step).sum()) for own in seen["g"]]


@pytest.mark.parametrize(
    ("make", "gain", "fades", "name"),
    [
        (lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99)), 0.2, 0.8, "exp_avg"),
        (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.7), 1.0, 0.7, "momentum_buffer"),
        (lambda p: torch.optim.SGD(p, lr=0.01), 1.0, 0.0, ""),
        (lambda p: torch.optim.RMSprop(p, lr=0.01), 1.0, 0.0, ""),
    ],
    ids=["Adam", "momentum", "SGD", "RMSprop"],
)
def test_as_the_optimizers_own_state_says(tmp_path: Path, make: Any, gain: float, fades: float, name: str) -> None:
    run, seen = trained(tmp_path / "run", make)
    found = step_memory(run)
    expected = np.array([current(each, gain, fades, name) for each in seen])
    layer = found["layer"].values[0]
    np.testing.assert_allclose(found["current_of"].sel(layer=layer), expected, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found["current"].sel(layer=layer), expected.sum(1), rtol=2e-3, atol=2e-4)
    if not fades:
        np.testing.assert_allclose(found["current"], 1.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "square", "gain"),
    [
        (lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.9)), "exp_avg_sq", 0.1),
        (lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9), "square_avg", 0.1),
        (lambda p: torch.optim.Adagrad(p, lr=0.01), "sum", 1.0),
    ],
    ids=["Adam", "RMSprop", "Adagrad"],
)
def test_the_accumulated_squares(tmp_path: Path, make: Any, square: str, gain: float) -> None:
    run, seen = trained(tmp_path / "run", make)
    found = step_memory(run)
    for each, value in zip(seen, found["accumulator"].isel(layer=0).values, strict=True):
        g, weight = sum(each["g"]), each["step"] ** 2
        assert value == pytest.approx(
            float((weight * gain * g * g / each["after"][square]).sum() / weight.sum()), rel=1e-3
        )
    assert found.attrs["exact"]


def test_nesterov_makes_the_step_from_the_gradient_and_the_average_once_more(tmp_path: Path) -> None:
    """g + μ (μ b + g), of which (1 + μ) g is this step's; SGD accumulates no squares."""
    run, seen = trained(tmp_path / "run", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.5, nesterov=True))
    found = step_memory(run)
    for each, value in zip(seen, found["current"].isel(layer=0).values, strict=True):
        g, weight = sum(each["g"]), each["step"] ** 2
        whole = 1.5 * g + 0.25 * each["before"].get("momentum_buffer", torch.zeros_like(g))
        assert value == pytest.approx(float((weight * 1.5 * g / whole).sum() / weight.sum()), rel=2e-3)
    assert found["accumulator"].isnull().all()


def test_each_task_of_adatask_by_its_own_momentum(tmp_path: Path) -> None:
    """Recorded while AdaTaskAdam trains: Δ^k (1 - β1) g^k / m^k of each."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    optimizer = optim.AdaTaskAdam(net.named_parameters(), lr=0.01, betas=(0.8, 0.99))
    generator = torch.Generator().manual_seed(1)
    expected, m = [], [0.0, 0.0]
    with Recorder(tmp_path / "run", net, optimizer, every=1, exact=True, quiet=True):
        for _ in range(STEPS):
            found = losses(net, generator)
            each = [torch.autograd.grad(loss, net[0].weight, retain_graph=True)[0] for loss in found.values()]
            m = [0.8 * one + 0.2 * g for one, g in zip(m, each, strict=True)]
            optimizer.zero_grad()
            optimizer.backward(found)
            optimizer.step()
            expected.append([(0.2 * g / one).flatten() for g, one in zip(each, m, strict=True)])
    run = open_run(tmp_path / "run")
    result = step_memory(run)
    shared = run["coord_layer"].values == run.attrs["layers"][0]
    update, step = (run[f"update/{name}"].values[..., shared].astype(float) for name in ("update", "total"))
    for i, parts in enumerate(expected):
        for k, part in enumerate(parts):
            value = (step[i] * update[i, k] * part.numpy()).sum() / (step[i] ** 2).sum()
            assert float(result["current_of"][i, 0, k]) == pytest.approx(value, rel=2e-3, abs=1e-4)
    assert result["accumulator"].isnull().all()


def test_a_step_that_is_no_average_is_refused(tmp_path: Path) -> None:
    run, _ = trained(tmp_path / "run", lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5))
    with pytest.raises(NothingRecorded, match="no average of gradients over one denominator"):
        step_memory(run)


def test_bursts_begin_anew(tmp_path: Path) -> None:
    """The momentum from before a burst is nobody's: in its first step the tasks' parts are this step's alone."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    with Recorder(tmp_path / "run", net, optimizer, every=8, burst=2, exact=True, quiet=True):
        for _ in range(40):
            optimizer.zero_grad()
            sum(losses(net, generator).values()).backward()  # type: ignore[union-attr]
            optimizer.step()
    run = open_run(tmp_path / "run")
    found = step_memory(run)
    first = np.flatnonzero(np.diff(run["step"].values, prepend=-9) > 1)[1:]
    shared = run["coord_layer"].values == run.attrs["layers"][0]
    update, step = (run[f"update/{name}"].values[..., shared].astype(float) for name in ("update", "total"))
    for row in first:
        expected = (step[row] * update[row]).sum(axis=-1) / (step[row] ** 2).sum()
        np.testing.assert_allclose(found["current_of"].values[row, 0], expected, rtol=1e-4)
    assert not found.attrs["exact"]
