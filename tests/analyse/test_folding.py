"""Layers folded into groups: by hand, and against what the analysers make of the same groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance.analyse.folding import fold, folded, populations, worst
from dominance.analyse.rau_buckets import rau_buckets


def stack(count, parts=("attention", "mlp")):
    return [f"encoder.layers.{i}.{part}" for i in range(count) for part in parts]


def test_few_layers_stay_as_they_are():
    names = ["stem", "trunk.0", "trunk.2"]
    assert fold(names, 5) == {name: [name] for name in names}


@pytest.mark.parametrize("count", [3, 12, 40, 100])
def test_every_layer_is_in_one_group_in_order(count):
    groups = fold(["stem", *stack(count), "norm"], 20)
    assert len(groups) <= 20
    assert [name for each in groups.values() for name in each] == ["stem", *stack(count), "norm"]
    assert next(iter(groups)) == "stem"


def test_the_deepest_modules_that_fit_make_the_groups():
    assert list(fold(stack(10), 10)) == [f"encoder.layers.{i}" for i in range(10)]


def test_long_stacks_fold_into_ranges():
    groups = fold(stack(100), 20)
    assert list(groups)[:2] == ["encoder.layers.0 to 4", "encoder.layers.5 to 9"]
    assert {len(each) for each in groups.values()} == {10}


def test_ranges_do_not_cross_modules():
    names = [f"{half}.blocks.{i}.fc" for half in ("encoder", "decoder") for i in range(30)]
    assert all(len({name.split(".")[0] for name in each}) == 1 for each in fold(names, 9).values())


def test_names_without_modules_fold_too():
    assert next(iter(fold([f"layer{i}" for i in range(40)], 10))) == "layer0 to layer3"


def test_folded_shares_are_those_of_the_groups():
    generator = np.random.default_rng(0)
    updates = generator.standard_normal((30, 2, 12)) * np.array([1.0, 0.3])[:, None]
    updates[:, :, 5:8] = 0  # untouched
    sizes = {"a.0": 2, "a.1": 6, "b.0": 4}
    run = make_run(updates, layers=sizes)
    groups = {"a": ["a.0", "a.1"], "b.0": ["b.0"]}
    found = folded(rau_buckets(run), groups, populations(run))
    patterns: dict[str, Any] = {"a": ["a.*"], "b.0": ["b.*"]}
    expected = rau_buckets(run, by=patterns)
    for name in ("share", "effective_tasks", "untouched"):
        np.testing.assert_allclose(found[name].values, expected[name].values, err_msg=name)
    assert found["layer"].values.tolist() == ["a", "b.0"]


def test_samples_count_for_what_they_stand_for():
    weights = [10.0, 10.0, 1.0, 1.0]
    run = make_run(np.ones((3, 2, 4)), layers={"a": 20, "b": 2}, coord_weight=weights)
    assert populations(run) == {"a": 20.0, "b": 2.0}


def test_the_worst_layers_have_the_fewest_effective_tasks():
    table = rau_buckets(planted_run(steps=30, layers={f"layer{i}": 8 for i in range(6)}))
    names = worst(table, 3)
    last = table["effective_tasks"].isel(step=-1)
    assert len(names) == 3
    assert max(float(last.sel(layer=name)) for name in names) <= float(last.drop_sel(layer=names).min())
    assert float(last.sel(layer=names[0])) == float(last.min())


def test_layers_that_nothing_moved_are_not_among_the_worst():
    updates = np.ones((3, 2, 4))
    updates[:, :, 2:] = 0
    assert worst(rau_buckets(make_run(updates, layers={"moved": 2, "dead": 2})), 5) == ["moved"]
