"""Losses whose variables are gone when backward() is called: functions of them, heads, and batches that lack one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from record.losses import Data, Net
from record.test_tasks_of_a_run import recorded, residual
from torch import Tensor, nn

DATA = Data()
Function = Callable[[Tensor, Tensor], Tensor]


def in_function(combine: Function) -> Callable[[nn.Module, int], None]:
    """A step whose losses are combined in a function that has returned."""

    def losses(net: nn.Module) -> Tensor:
        out = net(DATA.x)
        depth_loss, seg_loss = (out[0] - DATA.t).square().mean(), DATA.ce(out)
        return combine(depth_loss, seg_loss)

    def train(net: nn.Module, step: int) -> None:
        loss = losses(net)
        loss.backward()

    return train


@pytest.mark.parametrize(
    ("combine", "weights"),
    [
        (lambda a, b: a.log() + b.log(), lambda a, b: (1 / a, 1 / b)),
        (lambda a, b: a**2 + b**2, lambda a, b: (2 * a, 2 * b)),
        (lambda a, b: (a * b) ** 0.5, lambda a, b: (0.5 * (b / a) ** 0.5, 0.5 * (a / b) ** 0.5)),
    ],
)
def test_a_function_of_losses_weighs_them_by_its_derivative(
    combine: Function, weights: Callable[..., tuple[npt.ArrayLike, npt.ArrayLike]], tmp_path: Path
) -> None:
    run = recorded(tmp_path, Net(), in_function(combine), 3)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    losses = run["loss/loss"].values
    np.testing.assert_allclose(run["loss/weight"].values, np.stack(weights(*losses.T), 1), rtol=1e-4)


def test_a_square_under_a_divided_sum_is_the_loss(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        for x, t, y in zip(DATA.x.chunk(2), DATA.t.chunk(2), DATA.y.chunk(2), strict=True):
            out = net(x)
            depth_loss, seg_loss = F.mse_loss(out[0], t), F.cross_entropy(out[1], y)
            loss = depth_loss**2 + seg_loss**2
            (loss / 2).backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    assert (run["loss/weight"].values > 1.001).all()


def test_a_divided_loss_of_one_variable_is_told_by_its_head(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        for x, t, y in zip(DATA.x.chunk(2), DATA.t.chunk(2), DATA.y.chunk(2), strict=True):
            out = net(x)
            loss = F.mse_loss(out[0], t)
            (loss / 2).backward(retain_graph=True)
            loss = F.cross_entropy(out[1], y)
            (loss / 2).backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.sizes["task"] == 2
    np.testing.assert_allclose(run["loss/weight"].values, 1)


def test_a_vector_of_weights_is_a_head(tmp_path: Path) -> None:
    net = nn.ParameterDict({"trunk": torch.randn(6, 8), "price": torch.randn(8), "stars": torch.randn(8)})

    def train(net: Any, step: int) -> None:
        z = DATA.x @ net["trunk"]
        loss = F.mse_loss(z @ net["price"], DATA.x[:, 0])
        loss.backward(retain_graph=True)
        loss = F.l1_loss(z @ net["stars"], DATA.x[:, 1])
        loss.backward()

    assert recorded(tmp_path, net, train, 2).sizes["task"] == 2


def test_a_gradient_of_the_weights_alone_is_no_task(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        (depth + seg).backward()
        norm = sum(p.square().sum() for p in net.trunk.parameters())
        torch.autograd.grad(norm, list(net.trunk.parameters()))

    assert recorded(tmp_path, Net(), train, 3).attrs["tasks"] == ["depth", "seg"]


def test_thawing_a_trunk_renames_no_task(tmp_path: Path) -> None:
    def losses(net: nn.Module) -> Tensor:
        out = net(DATA.x)
        depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
        return depth_loss + seg_loss

    def train(net: nn.Module, step: int) -> None:
        net.trunk.requires_grad_(step >= 2)
        losses(net).backward()

    assert recorded(tmp_path, Net(), train, 5).attrs["tasks"] == ["depth_loss", "seg_loss"]


def test_a_loss_that_is_alone_in_one_of_several_micro_batches(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        for labelled in (True, False):
            out = net(DATA.x)
            depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
            loss = depth_loss
            if labelled:
                loss = loss + 2 * seg_loss
            loss.backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    np.testing.assert_allclose(run["loss/weight"].values, [[2, 2]] * 4)


def test_a_loss_alone_in_a_batch_keeps_its_name_where_all_are_called_loss(tmp_path: Path) -> None:
    def losses(net: nn.Module, step: int) -> Tensor:
        out = net(DATA.x)
        depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
        loss = depth_loss
        if step % 2 == 0:
            loss = loss + seg_loss
        return loss

    def train(net: nn.Module, step: int) -> None:
        loss = losses(net, step)
        loss.backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    assert residual(run) < 1e-6


def test_a_loss_for_each_row_of_an_input_that_needs_gradient(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        x = DATA.x.clone().requires_grad_()
        depth, seg = net(x)
        depth_losses = [(p - y).square() for p, y in zip(depth[:, 0], x.sum(1), strict=True)]
        seg_losses = [(p - y).square() for p, y in zip(seg[:, 0], x[:, 0], strict=True)]
        (torch.stack(depth_losses).mean() + torch.stack(seg_losses).mean()).backward()

    assert recorded(tmp_path, Net(), train, 2).attrs["tasks"] == ["depth_losses", "seg_losses"]


def test_the_locals_of_a_function_that_makes_one_loss_are_no_tasks(tmp_path: Path) -> None:
    def spread_out(p: Tensor) -> Tensor:
        gap = p.mean().square()
        spread = p.var()
        return gap * spread + gap

    def losses(net: nn.Module) -> Tensor:
        out = net(DATA.x)
        depth_loss, seg_loss = spread_out(out[0]), DATA.ce(out)
        return depth_loss + 2 * seg_loss

    run = recorded(tmp_path, Net(), lambda net, step: losses(net).backward(), 3)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 2]] * 3, rtol=1e-6)


def test_a_vector_that_is_no_loss_gives_no_names(tmp_path: Path) -> None:
    def losses_of(net: nn.Module) -> Tensor:
        z = net.trunk(DATA.x)
        gates = torch.stack([z.mean(), z.var()])
        depth_loss = (net.depth_head(z) * gates[0] - DATA.t).square().mean()
        seg_loss = F.cross_entropy(net.seg_head(z) * gates[1], DATA.y)
        return depth_loss + seg_loss

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net).backward(), 3)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]


def test_losses_of_one_output_that_are_added_up_the_other_way_round_keep_their_names(tmp_path: Path) -> None:
    """Nothing in the graph tells them apart but which was made first; the lines of the next forward say the rest."""
    seen: list[tuple[float, float]] = []

    def losses(net: nn.Module, step: int) -> Tensor:
        out = net(DATA.x)[0]
        near, far = F.mse_loss(out, DATA.t), F.mse_loss(out, DATA.t + 2)
        seen.append((near.item(), far.item()))
        return near + far if step < 3 else far + near

    def train(net: nn.Module, step: int) -> None:
        loss = losses(net, step)
        loss.backward()

    run = recorded(tmp_path, Net(), train, 8)
    assert run.attrs["tasks"] == ["near", "far"]
    steps = run["step"].values
    assert steps.tolist() == [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_allclose(run["loss/loss"].values, np.array(seen)[steps], rtol=1e-6)
