"""Groups of examples in the verdict: rare, learned, noisy, or pulling harder, from gradients that were drawn so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from analyse.test_mixture import counted
from runs import make_run, planted_run

from dominance import verdict
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.verdict.finding import Finding, Verdict
from dominance.analyse.verdict.groups import GroupFacts, groups

NAMES = ["a", "b", "c"]
STEPS = 120
Triple = tuple[float, float, float]


def drawn(
    share: Triple = (1, 1, 1),
    length: Triple = (1, 1, 1),
    spread: Triple = (1, 1, 1),
    ends: Triple = (0.3, 0.3, 0.3),
    *,
    toward: Any = None,
    seed: int = 0,
) -> xr.DataTree:
    """Groups with shares of 60 examples a step, |∇L| and σ of one example's gradient; updates of plain descent.

    Args:
        ends: what is left of each group's loss at the end, one for one.
        toward: (group, coord) directions of their gradients; default one for each.
    """
    rng = np.random.default_rng(seed)
    coords = 40
    base = np.eye(3, coords) if toward is None else np.asarray(toward, dtype=float)
    p = np.array(share) / sum(share)
    counts = rng.multinomial(60, p, STEPS)
    fall = np.linspace(1, 0, STEPS)[:, None] ** 3
    noise = rng.standard_normal((STEPS, 3, coords)) * np.array(spread)[:, None] / coords**0.5
    g = counts[..., None] * base * np.array(length)[:, None] + np.sqrt(counts)[..., None] * noise
    loss = counts / 60 * (np.array(ends) + (1 - np.array(ends)) * fall)
    g /= 60
    return make_run(-g, g, tasks=NAMES, metrics=counted(counts), loss=loss)


def of(run: xr.DataTree) -> GroupFacts:
    found = groups(PreparedRun(run), np.arange(STEPS))
    assert found is not None
    return found


def kinds(said: Verdict) -> dict[str, Finding]:
    return {f"{each.kind} {', '.join(each.tasks)}": each for each in said.findings}


def test_the_number_of_examples_and_the_pull_make_up_the_squares() -> None:
    """A tenth of the examples with gradients twice as long, without noise: 1/100 and 4."""
    run = drawn((10, 100, 100), (2, 1, 1), (0.01, 0.01, 0.01))
    found = {cause.name: cause for cause in of(run).causes("a", quiet=True)}
    assert found["examples"].factor == pytest.approx(100, rel=0.2)
    assert found["scale"].factor == pytest.approx(1 / 4, rel=0.1)
    assert found["examples"].probability > 0.99
    loud = {cause.name: cause for cause in of(run).causes("a", quiet=False)}
    assert loud["scale"].factor == pytest.approx(4, rel=0.1)


def test_noise_grows_with_the_number_of_examples_not_with_its_square() -> None:
    found = of(drawn((10, 100, 100), (0, 0, 0), (1, 1, 1))).causes("a", quiet=True)
    assert found[0].name == "examples"
    assert found[0].factor == pytest.approx(10, rel=0.4)


def test_a_rare_group_is_unheard_for_its_examples() -> None:
    said = kinds(verdict(drawn((2, 50, 50))))
    finding = said["unheard a"]
    assert finding.causes[0].name == "examples"
    assert "a has 2 % of the examples, another 49 %" in finding.why
    assert "Sample a more often" in finding.advice[0]
    assert not finding.alarm


def test_a_rare_group_that_pulls_hard_is_told_of_where_another_task_would_not_be() -> None:
    """It has 4 % of the examples, and less than a half, though more than a fourth, of the others' squared updates."""
    run = drawn((8, 100, 100), (7, 1, 1), (0.01, 0.01, 0.01))
    assert [of(run).rare(name) for name in NAMES] == [True, False, False]
    finding = kinds(verdict(run))["unheard a"]
    assert finding.text.startswith("a is rare, and hardly heard: 4 % of the examples, 17 % of the squared updates")
    assert [cause.name for cause in finding.causes] == ["examples"]
    quiet = drawn((1, 1, 1), (0.57, 1, 1), (0.01, 0.01, 0.01))  # as quiet, and not rare
    assert not any(name.startswith("unheard") for name in kinds(verdict(quiet)))


def test_a_group_that_is_learned_can_be_left_alone() -> None:
    said = kinds(verdict(drawn(length=(0.1, 1, 1), spread=(0.1, 1, 1), ends=(0.01, 0.5, 0.5))))
    finding = said["unheard a"]
    assert finding.causes[0].name == "learned"
    assert finding.advice == ("Leave it alone: what a has to teach is learned.",)


def test_a_group_whose_examples_agree_in_nothing_has_little_to_teach() -> None:
    said = kinds(verdict(drawn(length=(0, 1, 1), spread=(1, 1, 1), ends=(0.5, 0.3, 0.3))))
    finding = said["unheard a"]
    assert finding.causes[0].name == "noise"
    assert "there is little to learn" in finding.why


def test_a_group_that_pulls_less_is_quiet_for_its_scale() -> None:
    finding = kinds(verdict(drawn(length=(0.2, 1, 1), spread=(0.2, 1, 1))))["unheard a"]
    assert finding.causes[0].name == "scale"
    assert finding.causes[0].evidence["gradient_ratio"] == pytest.approx(5, rel=0.2)


def test_a_group_that_is_heard_and_learns_nothing_is_noisy() -> None:
    run = drawn(ends=(0.97, 0.3, 0.3), spread=(3, 1, 1))
    said = kinds(verdict(run))
    assert "learns next to nothing: 3 % of its loss is gone" in said["noisy a"].text
    assert said["noisy a"].causes[0].name == "noise"
    assert "noisy b" not in said
    assert not any(name.startswith("noisy") for name in kinds(verdict(drawn())))


def test_one_that_learns_half_as_much_is_not() -> None:
    assert not any(name.startswith("noisy") for name in kinds(verdict(drawn(ends=(0.6, 0.3, 0.3)))))


def test_classes_that_oppose_each_other_and_learn_are_no_conflict() -> None:
    toward = np.zeros((3, 40))
    toward[0, 0], toward[1, :2], toward[2, 2] = 1, [-0.8, 0.6], 1
    run = drawn(spread=(0.1, 0.1, 0.1), toward=toward)
    said = kinds(verdict(run))
    assert "conflict a, b" not in said
    (leaning,) = [each for each in said.values() if each.kind == "leaning"]
    assert "these groups learn all the same: a and b" in leaning.text
    terms = kinds(verdict(run.drop_nodes("metric")))
    assert "conflict a, b" in terms


def test_groups_that_oppose_each_other_and_do_not_learn_are_a_conflict() -> None:
    toward = np.zeros((3, 40))
    toward[0, 0], toward[1, :2], toward[2, 2] = 1, [-0.8, 0.6], 1
    said = kinds(verdict(drawn(spread=(0.1, 0.1, 0.1), ends=(0.98, 0.3, 0.3), toward=toward)))
    assert said["conflict a, b"].alarm


def test_tasks_that_are_no_groups_are_judged_as_before() -> None:
    assert groups(PreparedRun(planted_run()), np.arange(60)) is None


def test_groups_without_two_gradients_near_each_other_are_not_told() -> None:
    counts = np.zeros((4, 2))
    counts[[0, 1], [0, 1]] = 1
    run = make_run(np.ones((4, 2, 3)), metrics=counted(counts, ["a", "b"]))
    assert groups(PreparedRun(run), np.arange(4)) is None
