"""Several runs side by side: what is taken together, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run
from studies import scored

from dominance.analyse.alignment import alignment
from dominance.analyse.conflict import gcd
from dominance.analyse.study.comparison import Spread, comparison
from dominance.analyse.summary import overview

close: Any = pytest.approx


def made(a: float, b: float, seed: int = 0, method: str = "pub", **options: Any) -> Any:
    """Tasks a (error) and b (auc), gradients that depend on the seed."""
    gradients = np.random.default_rng(seed).normal(size=(3, 2, 4))
    tables = {"a": {"error": a}, "b": {"auc": b}}
    run = scored([{}, {}, tables][2], directions={"error": False, "auc": True}, gradients=gradients[:1], method=method)
    run.attrs["training"] = {"seed": seed, **options}
    return run


def alone(task: str, value: float) -> Any:
    metric = {"a": "error", "b": "auc"}[task]
    return scored({task: {metric: value}}, directions={"error": False, "auc": True}, method="stl")


def test_seeds_are_taken_together() -> None:
    runs = {"one": made(1.0, 0.5, 0), "two": made(3.0, 0.7, 1), "other": made(5.0, 0.9, 0, method="mgda")}
    first, second = comparison(runs, baseline=[alone("a", 2.0), alone("b", 0.5)])
    assert (first.label, first.runs) == ("pub", ["one", "two"])
    assert (second.label, second.runs) == ("mgda", ["other"])
    assert first.scores["a", "error"] == Spread(2.0, close(2**0.5))
    assert first.directions == {("a", "error"): False, ("b", "auc"): True}
    # one: error +50 %, auc 0; two: error -50 %, auc +40 %
    assert first.deltas["mocograd"] == Spread(close(0.1), close(0.3 / 2**0.5))
    assert first.deltas["pub"].mean == pytest.approx(-0.1)
    assert "adatask" not in first.deltas
    assert np.isnan(second.scores["a", "error"].std)


def test_what_was_measured_is_what_the_analysers_say() -> None:
    runs = {"one": made(1.0, 0.5, 0), "two": made(3.0, 0.7, 1)}
    (row,) = comparison(runs)
    degrees = [float(gcd(run, by="all").mean_gcd.mean()) for run in runs.values()]
    assert row.mean_gcd == Spread.of(degrees)
    assert row.effective_tasks.mean == pytest.approx(
        np.mean([float(overview(run).trunk.effective_tasks[-1, 0]) for run in runs.values()])
    )
    diffs = [float(alignment(run).diff_of_means) for run in runs.values()]
    assert np.isnan(diffs).all() == np.isnan(row.diff.mean)
    assert row.deltas == {}


def test_a_joint_baseline_is_adatasks() -> None:
    (row,) = comparison({"one": made(1.0, 0.5)}, baseline=made(2.0, 0.5, method="equal-weight"))
    assert row.deltas == {"adatask": Spread(close(0.25), close(np.nan, nan_ok=True))}


def test_other_options_are_another_row() -> None:
    runs = {"x": made(1.0, 0.5, lr=0.1), "y": made(1.0, 0.5, lr=0.2), "z": made(1.0, 0.5, 1, lr=0.2)}
    assert [(row.label, row.runs) for row in comparison(runs)] == [
        ("pub (lr 0.1)", ["x"]),
        ("pub (lr 0.2)", ["y", "z"]),
    ]


def test_settings_of_a_benchmark_are_said_as_they_are_typed() -> None:
    settings = [{"steps": "20", "start": "0", "lr": "x"}, {"steps": "40", "start": "0", "lr": "x"}]
    runs = {str(i): made(1.0, 0.5, lr=0.1, settings=each, options={}) for i, each in enumerate(settings)}
    assert [row.label for row in comparison(runs)] == ["pub (steps 20)", "pub (steps 40)"]
    same = {str(i): made(1.0, 0.5, i, lr=0.1, settings=settings[0]) for i in range(2)}
    assert [row.label for row in comparison(same)] == ["pub"]
    other = {str(i): made(1.0, 0.5, lr=0.1, settings={"lr": str(i)}) for i in range(2)}
    assert [row.label for row in comparison(other)] == ["pub (settings.lr 0)", "pub (settings.lr 1)"]


def test_runs_without_a_method_stand_for_themselves() -> None:
    run = make_run(np.ones((2, 2, 3)))
    rows = comparison({"mine": run, "yours": run})
    assert [row.label for row in rows] == ["mine", "yours"]
    assert rows[0].scores == {}
    assert [row.notes for row in rows] == [["none of these runs logged scores of the split 'final'"], []]
    assert comparison({"mine": run})[0].notes == ["1 of 1 runs of mine logged no final scores"]


def test_what_cannot_be_compared_is_a_note() -> None:
    (row,) = comparison({"one": made(1.0, 0.5)}, baseline=[alone("a", 2.0)])
    assert row.deltas == {}
    assert "no run of b alone" in row.notes[0]
    assert row.to_dict()["scores"]["a"]["error"]["mean"] == 1.0
