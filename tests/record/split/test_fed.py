"""Weights of the tasks in what an optimizer was fed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from record.losses import Data, Net
from record.test_tasks_of_a_run import recorded
from torch import nn

DATA = Data()


def halved(net: nn.Module) -> None:
    for p in net.parameters():
        p.grad = None if p.grad is None else p.grad * 0.5


def clipped(net: nn.Module) -> None:
    nn.utils.clip_grad_norm_(net.parameters(), 1e-3)


def separately(net: nn.Module) -> None:
    for p in net.parameters():
        if p.grad is not None:
            p.grad = p.grad * (0.5 if p.dim() > 1 else 0.25)


def weighed_by_uncertainty(change: Callable[[nn.Module], None]) -> Callable[[nn.Module, int], None]:
    """A step whose learned weights are fed what no task reaches."""

    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        scale = (-net.logvar).exp()
        (scale[0] * depth + scale[1] * seg + net.logvar.sum()).backward()
        change(net)

    return train


@pytest.mark.parametrize("change", [halved, clipped])
def test_one_factor_on_all_gradients_is_in_the_weights_beside_learned_ones(
    change: Callable[[nn.Module], None], tmp_path: Path
) -> None:
    run = recorded(tmp_path, Net(), weighed_by_uncertainty(change), 2)
    first, second = run["loss/weight"].values.T
    assert run.attrs["tasks"] == ["depth", "seg"]
    np.testing.assert_allclose((first / second)[0], np.exp(-0.3) / np.exp(0.2), rtol=1e-5)
    assert (first < np.exp(-0.25)).all()


def test_a_factor_for_each_parameter_is_no_weight(tmp_path: Path) -> None:
    run = recorded(tmp_path, Net(), weighed_by_uncertainty(separately), 2)
    assert np.isnan(run["loss/weight"].values).all()
