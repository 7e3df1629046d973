"""What changed between two trainings: a difference that was planted is found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from runs import as_tree, make_run, planted_rows, planted_run

from dominance.analyse.study.change import change
from dominance.errors import BadOption, NothingRecorded

STEPS = 240


def noisy_loss(seed, level):
    return level + 0.05 * np.random.default_rng(seed).standard_normal((STEPS, 2))


def planted(seed, share, level=1.0):
    layout, rows = planted_rows(seed, STEPS, share, layers={"trunk.0": 60, "trunk.1": 40})
    return as_tree(layout, rows | {"loss/loss": noisy_loss(seed, level)})


def line(found, quantity, **where):
    (one,) = [
        each
        for each in found.lines
        if each.quantity == quantity and all(getattr(each, name) == value for name, value in where.items())
    ]
    return one


def test_a_planted_difference_is_beyond_noise():
    found = change(planted(0, 0.95), planted(1, 0.5, level=0.8))
    assert found.owners == ("price", "nobody")
    assert found.owner_changed
    owned = line(found, "owned", task="price")
    assert owned.beyond_noise
    assert owned.before.value > 0.8
    assert owned.after.value < 0.2
    assert line(found, "effective_tasks", layer="all shared").change > 0.3
    assert line(found, "effective_tasks", layer="trunk.0").beyond_noise
    loss = line(found, "loss", task="rating")
    assert loss.better
    assert loss.change == pytest.approx(-0.2, abs=0.05)
    assert not line(found, "gcd").beyond_noise  # the gradients lie to one another as before


@pytest.mark.parametrize("seed", range(8))
def test_where_nothing_changed_nothing_is_beyond_noise(seed):
    found = change(planted(2 * seed, 0.9), planted(2 * seed + 1, 0.9))
    assert found.beyond_noise == []
    assert found.owners[0] == found.owners[1]
    assert found.owner_changed is False
    assert "another seed may differ by more" in found.notes[0]


def test_what_two_seeds_differ_by_is_no_change_of_a_single_run():
    def level(seed, value):
        layout, rows = planted_rows(seed, STEPS, 0.9, layers={"trunk.0": 60})
        return as_tree(layout, rows | {"loss/loss": 0.001 * noisy_loss(seed, 0) + value})

    assert not line(change(level(0, 1.0), level(1, 0.9)), "loss", task="price").beyond_noise
    assert line(change(level(0, 1.0), level(1, 0.8)), "loss", task="price").beyond_noise
    several = [{f"{value}-{seed}": level(seed, value) for seed in (0, 1)} for value in (1.0, 0.9)]
    assert line(change(*several), "loss", task="price").beyond_noise


def test_a_run_and_itself_differ_in_nothing():
    run = planted(0, 0.9)
    found = change(run, run)
    assert {each.change for each in found.lines} == {0.0}
    assert {each.beyond_noise for each in found.lines} == {False}


def test_a_planted_conflict_is_beyond_noise():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((STEPS, 2, 40))
    against = g.copy()
    against[:, 1] -= g[:, 0]
    found = change(make_run(-g, g), make_run(-against, against))
    assert line(found, "gcd").beyond_noise
    assert line(found, "gcd").before.value == pytest.approx(1.0, abs=0.1)
    assert line(found, "gcd").after.value > 1.5


def test_the_noise_of_several_runs_is_their_spread():
    def scored(level):
        events = [{"step": 1, "epoch": 0, "task": "a", "split": "test", "name": "auc", "value": level}]
        return make_run(np.ones((STEPS, 2, 4)), metrics=events, attrs={"path": f"run-{level}"})

    plain = {f"plain-{i}": scored(level) for i, level in enumerate((0.70, 0.71, 0.69))}
    other = {f"other-{i}": scored(level) for i, level in enumerate((0.80, 0.81, 0.79))}
    found = change(plain, other, higher_is_better={"auc": True})
    score = line(found, "score")
    assert score.change == pytest.approx(0.1)
    assert score.before.se == pytest.approx(0.01 / 3**0.5)
    assert score.better
    assert found.notes == ()
    alone = line(change(plain["plain-0"], other["other-0"], higher_is_better={"auc": True}), "score")
    assert alone.change == pytest.approx(0.1)
    assert alone.beyond_noise is None  # one number on each side has no noise that is known


def test_only_what_both_sides_have_is_compared():
    three = planted_run(steps=60, tasks=("price", "rating", "clicks"), layers={"trunk.0": 30, "trunk.9": 20})
    found = change(planted_run(steps=60), three)
    assert {each.task for each in found.lines if each.quantity == "owned"} == {"price", "rating"}
    assert {each.layer for each in found.lines if each.quantity == "effective_tasks"} == {"all shared", "trunk.0"}
    said = " ".join(found.notes)
    assert "not all runs have them: clicks" in said
    assert "head_clicks" in said
    with pytest.raises(BadOption, match="no two tasks in common"):
        change(planted_run(steps=60), planted_run(steps=60, tasks=("x", "y")))


def test_too_few_steps_are_an_error():
    with pytest.raises(NothingRecorded, match="12 usable steps are too few to compare"):
        change(planted_run(steps=60), planted_run(steps=12))


@pytest.mark.parametrize("steps", [20, 21, 22, 25, 30])
def test_runs_as_short_as_may_be_are_compared(steps):
    found = change(planted_run(0, steps=steps, share=0.95), planted_run(1, steps=steps, share=0.5))
    assert found.memory == max(1.25, steps // 2 / 10)
    (owned,) = [line for line in found.lines if line.quantity == "owned" and line.task == "price"]
    assert owned.before.value > owned.after.value + 0.2


def test_a_run_that_cannot_be_trusted_takes_the_judgement_away():
    residual = np.zeros((STEPS, 140))
    residual[:, :100] = 5.0
    doubted = planted_run(steps=STEPS, share=0.5, residual_gradient=residual, layers={"trunk.0": 60, "trunk.1": 40})
    found = change(planted(0, 0.95), doubted)
    assert line(found, "owned", task="price").beyond_noise is None
    assert line(found, "gcd").beyond_noise is None
    assert line(found, "loss", task="price").beyond_noise is not None
    assert list(found.doubts.values()) == [("part of the gradient is nobody's",)]


def test_plain_values():
    document = change(planted(0, 0.95), planted(1, 0.5)).to_dict()
    assert document["before"]["owner"] == "price"
    assert document["owner_changed"]
    assert {row["quantity"] for row in document["rows"]} == {"effective_tasks", "owned", "gcd", "loss"}
    assert document["rows"][0]["before"].keys() == {"mean", "se"}


def test_a_table_has_every_line_and_a_notebook_what_changed():
    found = change(planted(0, 0.95), planted(1, 0.5, level=0.8))
    table = found.to_dataframe()
    assert len(table) == len(found.lines)
    owned = table[(table["quantity"] == "owned") & (table["task"] == "price")].iloc[0]
    side = line(found, "owned", task="price").after
    assert (owned["after"], owned["after_se"]) == (side.value, side.se)
    page = found._repr_html_()
    assert "price owns most of the shared parameters before, nobody after" in page
    assert page.count("<tr") == 1 + len(found.beyond_noise)
    same = change(planted(0, 0.9), planted(1, 0.9))._repr_html_()
    assert "<table" not in same
    assert f"{len(found.lines)} of {len(found.lines)} numbers changed by no more than noise" in same
