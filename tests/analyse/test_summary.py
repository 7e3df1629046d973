from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance import gcd, rau_buckets, summary
from dominance.analyse.summary import overview, percent
from dominance.errors import BadOption, NothingRecorded

COLUMNS = ["[0, 20]", "(20, 40]", "(40, 60]", "(60, 80]", "(80, 100]"]


def test_the_table_holds_what_the_analysers_say() -> None:
    run = planted_run(share=0.8, tasks=("x", "y", "z"))
    table = summary(run)
    assert list(table.index) == [(layer, task) for layer in ("trunk.0", "trunk.1", "all shared") for task in "xyz"]
    for by, layers in (("layer", ["trunk.0", "trunk.1"]), ("all", ["all shared"])):
        buckets, conflict = rau_buckets(run, by=by).isel(step=-1), gcd(run, by=by)
        for layer in layers:
            for task in "xyz":
                row: Any = table.loc[(layer, task)]
                where = {"layer": layer, "task": task}
                np.testing.assert_array_equal(row[COLUMNS].astype(float), buckets.share.sel(where))
                assert row["share_se"] == buckets.share_se.sel(where).max()
                assert row["effective_tasks"] == buckets.effective_tasks.sel(layer=layer)
                assert row["mean_gcd"] == pytest.approx(float(conflict.mean_gcd.sel(where).mean()))
    assert table.attrs["steps_used"] == 60
    assert table.attrs["step"] == 59


def test_norms_by_hand() -> None:
    # task a: gradients (3, 4 | 12), update norms a third; b none in the second layer
    g = np.array([[[3, 4, 12], [1, 0, 0]]] * 3, dtype=float)
    run = make_run(g / 3, g, layers={"x": 2, "y": 1})
    table = summary(run)
    assert table["gradient_norm"].tolist() == pytest.approx([5, 1, 12, 0, 13, 1])
    assert table["update_norm"].tolist() == pytest.approx([5 / 3, 1 / 3, 4, 0, 13 / 3, 1 / 3], rel=1e-6)


def test_norms_of_a_rare_task_are_of_its_steps() -> None:
    """Of five steps b has two, and reaches the second layer in one of them; c has none."""
    g = np.array([[[1, 1], b, [0, 0]] for b in ([0, 0], [3, 0], [0, 0], [0, 0], [5, 12])], dtype=float)
    table = summary(make_run(g, g, layers={"x": 1, "y": 1}, tasks=("a", "b", "c")))
    assert table["gradient_norm"].tolist() == pytest.approx([1, 4, 0, 1, 6, 0, 2**0.5, 8, 0])


def test_norms_leave_out_what_is_skipped_or_not_finite() -> None:
    g = np.array([[[1.0], [1]], [[np.nan], [1]], [[100], [100]], [[3], [1]]])
    table = summary(make_run(np.ones_like(g), g, skipped=[0, 0, 1, 0]))
    assert table.loc[("trunk", "a"), "gradient_norm"] == pytest.approx(2)


def test_a_dead_layer() -> None:
    updates = np.ones((3, 2, 10), dtype=np.float32)
    updates[:, :, 5:] = 0
    run = make_run(updates, layers={"live": 5, "dead": 5})
    assert summary(run).loc[("dead", "a"), COLUMNS].isna().all()
    assert summary(run).loc[("dead", "a"), "untouched"] == 1


def test_nothing_moved_at_all() -> None:
    run = make_run(np.zeros((3, 2, 4)))
    assert summary(run)["untouched"].tolist() == [1] * 4


def test_runs_with_nothing_to_say() -> None:
    for run in (make_run(np.zeros((0, 2, 3))), make_run(np.full((4, 2, 3), np.nan))):
        with pytest.raises(NothingRecorded):
            summary(run)


def test_a_run_with_solo_updates_only() -> None:
    run = planted_run(steps=6, solo=planted_run(steps=6)["update/update"].values)
    run.attrs["attribution"] = "solo"
    run["update/update"][:] = np.nan
    assert overview(run).trunk.attrs["attribution"] == "solo"


def test_one_overview_serves_both() -> None:
    run = planted_run(steps=6)
    seen = overview(run)
    assert summary(seen).equals(summary(run))


def test_percent() -> None:
    shares = (0, 0.004, 0.006, 0.5, 0.994, 0.996, 1)
    assert [percent(x) for x in shares] == [
        "0 %",
        "<1 %",
        "1 %",
        "50 %",
        "99 %",
        ">99 %",
        "100 %",
    ]


def test_several_runs_are_refused_in_words() -> None:
    run = planted_run(steps=5)
    several: Any = {"one": run, "other": run}
    with pytest.raises(BadOption, match="this is said of one run, and these are 2; call it for each of them"):
        summary(several)
