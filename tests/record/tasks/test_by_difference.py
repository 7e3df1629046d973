"""Losses whose tensors are gone, and what they were: known by the total, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch.nn.functional as F
from record.losses import Data, Net
from record.test_tasks_of_a_run import recorded
from torch import Tensor, nn

DATA = Data()
Each = Callable[[Tensor, Tensor], Tensor]


def in_function(each: Each, *, added: float = 0.0) -> Callable[[nn.Module, int], None]:
    """A step that adds up each sample's loss in a function that has returned, and maybe a constant."""

    def losses_of(out: tuple[Tensor, Tensor]) -> Tensor:
        depth_loss = sum([each(p, t) for p, t in zip(out[0], DATA.t, strict=True)], added) / len(DATA.x)
        seg_loss = sum(each(p, t) for p, t in zip(out[1], DATA.x[:, :3], strict=True)) * 0.1
        return 0.5 * depth_loss + 2 * seg_loss

    return lambda net, step: losses_of(net(DATA.x)).backward()


@pytest.mark.parametrize("each", [F.mse_loss, F.smooth_l1_loss, lambda p, t: (p - t).square().sum()])
def test_sums_over_samples_that_begin_with_zero(each: Each, tmp_path: Path) -> None:
    net = Net()
    out = net(DATA.x)
    depth = sum(float(each(p, t).detach()) for p, t in zip(out[0], DATA.t, strict=True)) / len(DATA.x)
    run = recorded(tmp_path, net, in_function(each), 2)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    np.testing.assert_allclose(run["loss/loss"].sel(task="depth_loss").values[0], depth, rtol=1e-5)
    weighted = run["loss/loss"].values * run["loss/weight"].values
    np.testing.assert_allclose(weighted.sum(1), run["loss/total"].values, rtol=1e-5)


def test_where_a_constant_is_added_no_loss_is_made_up(tmp_path: Path) -> None:
    run = recorded(tmp_path, Net(), in_function(F.mse_loss, added=3.0), 2)
    assert np.isnan(run["loss/loss"].values).all()
    np.testing.assert_allclose(run["loss/weight"].values, [[0.5, 2]] * 2, rtol=1e-6)
