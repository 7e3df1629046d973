"""What does not add up in a run is told first, and the rest of the verdict stands back: each fault planted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import make_run, planted_run

from dominance import verdict
from dominance.analyse.verdict.doubts import CLAUSES, DOUBTED, accounts
from dominance.analyse.verdict.finding import KINDS
from dominance.errors import NothingRecorded

STEPS, N = 60, 200


def even(**options: Any) -> xr.DataTree:
    """Three tasks that share all they move: balanced, but for what is planted."""
    updates = np.random.default_rng(0).standard_normal((STEPS, 3, N))
    return make_run(updates, **{"tasks": ["a", "b", "c"], **options})


def part(length: float, every: int = 1, since: int = 0) -> np.ndarray:
    found = np.zeros((STEPS, N))
    found[since::every] = length
    return found


def nan_gradient(task: int, since: int) -> xr.DataTree:
    gradients = np.random.default_rng(0).standard_normal((STEPS, 3, N))
    gradients[since:, task] = np.nan
    return make_run(-1e-3 * np.nan_to_num(gradients), gradients)


PLANTED = {
    "unexplained": lambda: even(residual_gradient=part(1000.0)),
    "not closed": lambda: even(closure=np.full(STEPS, 0.3)),
    "not finite": lambda: nan_gradient(1, 30),
    "unattributed": lambda: even(layers={"low": 180, "top": 20}, unattributed=np.where(np.arange(N) < 180, 0.0, 1.5)
                                 * np.ones((STEPS, 1))),
    "outside": lambda: even(outside=part(2.0, every=5)),
    "unrecorded": lambda: even(attrs={"unrecorded": [{"reason": "a loss not seen before", "steps": 20, "first": 3}]}),
    "state": lambda: solo([1.0, 1.1, 1.05], [100.0, 1.0, 3.0]),
}  # fmt: skip


def solo(updates: list[float], gradients: list[float], **options: Any) -> xr.DataTree:
    """Solo updates and gradients of these sizes, in directions of their own."""
    made = np.random.default_rng(0).standard_normal((2, STEPS, len(updates), N))
    run = make_run(
        made[0], np.array(gradients)[:, None] * made[1], solo=np.array(updates)[:, None] * made[0], **options
    )
    run.attrs["attribution"] = "solo"
    run["update/update"][:] = np.nan
    run["layer/update_sq"][:] = np.nan
    return run


def test_without_them_it_is_balanced() -> None:
    found = verdict(even())
    assert [finding.kind for finding in found] == ["balanced"]
    assert found.remarks == ()


@pytest.mark.parametrize("kind", PLANTED)
def test_each_fault_is_told_first_and_nothing_is_called_balanced(kind: str) -> None:
    found = verdict(PLANTED[kind]())
    assert [finding.kind for finding in found] == [kind, "cannot say"]
    for never in ("Balanced", "Nothing to do", "How sure: sure"):
        assert never not in found.text()
    assert not found.alarm
    assert found.findings[0].text in accounts(PLANTED[kind]())


def test_every_doubt_has_a_clause_and_every_kind_a_place() -> None:
    assert set(PLANTED) == set(CLAUSES)
    assert set(CLAUSES) | set(DOUBTED) <= set(KINDS)


def test_a_dominated_run_whose_gradient_is_nobodys() -> None:
    residual = np.zeros((60, 740))
    residual[:, :400] = 5.0
    found = verdict(planted_run(residual_gradient=residual))
    doubt, owner, *rest = found.findings
    assert doubt.text.startswith("At each of 60 steps 9")
    assert "of the gradient of trunk.0, by length, is nobody's" in doubt.text
    assert doubt.where == ("trunk.0",)
    assert owner.kind == "dominance"
    assert ("How sure", "not to be trusted, because part of the gradient is nobody's") in owner.lines()
    assert owner.advice == ()
    assert owner.certainty == ""
    assert "harm unknown" not in [finding.kind for finding in rest]
    assert found.to_dict()["findings"][1]["doubt"] == "part of the gradient is nobody's"
    assert found.to_dict()["books"]["shares"]["unexplained"]["over"] == 60


def test_what_is_outside_the_step_is_told_with_how_much_and_since_when() -> None:
    text = verdict(even(outside=part(2.0, every=2, since=20))).findings[0].text
    assert text.startswith("At 20 of 60 steps, since step 20, 76 % (at step ")
    assert "of the movement of the shared parameters, by length, happens outside the optimizer's step" in text


def test_a_conflict_of_gradients_stands_beside_updates_that_do_not_close() -> None:
    updates = np.random.default_rng(0).standard_normal((STEPS, 2, N))
    updates[:, 1] = -updates[:, 0]
    conflict = verdict(make_run(updates, closure=np.full(STEPS, 0.3))).of("conflict")[0]
    assert (conflict.doubt, conflict.certainty) == ("", "sure")
    doubted = verdict(make_run(updates, residual_gradient=part(1000.0))).of("conflict")[0]
    assert doubted.doubt
    assert not doubted.alarm


def test_a_short_run_with_a_doubt_names_no_owner() -> None:
    assert "So far price owns" in verdict(planted_run(steps=6)).findings[0].text
    short = verdict(planted_run(steps=6, closure=np.full(6, 0.3)))
    assert [finding.kind for finding in short] == ["not closed", "too short"]
    assert "owns" not in short.text()


def test_diverged_since() -> None:
    updates = np.random.default_rng(0).standard_normal((STEPS, 3, N))
    loss = np.ones((STEPS, 3))
    updates[30:] = np.inf
    loss[30:, 2] = np.inf
    found = verdict(make_run(updates, tasks=["a", "b", "c"], loss=loss))
    first, second = found.findings
    assert first.text == (
        "Diverged at step 30: from then on gradients, updates or weights are not finite (30 of 60 recorded steps); the"
        " loss of c was infinite there. All that follows is said of the steps before."
    )
    assert (first.since, first.alarm) == (30, True)
    assert second.text == "Until then no task owned the shared parameters and no two were in conflict."


def test_a_training_that_diverged_at_once_is_not_told_to_go_on() -> None:
    updates = np.random.default_rng(0).standard_normal((STEPS, 3, N))
    updates[4:] = np.nan
    run = make_run(updates)
    run["layer/total_update_sq"][4:] = np.nan
    first, short = verdict(run).findings
    assert (first.kind, first.since, short.kind, short.advice) == ("diverged", 4, "too short", ())


def test_a_training_whose_updates_are_lost_has_not_diverged() -> None:
    run = even()
    run["layer/update_sq"][:] = np.nan
    with pytest.raises(NothingRecorded) as none:
        verdict(run)
    assert "diverged" not in str(none.value)
    with pytest.raises(NothingRecorded) as infinite:
        verdict(make_run(np.full((4, 2, 3), np.inf)))
    assert "diverged" in str(infinite.value)


def test_solo_updates_that_follow_their_gradients_are_believed() -> None:
    assert [finding.kind for finding in verdict(solo([1.0, 1.0], [1.0, 1.5]))] == ["balanced"]
    assert verdict(solo([9.0, 1.0], [30.0, 1.0])).findings[0].kind == "dominance"


def test_an_optimizer_that_is_known_to_go_by_its_state() -> None:
    optimizers = [{"class": "Muon", "groups": [], "state_dominated": True}]
    text = verdict(solo([1.0, 2.0], [8.0, 1.0], attrs={"optimizers": optimizers})).findings[0].text
    assert text.startswith("What moves the parameters cannot be told from solo updates: Muon's state decides them.")
    assert "a's gradient is 8.1 times as long as b's, its update 0.5 times" in text
    assert text.endswith("By gradients, a holds 98 % of the squares.")


def test_remarks_are_at_the_head_and_leave_nothing_to_do_unsaid() -> None:
    attrs = {
        "failure": "ValueError: a head was added",
        "steps_taken": 900,
        "unrecorded": [{"reason": "a loss not seen before", "steps": 2, "first": 7}],
        "remarks": ["observe() was given a sum beside its parts."],
    }
    found = verdict(even(attrs=attrs, closure=np.where(np.arange(STEPS) == 9, 0.4, 0.0)))
    assert list(found.remarks) == [
        "The recording ended before the training did, with 60 of 900 steps: ValueError: a head was added.",
        "Not recorded, or not understood: 2 of 62 steps that should have been (2 since step 7: a loss not seen"
        " before).",
        "observe() was given a sum beside its parts.",
        "At step 9 the parts of the updates are off by 40 % of a parameter's largest movement: too seldom to matter.",
    ]
    assert found.text().startswith("Recording: The recording ended before the training did")
    assert found.text().count("observe() was given") == 1
    assert found.findings[0].text.endswith("share the average parameter.")
    assert "observe() was given" in found._repr_html_()
    assert found.to_dict()["remarks"] == list(found.remarks)


@pytest.mark.parametrize(("closure", "said"), [(0.5, "50 %"), (12.0, "12 times"), (np.inf, "over 1,000 times")])
def test_a_closure_over_the_movement_itself(closure: float, said: str) -> None:
    text = verdict(even(closure=np.full(STEPS, closure))).findings[0].text
    assert f"they are off by {said} of a parameter's largest movement" in text
