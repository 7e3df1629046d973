"""From a training to noise_importance: a linear network whose first rows are one task's and whose last the other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from dominance import Recorder, noise_importance, open_run
from dominance.probes import NoiseProbe

INPUTS, OUTPUTS = 6, 4


class Blocks(nn.Module):
    """One shared layer; task a sees the first half of its outputs, task b the second."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(INPUTS, 2 * OUTPUTS, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.trunk(x).split(OUTPUTS, dim=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Blocks, Any, torch.Tensor, xr.DataTree, Path]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x = Blocks(), torch.randn(50, INPUTS)
    targets = torch.randn(2, 50, OUTPUTS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    path = tmp_path_factory.mktemp("planted")

    def evaluate(model: Blocks) -> dict[str, dict[str, float]]:
        with torch.no_grad():
            pairs = zip("ab", model(x), targets, strict=True)
            return {name: {"mse": (out - target).square().mean().item()} for name, out, target in pairs}

    with Recorder(path / "run", model, optimizer, every=1, quiet=True) as recorder:
        for _ in range(5):
            (out_a, out_b), (to_a, to_b) = model(x), targets
            losses = {"a": (out_a - to_a).square().mean(), "b": (out_b - to_b).square().mean()}
            recorder.observe(losses)
            optimizer.zero_grad()
            (losses["a"] + losses["b"]).backward()
            optimizer.step()
    torch.save(model.state_dict(), path / "model.pt")
    return model, evaluate, x, open_run(path / "run"), path


def test_expected_change_in_closed_form(trained: Any) -> None:
    """Noise of variance v on all of a's rows adds v |x|² to every output: E ΔMSE = v mean |x|², and b is untouched."""
    model, evaluate, x, run, _ = trained
    before = model.trunk.weight.detach().clone()
    probe = NoiseProbe(model, evaluate, higher_is_better={"mse": False})
    repeats, variances = 60, (0.01, 0.04)
    found = noise_importance(run, probe, fractions=(0.5,), variances=variances, repeats=repeats, save=False)
    assert torch.equal(model.trunk.weight, before)
    assert found.attrs["evaluation"] == "deterministic"
    square = float(x.square().sum(1).mean())
    for owner, other in (("a", "b"), ("b", "a")):
        change = found.change.sel(owner=owner, selection="top", metric="mse")
        assert (change.sel(task=other) == 0).all()
        for setting, variance in enumerate(variances):
            expected = variance * square / evaluate(model)[owner]["mse"]
            seen = change.sel(task=owner).isel(setting=setting).values
            error = seen.std(ddof=1) / repeats**0.5
            assert abs(seen.mean() - expected) < 4 * error < expected
        # half of as many random weights are the owner's: half of the harm
        random = found.mean_change.sel(owner=owner, task=owner, selection="random", metric="mse")
        np.testing.assert_allclose(random, change.sel(task=owner).mean("repeat") / 2, rtol=0.2)
    assert (found.specificity_lower > 0).all()


def test_the_saved_model_gives_the_same(trained: Any) -> None:
    model, evaluate, _, run, path = trained
    options: Any = {"fractions": (0.1,), "variances": (0.01,), "repeats": 2, "save": False}
    live = noise_importance(run, NoiseProbe(model, evaluate), **options)
    saved = noise_importance(run, NoiseProbe(Blocks(), evaluate, state_dict=path / "model.pt"), **options)
    xr.testing.assert_identical(live, saved)
    assert saved.attrs["directions_missing"] == ["mse"]
