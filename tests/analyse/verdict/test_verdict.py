"""The verdict as a whole: on runs made by hand, and on trainings whose trouble was planted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from planted import Case, run_of, train
from planted_cases import harmless_case, planted_case
from planted_study import Outcome, outcome
from runs import as_tree, make_run, planted_rows, planted_run, write_run
from studies import scored

from dominance import open_runs, verdict
from dominance.analyse.summary import overview
from dominance.analyse.verdict.rules import LEAST_STEPS
from dominance.errors import BadOption, NothingRecorded

SOME_PLANTED = (0, 2, 3, 5, 6, 8, 18, 29)
SOME_HARMLESS = (0, 3, 4, 5, 7)


def kinds(run: xr.DataTree, **options: object) -> list[str]:
    return [finding.kind for finding in verdict(run, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("number", SOME_PLANTED)
def test_the_planted_cause_is_named(number: int) -> None:
    found = outcome(planted_case(number, 3000, "unseen"))
    assert found.right, found


@pytest.mark.parametrize("number", SOME_HARMLESS)
def test_harmless_trainings_raise_no_alarm(number: int) -> None:
    found = outcome(harmless_case(number, 3000, "unseen"))
    assert not found.alarm, found


@pytest.mark.slow
def test_how_often_it_is_right() -> None:
    """``python tests/planted_study.py`` prints what was found against what was planted."""
    planted: list[Outcome] = [outcome(planted_case(i, 4000, "unseen")) for i in range(200)]
    harmless: list[Outcome] = [outcome(harmless_case(i, 4000, "unseen")) for i in range(100)]
    assert sum(o.right for o in planted) >= 190
    assert sum(not o.alarm for o in harmless) >= 95


def test_a_dominated_run_says_who_where_since_when_and_what_to_try() -> None:
    rng = np.random.default_rng(0)
    updates = 1e-3 * (1 + 0.1 * rng.standard_normal((120, 2, 40)))
    updates[30:, 0, :30] *= 20
    gradients = -1000 * updates  # in one direction: all signal
    run = make_run(updates, gradients, tasks=["recon", "left"], layers={"top": 30, "stem": 10})
    run.attrs["optimizers"] = [{"class": "AdamW", "groups": [{"lr": 0.01, "betas": [0.9, 0.99], "weight_decay": 0.1}]}]
    found = verdict(run)
    (owner,) = found.of("dominance")
    assert owner.tasks == ("recon",)
    assert owner.where == ("top",)
    assert owner.since is not None
    assert 30 <= owner.since <= 32
    assert owner.certainty == "sure"
    assert [cause.name for cause in owner.causes] == ["scale"]
    assert "75 % of the shared parameters" in owner.text
    line = "optim.AdaTaskAdam(model.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay"
    assert any(line in advice for advice in owner.advice)
    assert not found.alarm
    assert [finding.kind for finding in found] == ["dominance", "harm unknown"]
    assert found.of("harm unknown")[0].tasks == ("left",)
    run.attrs["optimizers"][0]["groups"][0] |= {"lr": 4e-4, "max_lr": 0.01, "min_lr": 4e-8}  # as OneCycleLR leaves it
    assert any(line in advice for advice in verdict(run).of("dominance")[0].advice)


def test_what_an_owner_has_of_several_layers_is_of_their_parameters_together() -> None:
    """A task moves 20 of 30 parameters of one layer alone and 4 of 5 of another; the other one all of a third."""
    updates = np.full((60, 2, 60), 1e-3)
    updates[:, 0, :20] = updates[:, 0, 30:34] = updates[:, 1, 35:] = 1
    owner, other = verdict(make_run(updates, layers={"wide": 30, "narrow": 5, "other": 25})).of("dominance")
    assert other.where == ("other",)
    assert owner.where == ("wide", "narrow")
    assert owner.evidence["owned"] == pytest.approx(24 / 35)  # the mean of 2/3 and 4/5 is 0.73


def test_two_owners_of_two_layers() -> None:
    updates = np.full((60, 2, 10), 1e-6)
    updates[:, 0, :5] = updates[:, 1, 5:] = 1
    found = verdict(make_run(updates, layers={"left": 5, "right": 5})).of("dominance")
    assert [(finding.tasks, finding.where) for finding in found] == [(("a",), ("left",)), (("b",), ("right",))]


def test_balance_is_said_plainly() -> None:
    updates = np.random.default_rng(0).standard_normal((60, 3, 200))
    (only,) = verdict(make_run(updates))
    assert only.kind == "balanced"
    assert only.text.endswith("Nothing to do.")
    assert verdict(make_run(np.zeros((30, 2, 4)))).findings[0].text == "No task has moved a shared parameter."


@pytest.mark.parametrize("steps", [1, 2, LEAST_STEPS - 1])
def test_a_short_run_is_not_judged(steps: int) -> None:
    found = verdict(planted_run(steps=steps))
    assert [finding.kind for finding in found] == ["too short"]
    assert str(steps) in found.findings[0].text
    assert found.findings[0].advice
    assert not found.alarm
    assert "too short" not in kinds(planted_run(steps=LEAST_STEPS))


def test_steps_that_cannot_be_used_do_not_count() -> None:
    run = planted_run(steps=60, skipped=[1] * 45 + [0] * 15)
    found = verdict(run)
    assert found.findings[0].text.startswith("15 steps of 60 recorded ones that can be used are too few")
    assert "45 of 60 recorded steps are left out: 45 skipped" in found.notes


def test_steps_that_are_only_not_split_are_not_said_to_diverge() -> None:
    updates = np.random.default_rng(0).standard_normal((60, 2, 20))
    run = make_run(updates)
    run["layer/update_sq"][:5] = np.nan
    (note,) = verdict(run).notes
    assert note.startswith("5 of 60 recorded steps are left out: 5 non-finite (the training itself is finite there")
    run["layer/total_update_sq"][:5] = np.nan
    assert verdict(run).notes == ("5 of 60 recorded steps are left out: 5 non-finite",)


STILL = "of the shared parameters have not been moved by any task; shares are of the others"


def test_shares_are_of_the_parameters_that_are_moved() -> None:
    updates = np.zeros((30, 2, 10), dtype=np.float32)
    updates[:, 0, :7] = 1
    updates[:, 1, :3] = 1
    found = verdict(make_run(updates))
    assert found.findings[0].text.startswith("a owns 57 % of the shared parameters"), "4 of 7, not of 10"
    assert f"30 % {STILL}" in found.notes


def test_notes() -> None:
    updates = np.zeros((6, 2, 10), dtype=np.float32)
    updates[:, :, :7] = 1
    assert f"30 % {STILL}" in verdict(make_run(updates)).notes
    weight = np.full(1000, 1.0)
    weight[:960] = 4
    (note,) = verdict(planted_run(steps=5, layers={"x": 960}, coord_weight=weight)).notes
    assert note.startswith("shares come from 960 of 3,840 shared parameters (standard error at most ")


def test_solo_updates_alone() -> None:
    run = planted_run(steps=30, solo=planted_run(steps=30)["update/update"].values)
    run.attrs["attribution"] = "solo"
    run["update/update"][:] = np.nan
    found = verdict(run)
    assert found.findings[0].tasks == ("price",)
    assert any("solo updates" in note for note in found.notes)


def test_measured_once() -> None:
    run = planted_run(steps=30)
    assert verdict(run, seen=overview(run)).to_dict() == verdict(run).to_dict()


def test_the_order_of_the_tasks_makes_no_difference() -> None:
    layout, rows, _ = train(Case(7, "scale", scale=(1.0, 12.0, 1.0), steps=120))
    swapped = as_tree(layout, rows)
    other = swapped.isel(task=[2, 0, 1], task_other=[2, 0, 1])
    other.attrs = {**swapped.attrs, "tasks": ["c", "a", "b"]}
    for one, two in zip(verdict(swapped), verdict(other), strict=True):
        assert (one.kind, set(one.tasks), one.where, one.since) == (two.kind, set(two.tasks), two.where, two.since)
        assert [cause.name for cause in one.causes] == [cause.name for cause in two.causes]
        assert one.strength == pytest.approx(two.strength, nan_ok=True)


def trained(scores: dict[str, float], *, metric: str, higher: bool | None = None, steps: int = 1, **attrs: Any) -> Any:
    """A balanced run that logged these scores after its last step."""
    gradients = np.random.default_rng(0).standard_normal((steps, len(scores), 8))
    table = {task: {metric: value} for task, value in scores.items()}
    directions = None if higher is None else {metric: higher}
    return scored([table] * steps, directions=directions, gradients=gradients, **attrs)


def test_harm_is_known_from_single_task_runs() -> None:
    joint = trained({"a": 0.6, "b": 0.9}, metric="auc", higher=True, steps=40)
    single = {task: trained({task: auc}, metric="auc", higher=True) for task, auc in (("a", 0.8), ("b", 0.89))}
    found = verdict(joint, single=single)
    (harmed,) = found.of("harm")
    assert harmed.tasks == ("a",)
    assert harmed.strength == pytest.approx(0.25)
    assert "its auc is 0.2 lower, 25 %" in harmed.text
    assert "another seed may say otherwise" in harmed.text
    assert found.of("no harm")[0].tasks == ("b",)
    assert found.alarm
    assert [finding.kind for finding in found] == ["harm", "no harm"]


def test_repeats_of_the_single_task_runs_are_averaged() -> None:
    joint = trained({"a": 1.5, "b": 1.0}, metric="error", higher=False, seed=0)
    single = {
        task: [trained({task: e}, metric="error", higher=False, seed=i) for i, e in enumerate([1.0, 1.1, 0.9])]
        for task in "ab"
    }
    found = verdict(joint, single=single)
    assert [finding.tasks for finding in found.of("harm")] == [("a",)]
    assert found.of("harm")[0].strength == pytest.approx(0.5)


def test_as_good_as_alone_is_no_alarm() -> None:
    joint = trained({"a": 0.79, "b": 0.9}, metric="auc", higher=True, steps=40)
    found = verdict(joint, single={task: trained({task: 0.8}, metric="auc", higher=True) for task in "ab"})
    assert [finding.kind for finding in found] == ["no harm", "balanced"]
    assert found.findings[0].tasks == ("a", "b")
    assert not found.alarm


def test_a_metric_without_a_direction_is_asked_for() -> None:
    joint, alone = trained({"a": 0.6, "b": 0.9}, metric="auc"), {t: trained({t: 0.8}, metric="auc") for t in "ab"}
    with pytest.raises(BadOption, match="higher_is_better"):
        verdict(joint, single=alone)
    assert verdict(joint, single=alone, higher_is_better={"auc": True}).of("harm")
    with pytest.raises(NothingRecorded, match="logged no metric"):
        verdict(planted_run(steps=30), single={t: planted_run(steps=3, tasks=[t]) for t in ("price", "rating")})


def dominated(loss: np.ndarray) -> xr.DataTree:
    updates = np.random.default_rng(0).standard_normal((100, 2, 60))
    updates[:, 0] *= 20
    return make_run(updates, loss=loss)


def test_harm_as_the_losses_show_it() -> None:
    ramp = np.linspace(1, 0.3, 100)
    noise = 0.02 * np.random.default_rng(1).standard_normal(100)
    rising = verdict(dominated(np.stack([ramp, 1 / ramp + noise], axis=1))).of("harm")
    assert [finding.tasks for finding in rising] == [("b",)]
    assert "above its start" in rising[0].text
    assert "weaker evidence" in rising[0].text
    stalled = verdict(dominated(np.stack([ramp, np.ones(100) + noise], axis=1))).of("harm")
    assert re.search(r"The loss of b has (hardly|not) fallen \(it ends \d % (below|above) its start\)", stalled[0].text)
    assert stalled[0].certainty == "likely"
    for learning in (np.stack([ramp, ramp + noise], axis=1), np.stack([np.ones(100), np.ones(100) + noise], axis=1)):
        found = verdict(dominated(learning))
        assert not found.of("harm")
        assert found.of("harm unknown")


def test_a_training_is_compared_with_itself_alone_by_its_own_command() -> None:
    run = dominated(np.ones((100, 2)))
    options = {"benchmark": "digits", "optimizer": "adam", "seed": 3, "tasks": None, "settings": {}, "options": {}}
    run.attrs |= {"training": {**options, "method": "equal-weight"}, "method": "equal-weight"}
    run.attrs["optimizers"] = [{"class": "Adam", "groups": [{"lr": 0.001}]}]
    found = verdict(run)
    assert "`dominance train digits --method stl --optimizer adam --seed 3`" in str(found.of("harm unknown")[0].advice)
    assert "`dominance train digits --method adatask --optimizer adam --seed 3`" in str(found.of("dominance")[0].advice)


def test_where_no_cause_counts_alone_the_largest_is_named_with_its_doubt() -> None:
    """Targets 1.3 times as large and some noise: neither doubles the squared updates, together they own the trunk."""
    run = run_of(Case(seed=0, kind="noise", scale=(1.3, 1.0), noise=(5.0, 0.3), steps=160))
    (found,) = verdict(run).of("dominance")
    (cause,) = found.causes
    assert cause.name == "noise"
    assert 1.59 < cause.factor < 2
    assert "this may be chance" in found.why


def test_json_is_plain() -> None:
    text = json.dumps(verdict(planted_run(steps=40)).to_dict())
    assert json.loads(text)["findings"][0]["causes"][0]["name"] == "scale"


def test_runs_with_nothing_to_say() -> None:
    for run in (make_run(np.zeros((0, 2, 3))), make_run(np.full((4, 2, 3), np.nan))):
        with pytest.raises(NothingRecorded):
            verdict(run)


def test_several_runs_are_refused(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, *planted_rows(steps=3)) for name in ("one", "two")]
    with pytest.raises(BadOption, match="of one run"):
        verdict(open_runs(paths))
