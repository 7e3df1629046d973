"""Losses put into a vector or a list by a function that has returned when backward() is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.losses import Data, Net
from record.test_tasks_of_a_run import recorded, residual
from torch import Tensor, nn

DATA = Data()
ENTRIES = ["losses[0]", "losses[1]"]
Made = Callable[[tuple[Tensor, Tensor]], Tensor]


def stacked(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = torch.stack([(out[0] - DATA.t).square().mean(), F.cross_entropy(out[1], DATA.y)])
    return (losses * torch.tensor([1.0, 2.0])).sum()


def with_einsum(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = torch.stack([(out[0] - DATA.t).square().sum() / DATA.t.numel(), F.cross_entropy(out[1], DATA.y)])
    return torch.einsum("k,k->", losses, torch.tensor([1.0, 2.0]))


def put_end_to_end(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = torch.cat([loss.view(1) for loss in (F.mse_loss(out[0], DATA.t), F.cross_entropy(out[1], DATA.y))])
    return losses @ torch.tensor([1.0, 2.0])


def moved_and_weighted(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = torch.stack([F.mse_loss(out[0], DATA.t), F.cross_entropy(out[1], DATA.y)]).to(DATA.t.dtype).float()
    return losses[0] + 2 * losses[1]


def filled(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = torch.zeros(2)
    losses[0] = (out[0] - DATA.t).square().sum() / DATA.t.numel()
    losses[1] = F.cross_entropy(out[1], DATA.y)
    return (losses * torch.tensor([1.0, 2.0])).sum()


def listed(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = [(out[0] - DATA.t).square().mean(), F.cross_entropy(out[1], DATA.y)]
    return sum((w * loss for w, loss in zip((1, 2), losses, strict=True)), start=torch.zeros(()))


def appended(out: tuple[Tensor, Tensor]) -> Tensor:
    losses = []
    losses.append((out[0] - DATA.t).square().mean())
    losses.append(F.cross_entropy(out[1], DATA.y))
    return torch.stack(losses) @ torch.tensor([1.0, 2.0])


def from_a_function(out: tuple[Tensor, Tensor]) -> Tensor:
    def each() -> tuple[Tensor, Tensor]:
        return (out[0] - DATA.t).square().mean(), F.cross_entropy(out[1], DATA.y)

    losses = each()
    return losses[0] + 2 * losses[1]


@pytest.mark.parametrize(
    "make",
    [stacked, with_einsum, put_end_to_end, moved_and_weighted, filled, listed, appended, from_a_function],
)
def test_entries_of_a_vector_or_list_that_is_gone(make: Made, tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        loss = make(net(DATA.x))
        loss.backward()

    run = recorded(tmp_path, Net(), train, 3)
    assert run.attrs["tasks"] == ENTRIES
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 2]] * 3, rtol=1e-5)
    assert residual(run) < 1e-6


def gathered_twice(losses: Tensor) -> Tensor:
    return losses.gather(0, torch.tensor([1, 0])).sum() + 2 * losses.gather(0, torch.tensor([1])).sum()


def sum_and_largest(losses: Tensor) -> Tensor:
    return losses.sum() + losses.amax()


def picked_and_indexed(losses: Tensor) -> Tensor:
    return losses.index_select(0, torch.tensor([0, 1])).mean() + 0.5 * losses[1]


def sum_and_spread(losses: Tensor) -> Tensor:
    return losses.sum() + 0.1 * losses.var()


@pytest.mark.parametrize("mix", [gathered_twice, sum_and_largest, picked_and_indexed, sum_and_spread])
def test_two_functions_of_one_vector_are_of_the_same_tasks(mix: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    """The weights are the derivatives of the mixture by the losses."""
    weights = []

    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
        losses = torch.stack([depth_loss, seg_loss])
        weights.append(torch.autograd.functional.jacobian(mix, losses.detach()).tolist())
        loss = mix(losses)
        loss.backward()

    run = recorded(tmp_path, Net(), train, 3)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    np.testing.assert_allclose(run["loss/weight"].values, weights, rtol=1e-5)
    assert residual(run) < 1e-6


def test_losses_with_names_of_their_own_keep_them_in_a_vector(tmp_path: Path) -> None:
    def losses_of(out: tuple[Tensor, Tensor]) -> Tensor:
        depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
        losses = torch.stack([depth_loss, seg_loss])
        return losses.sum()

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net(DATA.x)).backward(), 3)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]


def test_losses_that_are_missing_in_some_batches_move_no_name(tmp_path: Path) -> None:
    def losses_of(out: tuple[Tensor, Tensor], step: int) -> Tensor:
        losses = [F.mse_loss(out[0], DATA.t)] if step % 2 == 0 else []
        losses.append(F.cross_entropy(out[1], DATA.y))
        return torch.stack(losses).sum()

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net(DATA.x), step).backward(), 4)
    assert run.attrs["tasks"] == ENTRIES
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, True], [False, True]] * 2


def test_keys_of_a_dict_that_a_function_returned(tmp_path: Path) -> None:
    def parts_of(out: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"depth": (out[0] - DATA.t).square().mean(), "seg": F.cross_entropy(out[1], DATA.y)}

    def losses_of(out: tuple[Tensor, Tensor]) -> Tensor:
        parts = parts_of(out)
        return parts["depth"] + 2 * parts["seg"]

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net(DATA.x)).backward(), 3)
    assert run.attrs["tasks"] == ["depth", "seg"]


def test_keys_of_a_dict_that_is_summed_where_it_stands(tmp_path: Path) -> None:
    def losses_of(out: tuple[Tensor, Tensor]) -> Tensor:
        return sum({"depth": (out[0] - DATA.t).square().mean(), "seg": F.cross_entropy(out[1], DATA.y)}.values())

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net(DATA.x)).backward(), 3)
    assert run.attrs["tasks"] == ["depth", "seg"]


def test_names_given_within_a_sum(tmp_path: Path) -> None:
    def losses_of(out: tuple[Tensor, Tensor]) -> Tensor:
        return (
            (depth := (out[0] - DATA.t).square().sum() / DATA.t.numel())
            + 2 * (seg := DATA.ce(out))
            + 0 * (depth + seg).detach()
        )

    run = recorded(tmp_path, Net(), lambda net, step: losses_of(net(DATA.x)).backward(), 3)
    assert run.attrs["tasks"] == ["depth", "seg"]
