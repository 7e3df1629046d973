"""Bursts of recorded steps against the same training with every step recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import dominance
from dominance import Recorder

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.8),
}


def train(path: Path, steps: int, maker: str, **given: Any) -> xr.DataTree:
    """Two tasks of different size and noise."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(6, 12), "a": nn.Linear(12, 1), "b": nn.Linear(12, 1)})
    optimizer = MAKERS[maker](net.parameters())
    with Recorder(path, net, optimizer, exact=True, quiet=True, **given):
        for _ in range(steps):
            x = torch.randn(16, 6)
            z = net["trunk"](x).tanh()
            a = (net["a"](z)[:, 0] - x.sum(1)).square().mean()
            b = 0.3 * (net["b"](z)[:, 0] - x[:, 0] - torch.randn(16)).square().mean()
            optimizer.zero_grad()
            (a + b).backward()
            optimizer.step()
    return dominance.open_run(path)


@pytest.mark.parametrize("maker", MAKERS)
def test_of_a_prepared_burst_only_what_is_left_of_the_old_momentum_is_nobodys(tmp_path: Path, maker: str) -> None:
    whole = train(tmp_path / "whole", 130, maker)
    run = train(tmp_path / "run", 130, maker, every=10)
    steps = run["step"].to_numpy()
    assert len(steps) >= 40
    assert steps[-1] > 80, "not at the start alone"
    true = whole["update/update"].to_numpy()[steps]
    found, unattributed = run["update/update"].to_numpy(), run["update/unattributed"].to_numpy()
    np.testing.assert_allclose(found.sum(1) + unattributed, true.sum(1), atol=1e-6)
    unseen, seen = (unattributed**2).sum(1), (found**2).sum((1, 2))
    assert ((unseen / (seen + unseen)) <= 0.1).mean() == 1
    off = np.abs(found - true).sum((1, 2)) / np.abs(true).sum((1, 2))
    assert np.median(off) < 0.05
    assert off[: int((steps < 20).sum())].max() < 1e-5, "the first burst is exact"


@pytest.mark.parametrize("given", [{"every": 10}, {"overhead": "900%"}])
def test_the_density_does_not_move_whose_the_parameters_are(tmp_path: Path, given: dict[str, Any]) -> None:
    whole = train(tmp_path / "whole", 300, "Adam")
    run = train(tmp_path / "run", 300, "Adam", **given)
    assert run.sizes["step"] < 250
    mine, true = (
        dominance.rau(each, at=each["step"].to_numpy()[-1], decay=0.999)["rau"].mean("coord").to_numpy().ravel()
        for each in (run, whole)
    )
    np.testing.assert_allclose(mine, true, atol=0.03)


def test_a_run_says_what_recording_took_and_what_was_asked(tmp_path: Path) -> None:
    run = train(tmp_path / "run", 5, "Adam", overhead="20%")
    overhead = run.attrs["overhead"]
    assert overhead["asked"] == 0.2
    assert 0 < overhead["seconds"] < 60
    assert overhead["share"] > 0.2, "a run of a few steps is taken for one of a minute"
