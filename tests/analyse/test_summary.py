from __future__ import annotations

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance import gcd, rau_buckets, summary
from dominance.analyse.summary import findings, overview, percent
from dominance.errors import NothingRecorded

COLUMNS = ["[0, 20]", "(20, 40]", "(40, 60]", "(60, 80]", "(80, 100]"]


def test_the_table_holds_what_the_analysers_say() -> None:
    run = planted_run(share=0.8, tasks=("x", "y", "z"))
    table = summary(run)
    assert list(table.index) == [(layer, task) for layer in ("trunk.0", "trunk.1", "all shared") for task in "xyz"]
    for by, layers in (("layer", ["trunk.0", "trunk.1"]), ("all", ["all shared"])):
        buckets, conflict = rau_buckets(run, by=by).isel(step=-1), gcd(run, by=by)
        for layer in layers:
            for task in "xyz":
                row = table.loc[(layer, task)]
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


def test_norms_leave_out_what_is_skipped_or_not_finite() -> None:
    g = np.array([[[1.0], [1]], [[np.nan], [1]], [[100], [100]], [[3], [1]]])
    table = summary(make_run(np.ones_like(g), g, skipped=[0, 0, 1, 0]))
    assert table.loc[("trunk", "a"), "gradient_norm"] == pytest.approx(2)


def test_a_dominated_trunk() -> None:
    said = findings(planted_run(share=0.97))
    assert said[0] == "price owns 100 % of the shared parameters (rAU > 80 %) since step 0; rating owns 0 %"
    assert said[1] == "gradients of price and rating conflict (GCD > 1) at 100 % of the steps, mean GCD 1.21"
    assert len(said) == 2


def test_dominance_that_sets_in_later() -> None:
    run = planted_run(steps=300, share=0.99, onset=100)
    owned = rau_buckets(run, by="all").share.sel(task="price", bucket="(80, 100]", layer="all shared")
    since = int(owned.step[owned > 0.5][0])
    assert since > 100
    assert f"since step {since};" in findings(run)[0]


def test_since_is_the_last_time_it_set_in() -> None:
    one, other = np.ones((10, 1, 4)), np.full((10, 1, 4), 1e-3)
    a = np.concatenate([one, other, one])
    b = np.concatenate([other, one, other])
    run = make_run(np.concatenate([a, b], axis=1).repeat(40, axis=0))
    since = int(findings(run)[0].split("since step ")[1].split(";")[0])
    assert since > 800


def test_balance() -> None:
    assert findings(planted_run(share=0.5))[0] == "no task dominates: effective number of tasks 1.98 of 2"


def test_two_owners_of_halves() -> None:
    updates = np.zeros((5, 2, 10), dtype=np.float32)
    updates[:, 0, :5] = updates[:, 1, 5:] = 1
    said = findings(make_run(updates, layers={"left": 4, "mid": 2, "right": 4}))
    assert said[0] == (
        "no task owns most of the shared parameters (rAU > 80 %): a owns 50 %, b 50 %;"
        " effective number of tasks 1.00 of 2"
    )
    assert said[1] == "in left a owns 100 %, b 0 % (effective number of tasks 1.00)"
    assert said[2] == "in right b owns 100 %, a 0 % (effective number of tasks 1.00)"


def test_many_layers_that_differ_are_counted() -> None:
    updates = np.zeros((3, 2, 120), dtype=np.float32)
    updates[:, 0, :100] = updates[:, 1, 100:] = 1
    said = findings(make_run(updates, layers={"big": 100} | {f"l{i}": 2 for i in range(10)}))
    assert sum(line.startswith("in l") for line in said) == 4
    assert "6 more layers differ from the whole" in said


def test_caveats() -> None:
    updates = np.zeros((6, 2, 10), dtype=np.float32)
    updates[:, :, :7] = 1
    said = findings(make_run(updates, skipped=[1, 0, 0, 0, 0, 0], layers={"x": 10}))
    assert "30 % of the shared parameters have not been moved by any task" in said
    assert "1 of 6 recorded steps are left out: 1 skipped" in said
    sampled = findings(planted_run(steps=5, layers={"x": 960}, coord_weight=np.full(1000, 1.0)))
    assert not any("standard error" in line for line in sampled)
    weight = np.full(1000, 1.0)
    weight[:960] = 4
    assert any(
        line.startswith("shares come from 960 of 3,840 shared parameters (standard error at most ")
        for line in findings(planted_run(steps=5, layers={"x": 960}, coord_weight=weight))
    )


def test_a_dead_layer() -> None:
    updates = np.ones((3, 2, 10), dtype=np.float32)
    updates[:, :, 5:] = 0
    run = make_run(updates, layers={"live": 5, "dead": 5})
    assert "in dead no task has moved a parameter" in findings(run)
    assert summary(run).loc[("dead", "a"), COLUMNS].isna().all()
    assert summary(run).loc[("dead", "a"), "untouched"] == 1


def test_nothing_moved_at_all() -> None:
    run = make_run(np.zeros((3, 2, 4)))
    assert findings(run) == ["no task has moved a shared parameter"]
    assert summary(run)["untouched"].tolist() == [1] * 4


def test_runs_with_nothing_to_say() -> None:
    for run in (make_run(np.zeros((0, 2, 3))), make_run(np.full((4, 2, 3), np.nan))):
        for say in (summary, findings):
            with pytest.raises(NothingRecorded):
                say(run)


def test_a_run_with_solo_updates_only() -> None:
    run = planted_run(steps=6, solo=planted_run(steps=6)["update/update"].values)
    run.attrs["attribution"] = "solo"
    run["update/update"][:] = np.nan
    assert overview(run).trunk.attrs["attribution"] == "solo"
    assert "price owns" in findings(run)[0]


def test_one_overview_serves_both() -> None:
    run = planted_run(steps=6)
    seen = overview(run)
    assert summary(seen).equals(summary(run))
    assert findings(seen) == findings(run)


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
