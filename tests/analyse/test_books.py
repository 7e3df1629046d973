"""A run's books, against runs whose faults were put there by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance.analyse.books import books

UPDATES = np.ones((40, 2, 3))
"""Gradients of two tasks, each (1000, 1000, 1000): together sqrt(2) * sqrt(3) * 1000 long."""


def one_in(steps: int, value: float, every: int = 1, coords: int = 3) -> np.ndarray:
    part = np.zeros((steps, coords))
    part[::every] = value
    return part


def test_a_run_that_is_understood_has_nothing_in_its_books() -> None:
    kept = books(planted_run())
    assert kept.recorded == 60
    assert (kept.skipped, kept.not_understood, kept.missing, kept.failure, kept.diverged) == (0, 0, 0, "", None)
    assert not any(share.over or share.largest for share in kept.shares.values())
    assert kept.closure is not None
    assert kept.closure.largest == 0
    assert kept.not_finite == {}


def test_a_share_is_by_length_of_the_parts_not_of_their_sum() -> None:
    """Tasks (1, 0) and (-1, 0) undo each other; a residual as long as one of them is 1 / sqrt(3) of the parts."""
    gradients = np.tile([[1.0, 0.0], [-1.0, 0.0]], (30, 1, 1))
    kept = books(make_run(np.ones((30, 2, 2)), gradients, residual_gradient=np.tile([0.0, 1.0], (30, 1))))
    assert kept.shares["unexplained"].median == pytest.approx(3**-0.5)
    assert kept.shares["residual"].median == pytest.approx(3**-0.5)


def test_what_is_over_the_bound_is_counted_from_its_first_step() -> None:
    residual = one_in(40, 1000.0)
    residual[:10], residual[20] = 0, 3000.0
    share = books(make_run(UPDATES, residual_gradient=residual)).shares["unexplained"]
    assert (share.over, share.of, share.first, share.at, share.grave) == (30, 40, 10, 20, True)
    assert share.typical == pytest.approx(3**-0.5)
    assert share.largest == pytest.approx((9 / 11) ** 0.5)


def test_a_named_regulariser_is_no_unexplained_gradient() -> None:
    kept = books(make_run(UPDATES, residual_gradient=one_in(40, 1000.0), unexplained=one_in(40, 0.0)))
    assert kept.shares["residual"].grave
    assert not kept.shares["unexplained"].over


def test_now_and_then_is_not_grave() -> None:
    share = books(make_run(UPDATES, residual_gradient=one_in(40, 1000.0, every=20))).shares["unexplained"]
    assert (share.over, share.grave) == (2, False)
    assert books(make_run(UPDATES, residual_gradient=one_in(40, 1000.0, every=10))).shares["unexplained"].grave


def test_a_layer_tells_what_the_trunk_hides() -> None:
    layers, updates = {"loud": 10, "soft": 10}, np.ones((40, 2, 20))
    updates[:, :, 10:] = 1e-3
    residual = np.zeros((40, 20))
    residual[:, 10:] = 1.0
    share = books(make_run(updates, layers=layers, residual_gradient=residual)).shares["unexplained"]
    assert share.layers == ("soft",)
    assert share.grave
    assert share.median == pytest.approx(3**-0.5, rel=1e-5)


def test_next_to_nothing_of_what_is_shared_is_left_alone() -> None:
    updates = np.ones((40, 2, 100))
    updates[:, :, 99] = 1e-3
    residual = np.zeros((40, 100))
    residual[:, 99] = 1.0
    found = books(make_run(updates, layers={"trunk": 99, "scale": 1}, residual_gradient=residual))
    assert not found.shares["unexplained"].over


def test_layers_of_one_task_do_not_count() -> None:
    residual = np.zeros((30, 740))
    residual[:, 700:] = 99.0
    assert not books(planted_run(steps=30, residual_gradient=residual)).shares["unexplained"].largest


@pytest.mark.parametrize("part", ["outside", "unattributed"])
def test_parts_of_the_updates(part: str) -> None:
    """Each is (0.4, 0.4, 0.4) beside two tasks' (1, 1, 1): 0.16 of 2.16 squares."""
    kept = books(make_run(UPDATES, **{part: one_in(40, 0.4)}))
    assert kept.shares[part].median == pytest.approx((0.16 / 2.16) ** 0.5)
    assert not kept.shares["outside" if part == "unattributed" else "unattributed"].largest


