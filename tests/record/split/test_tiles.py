"""A step that is split a tile at a time is split as one that is split as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.parameters import Named
from dominance.record.split.attribution import Attributor
from dominance.record.split.products import TILE
from dominance.record.split.splits import GradientSplit, StepSplit
from dominance.record.write.row_shape import RowShape
from dominance.record.write.rows import StepRow
from dominance.record.write.sampling import Sample
from dominance.schema import Layout, Parameter

torch.set_num_threads(1)

MAKERS: dict[str, Callable[[list[Tensor]], Optimizer]] = {
    "Adam": lambda p: torch.optim.Adam(p, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "SGD without momentum": lambda p: torch.optim.SGD(p, 0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.9),
    "Adadelta": torch.optim.Adadelta,
}
SIZES = [TILE, TILE + 1, 2 * TILE + 700]
LARGEST_KEPT = 50


def problem(size: int, like: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(size).to(like).requires_grad_()


def gradients(parameter: Tensor, step: int, *, residual: bool = True) -> GradientSplit:
    generator = torch.Generator().manual_seed(step)
    a, b, rest = (torch.randn(parameter.shape, generator=generator).to(parameter.dtype) for _ in range(3))
    parameter.grad = a + b + rest if residual else a + b
    return GradientSplit({"a": a, "b": b}, rest if residual else None, total=parameter.grad)


def row_of(parameter: Tensor) -> StepRow:
    kept = np.sort(np.random.default_rng(0).choice(parameter.numel(), LARGEST_KEPT, replace=False))
    sample = Sample(np.zeros(LARGEST_KEPT, np.int32), kept, np.ones(LARGEST_KEPT))
    layout = Layout(
        ["a", "b"], [Parameter("w", "w", tuple(parameter.shape))], ["w"], sample.parameter, sample.index, sample.weight
    )
    return StepRow(RowShape(layout, [Named(parameter, "w", "w")], sample), ("a", "b"), step=0, epoch=0)


def rows(make: Callable[[list[Tensor]], Optimizer], parameter: Tensor, *, in_tiles: bool) -> tuple[list[StepRow], int]:
    """Of four steps; and into how many pieces the last was cut."""
    attributor, found = Attributor(make([parameter])), []
    for step in range(4):
        gradient = gradients(parameter, step)
        attributor.before_step([parameter])
        attributor.optimizer.step()
        row, pieces = row_of(parameter), 0
        for p, split in attributor.splits({parameter: gradient}, in_tiles=in_tiles):
            assert gradient.total is not None
            row.add(p, 0.1, gradient.total, gradient, split)
            pieces += 1
        found.append(row)
    return found, pieces


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", SIZES)
def test_rows_are_the_same_to_rounding(name: str, size: int) -> None:
    whole, _ = rows(MAKERS[name], problem(size), in_tiles=False)
    tiled, pieces = rows(MAKERS[name], problem(size), in_tiles=True)

    assert pieces == -(-size // TILE)
    for one, other in zip(whole, tiled, strict=True):
        values: dict[str, Any] = other.values
        for path, value in cast(dict[str, Any], one.values).items():
            if path.startswith(("gradient/", "update/", "closure")):
                np.testing.assert_array_equal(values[path], value, err_msg=path)
            elif path.startswith("layer/"):
                scale = np.nanmax(np.abs(value))
                np.testing.assert_allclose(values[path], value, rtol=1e-6, atol=1e-7 * scale, err_msg=path)


def test_a_tile_says_its_place() -> None:
    parameter = problem(2 * TILE + 5)
    attributor = Attributor(MAKERS["SGD without momentum"]([parameter]))
    gradient = gradients(parameter, 0)
    attributor.before_step([parameter])
    attributor.optimizer.step()

    places = [split.place for _, split in attributor.splits({parameter: gradient}, in_tiles=True)]

    assert places == [slice(0, TILE), slice(TILE, 2 * TILE), slice(2 * TILE, 2 * TILE + 5)]


def pieces(attributor: Attributor, parameter: Tensor, gradient: GradientSplit) -> list[StepSplit]:
    attributor.before_step([parameter])
    attributor.optimizer.step()
    return [split for _, split in attributor.splits({parameter: gradient}, in_tiles=True)]


def test_a_memory_that_begins_is_not_cut() -> None:
    parameter = problem(2 * TILE)
    attributor = Attributor(MAKERS["Adam"]([parameter]))

    assert [split.place for split in pieces(attributor, parameter, gradients(parameter, 0, residual=False))] == [None]
    assert len(pieces(attributor, parameter, gradients(parameter, 1, residual=False))) == 2
    assert len(pieces(attributor, parameter, gradients(parameter, 2, residual=True))) == 1
    assert len(pieces(attributor, parameter, gradients(parameter, 3, residual=False))) == 2


def test_a_layout_of_its_own_is_not_cut() -> None:
    parameter = torch.randn(300, 300).T.requires_grad_()
    attributor = Attributor(MAKERS["SGD without momentum"]([parameter]))

    assert [split.place for split in pieces(attributor, parameter, gradients(parameter, 0))] == [None]


@pytest.mark.parametrize("like", [torch.bfloat16, torch.float64])
def test_other_precisions_are_cut_too(like: torch.dtype) -> None:
    parameter = problem(2 * TILE, like)
    attributor = Attributor(MAKERS["SGD without momentum"]([parameter]))

    first, second = pieces(attributor, parameter, gradients(parameter, 0))

    assert first.total.dtype == (torch.float64 if like == torch.float64 else torch.float32)
    assert second.closure <= second.rounding


def test_the_last_tile_has_the_closure_of_all() -> None:
    parameter = problem(2 * TILE)
    attributor = Attributor(MAKERS["SGD without momentum"]([parameter]))
    gradient = gradients(parameter, 0)
    gradient.tasks["a"][0] += 10

    first, last = pieces(attributor, parameter, gradient)

    assert first.closure > 0.1
    assert last.closure > 0.1


def test_a_memory_of_fewer_tasks_is_not_cut_and_one_of_more_is() -> None:
    parameter = problem(2 * TILE)
    attributor = Attributor(MAKERS["SGD"]([parameter]))

    def of_a(step: int) -> GradientSplit:
        parameter.grad = gradients(parameter, step).tasks["a"]
        return GradientSplit({"a": parameter.grad}, None, total=parameter.grad)

    assert len(pieces(attributor, parameter, of_a(0))) == 1
    assert len(pieces(attributor, parameter, of_a(1))) == 2
    assert len(pieces(attributor, parameter, gradients(parameter, 2, residual=False))) == 1
    assert len(pieces(attributor, parameter, of_a(3))) == 2
