"""Phases: of planted changes, of a training whose weights were changed at a known step, and of one without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from runs import make_run, planted_run
from torch import nn

from dominance import Recorder, open_run, phases
from dominance.errors import BadOption, NothingRecorded

torch.set_num_threads(1)


def two_layers(steps: int = 600, at: int = 300, seed: int = 0) -> np.ndarray:
    """Layer x (first 20): a has 0.8 of the squares to step ``at``, then 0.3. Layer y (20 more): half each, throughout;
    tasks at right angles to step 200, then opposed."""
    rng = np.random.default_rng(seed)
    updates = rng.standard_normal((steps, 2, 40))
    updates[:at, :, :20] *= np.sqrt([[0.8], [0.2]])
    updates[at:, :, :20] *= np.sqrt([[0.3], [0.7]])
    updates[200:, 1, 20:] = -updates[200:, 0, 20:] + 0.3 * updates[200:, 1, 20:]
    return updates


def test_planted_changes_by_layer() -> None:
    run = make_run(two_layers(), layers={"x": 20, "y": 20}, steps=10 * np.arange(600))
    found = phases(run, by="layer")
    assert found["change_layer"].values.tolist() == ["y", "x"]
    assert found["change_measure"].values.tolist() == ["conflict", "ownership"]
    assert found["change_at"].values == pytest.approx([2000, 3000], abs=20)
    assert found["change_task"].values.tolist() == ["a", "a"]
    assert found["change_other"].values.tolist() == ["b", ""]
    np.testing.assert_allclose(found["before"], [1, 0.8], atol=0.05)
    np.testing.assert_allclose(found["after"], [1.96, 0.3], atol=0.05)
    x = found.sel(layer="x")
    switch = int(found["change_at"][1])
    np.testing.assert_array_equal(x["phase"].sel(measure="ownership"), found["step"] >= switch)
    np.testing.assert_allclose(x["level"].sel(step=0), [0.8, 0.2], atol=0.05)
    np.testing.assert_allclose(x["level"].sum("task"), 1)
    before = x["share"].sel(step=slice(0, switch - 1)).mean("step")
    np.testing.assert_allclose(x["level"].sel(step=0), before)


def test_the_series_are_shares_and_gcd() -> None:
    run = make_run(two_layers(20), layers={"x": 20, "y": 20})
    squares = (two_layers(20).astype(np.float32) ** 2).sum(-1, dtype=float)
    found = phases(run)
    np.testing.assert_allclose(found["share"][:, 0], squares / squares.sum(1, keepdims=True), rtol=1e-5)
    gradient = two_layers(20)
    cosine = (gradient[:, 0] * gradient[:, 1]).sum(-1) / np.linalg.norm(gradient, axis=-1).prod(-1)
    np.testing.assert_allclose(found["gcd"][:, 0, 0, 1], 1 - cosine, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_training_without_changes_is_one_phase(seed: int) -> None:
    found = phases(planted_run(seed=seed, steps=400), by="layer")
    assert found.sizes["change"] == 0
    assert (found["phase"] == 0).all()


def test_an_onset(tmp_path: Path) -> None:
    found = phases(planted_run(steps=300, share=0.9, onset=120))
    assert found["change_at"].values.tolist() == [120]
    assert found["before"].item() == pytest.approx(0.5, abs=0.05)
    assert found["after"].item() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_weight_that_is_changed_at_step_300(tmp_path: Path, optimizer: str) -> None:
    """b counts 0.1 until then, and 10 from then on. Adam goes on with what it remembers of a for a few steps."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    optimise = getattr(torch.optim, optimizer)(net.parameters(), lr=1e-4)
    with Recorder(tmp_path / "run", net, optimise, every=1, quiet=True):
        for step in range(600):
            x = torch.randn(16, 4)
            out = net(x)
            a = (out[:, 0] - x.sum(1)).square().mean()
            b = (out[:, 1] - x.prod(1) - 3).square().mean()
            optimise.zero_grad()
            (a + (0.1 if step < 300 else 10) * b).backward()
            optimise.step()
    found = phases(open_run(tmp_path / "run"))
    first = found.isel(change=found["change_measure"].values == "ownership")
    assert first["change_at"].values[0] == 300 if optimizer == "SGD" else 300 <= first["change_at"].values[0] <= 310
    assert first["before"].values[0] > first["after"].values[0] if first["change_task"].values[0] == "a" else True
    level = found["level"].sel(layer="all shared", task="b")
    assert float(level.sel(step=100)) < 0.3
    assert float(level.sel(step=500)) > 0.9


def test_steps_without_a_gradient_of_one_task_have_no_gcd() -> None:
    updates = two_layers(100)
    updates[::2, 1] = 0
    found = phases(make_run(updates))
    assert np.isnan(found["gcd"][::2, 0, 0, 1]).all()
    assert found["change_measure"].values.tolist() == []


def test_several_runs() -> None:
    runs = {"changed": planted_run(steps=300, onset=120), "same": planted_run(steps=300)}
    found = phases(runs)
    assert found["change_at"].dims == ("run", "change")
    assert found["change_layer"].values.tolist() == [["all shared"], [""]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least": 1.0}, "least=1.0"),
        ({"shortest": 0.0}, "shortest=0.0"),
        ({"shortest": 0.6}, "shortest=0.6"),
        ({"by": "neuron"}, "'neuron' is unknown"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        phases(planted_run(steps=3), **options)


def test_nothing_recorded() -> None:
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        phases(make_run(np.zeros((0, 2, 3))))


def test_a_result_is_labelled() -> None:
    found = phases(planted_run(steps=30))
    assert isinstance(found, xr.Dataset)
    assert found["measure"].values.tolist() == ["ownership", "conflict"]
    assert found.attrs["least"] == 0.1
