"""A prepared run is read once, and what analysers make of it is what they make of the run itself."""

from __future__ import annotations

import inspect
from collections import Counter

import numpy as np
import pytest
import xarray as xr
from runs import make_run, planted_run

import dominance
from dominance.analyse.grams import grams, grouped
from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.summary import overview, summary
from dominance.errors import BadOption, NothingRecorded

ANALYSERS = [
    *("au", "rau", "rau_buckets", "ownership", "gcd", "conflict_layers", "geometry", "alignment", "noise_scale"),
    "affinity",
]


class Counted(PreparedRun):
    """Counts what is asked of the tree."""

    def __init__(self, tree: xr.DataTree) -> None:
        super().__init__(tree)
        self.asked: Counter[str] = Counter()

    def __getitem__(self, name: str) -> object:
        self.asked[name] += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("name", ANALYSERS)
def test_every_analyser_takes_it_and_finds_the_same(name: str) -> None:
    run = planted_run(steps=40)
    analyse = getattr(dominance, name)
    xr.testing.assert_identical(analyse(PreparedRun(run)), analyse(run))


def test_it_serves_several_analysers_without_a_change() -> None:
    run = PreparedRun(planted_run(steps=40))
    for name in ANALYSERS * 2:
        xr.testing.assert_identical(getattr(dominance, name)(run), getattr(dominance, name)(run.tree))


def test_a_summary_asks_once_for_what_lies_along_steps_and_coordinates() -> None:
    run = Counted(planted_run(steps=40))
    table = summary(overview(run))
    assert table.equals(summary(run.tree))
    assert {name: run.asked[name] for name in ("step", "skipped", "task", "shared", "layer/shared", "layer/gram")} == {
        "step": 1,
        "skipped": 1,
        "task": 1,
        "shared": 1,
        "layer/shared": 1,
        "layer/gram": 1,
    }


def test_steps_are_sorted_once_for_each_question() -> None:
    run = Counted(planted_run(steps=40))
    first = run.usable()
    asked = run.asked["layer"]
    assert run.usable() is first
    assert run.asked["layer"] == asked
    assert run.usable(max_unattributed=0.0).max_unattributed == 0


@pytest.mark.parametrize("by", ["all", {"ends": ["x", "z"], "middle": "y"}, ["y"]])
def test_grams_of_groups_from_those_of_the_layers(by: object) -> None:
    gradients = np.random.default_rng(0).standard_normal((5, 3, 12))
    run = PreparedRun(make_run(gradients, gradients, layers={"x": 4, "y": 5, "z": 3}, skipped=[0, 1, 0, 0, 0]))
    found, wanted = grouped(grams(run, "layer"), by), grams(run, by)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.values, wanted.values)
    assert (found.layers, found.attrs) == (wanted.layers, wanted.attrs)


def test_what_cannot_be_prepared() -> None:
    run = make_run(np.ones((2, 2, 3)))
    assert prepare(prepare(run)).tree is run
    with pytest.raises(BadOption, match="is said of one run"):
        prepare({"a": run, "b": run})
    alone = PreparedRun(make_run(np.ones((2, 2, 3)), private={"trunk": "a"}))
    with pytest.raises(NothingRecorded, match="no parameter is reached by two tasks"):
        _ = alone.shared
    with pytest.raises(NothingRecorded, match="no layer is reached by two tasks"):
        _ = alone.shared_layers


def test_help_tells_what_may_be_given() -> None:
    assert inspect.signature(dominance.gcd).parameters["run"].annotation == "Runs"