def test_steps_that_are_left_out_for_their_momentum_are_not_counted_again() -> None:
    unattributed = one_in(40, 0.1)
    unattributed[:20] = 9.0
    share = books(make_run(UPDATES, unattributed=unattributed)).shares["unattributed"]
    assert (share.of, share.over) == (20, 0)


def test_closure_counts_where_it_is_known() -> None:
    closure = np.zeros(40)
    closure[:10], closure[10:30], closure[30] = np.nan, 0.5, np.inf
    found = books(make_run(UPDATES, closure=closure)).closure
    assert found is not None
    assert (found.over, found.of, found.first, found.at, found.grave) == (21, 30, 10, 30, True)
    assert books(make_run(UPDATES, closure=np.full(40, np.nan))).closure is None


def test_a_training_diverges_at_the_first_of_the_steps_that_end_it() -> None:
    gradients = -1000 * UPDATES
    gradients[5] = gradients[20:] = np.inf
    steps = np.arange(0, 400, 10)
    run = make_run(np.where(np.isinf(gradients), np.inf, UPDATES), gradients, steps=steps)
    assert books(run).diverged == 200
    assert books(run.isel(step=slice(20))).diverged is None
    assert books(run.isel(step=slice(20, None))).diverged == 200


def test_steps_that_were_skipped_or_not_understood_are_no_divergence() -> None:
    gradients = -1000 * UPDATES
    gradients[30:] = np.nan
    run = make_run(UPDATES, gradients, skipped=[0] * 30 + [1] * 5 + [2] * 5)
    run["layer/total_gradient_sq"][30:] = np.nan
    kept = books(run)
    assert (kept.skipped, kept.not_understood, kept.diverged, kept.not_finite) == (5, 5, None, {})


def test_a_gradient_that_is_not_finite_in_a_training_that_is() -> None:
    gradients = -1000 * UPDATES
    gradients[10:, 1] = np.nan
    assert books(make_run(UPDATES, gradients)).not_finite == {"b": 30}
    weight = np.ones((40, 2))
    weight[10:, 1] = np.nan  # it took no part in these steps
    assert books(make_run(UPDATES, gradients, weight=weight)).not_finite == {}


def test_what_the_recorder_wrote_down() -> None:
    attrs = {
        "unrecorded": [{"reason": "a loss not seen before", "steps": 3, "first": 7}],
        "remarks": ["observe() was given a sum beside its parts."],
        "steps_taken": 500,
        "failure": "ValueError: no",
    }
    kept = books(make_run(UPDATES, attrs=attrs))
    assert (kept.taken, kept.missing, kept.failure) == (500, 3, "ValueError: no")
    assert kept.remarks == ("observe() was given a sum beside its parts.",)
    assert json.loads(json.dumps(kept.to_dict()))["unrecorded"] == attrs["unrecorded"]


def test_schema_1_knows_a_residual_without_names_to_be_nobodys() -> None:
    run = make_run(UPDATES, residual_gradient=one_in(40, 1000.0), version=1)
    assert books(run).shares["unexplained"].grave
    assert "outside" not in books(run).shares
    run.attrs["residual_terms"] = ["l2"]
    assert "unexplained" not in books(run).shares


def test_a_run_of_nothing() -> None:
    kept = books(make_run(UPDATES[:0]))
    assert (kept.recorded, kept.closure, kept.diverged, dict(kept.shares)) == (0, None, None, {})
