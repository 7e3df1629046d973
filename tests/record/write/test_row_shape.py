"""Where things lie in a row: against the list of kept coordinates, looked through one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.parameters import Named
from dominance.record.write.row_shape import KeptPlace, PackPlace, RowShape
from dominance.record.write.sampling import Sample
from dominance.schema import Layout, Parameter

torch.set_num_threads(1)

KEPT = {"bias": [0, 1], "table": [0, 2, 4, 5, 9, 10, 14]}
"""Coordinates of a vector of two, and of a table of five rows of three."""


def made() -> tuple[RowShape, Tensor, Tensor]:
    bias, table = torch.zeros(2), torch.arange(15.0).view(5, 3)
    named = [Named(bias, "head.bias", "head"), Named(table, "trunk.weight", "trunk")]
    numbers = np.repeat([0, 1], [len(each) for each in KEPT.values()]).astype(np.int32)
    sample = Sample(numbers, np.array([*KEPT["bias"], *KEPT["table"]]), np.ones(9))
    parameters = [Parameter(each.name, each.layer, tuple(each.tensor.shape)) for each in named]
    layout = Layout(["a"], parameters, ["trunk", "head"], sample.parameter, sample.index, sample.weight)
    return RowShape(layout, named, sample), bias, table


def columns(place: KeptPlace) -> list[int]:
    return np.arange(9)[place.columns].tolist()


def test_a_whole_parameter() -> None:
    shape, bias, table = made()
    assert [shape.places[each].layer for each in (bias, table)] == [1, 0]
    assert [columns(shape.places[each]) for each in (bias, table)] == [[0, 1], [2, 3, 4, 5, 6, 7, 8]]
    for each, name in ((bias, "bias"), (table, "table")):
        kept = shape.kept(each)
        assert kept is not None
        assert kept.tolist() == KEPT[name]
    assert shape.kept(torch.zeros(2)) is None


@pytest.mark.parametrize("rows", [[0], [1, 3], [0, 1, 2, 3, 4], [2, 4]])
def test_some_rows(rows: list[int]) -> None:
    shape, _, table = made()
    place = shape.of_rows(table, torch.tensor(rows))
    wanted = [i for i, c in enumerate(KEPT["table"]) if c // 3 in rows]
    assert columns(place) == [2 + i for i in wanted]
    assert table[rows].flatten()[place.index].tolist() == [KEPT["table"][i] for i in wanted]


@pytest.mark.parametrize("cut", [(0, 15), (0, 4), (4, 10), (6, 9), (11, 15)])
def test_a_tile(cut: tuple[int, int]) -> None:
    shape, _, table = made()
    place = shape.tile(table, slice(*cut))
    wanted = [i for i, c in enumerate(KEPT["table"]) if cut[0] <= c < cut[1]]
    assert columns(place) == [2 + i for i in wanted]
    assert table.flatten()[slice(*cut)][place.index].tolist() == [KEPT["table"][i] for i in wanted]
    assert shape.tile(table, slice(*cut)) is place


def test_another_parameter_in_the_place_of_one() -> None:
    shape, _, table = made()
    place, other = shape.places[table], torch.zeros(5, 3)
    before = shape.tile(table, slice(0, 4)), shape.of_rows(table, torch.tensor([1]))
    shape.put(table, other)
    assert shape.places[other] is place
    assert shape.kept(table) is None
    after = shape.tile(other, slice(0, 4)), shape.of_rows(other, torch.tensor([1]))
    assert [columns(each) for each in after] == [columns(each) for each in before]


@pytest.mark.parametrize("layers", [[2, 0], [1, 1]])
def test_runs_of_one_layer_add_up(layers: list[int]) -> None:
    once, nothing = len(set(layers)) == 2, np.zeros(0, np.int64)
    place = PackPlace(np.array(layers), nothing, [], nothing, nothing, once=once)
    sums, runs = np.ones((3, 4)), np.array([[1.0, 2.0], [10.0, 20.0]])
    place.add(sums, (np.array([3, 0]),), runs)
    expected = np.ones((3, 4))
    for layer, (last, first) in zip(layers, runs, strict=True):
        expected[layer] += [first, 0, 0, last]
    np.testing.assert_array_equal(sums, expected)
