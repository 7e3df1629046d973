"""Which pairs conflict: means, what they vary by, and how many were looked at."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from runs import make_run

from dominance.analyse.conflict import gcd
from dominance.analyse.summary import overview
from dominance.analyse.verdict.conflicts import conflicts, findings
from dominance.schema import Parameter


def at_angles(cosines: np.ndarray, **options: object) -> xr.DataTree:
    """(step, pair 0-1): two tasks whose gradients have these cosines in one layer of two coordinates."""
    g = np.zeros((len(cosines), 2, 2))
    g[:, 0, 0] = 1.0
    g[:, 1, 0], g[:, 1, 1] = cosines, np.sqrt(1 - cosines**2)
    return make_run(-1e-3 * g, g, **options)


def test_the_mean_is_that_of_gcd() -> None:
    run = at_angles(np.random.default_rng(0).uniform(-1, 0.5, 50))
    found = conflicts(overview(run))
    expected = gcd(run).mean_gcd.sel(task="a", task_other="b").values
    assert found.mean_gcd.values.ravel() == pytest.approx([*expected, *expected])
    assert (found.pair_task.values.tolist(), found.pair_other.values.tolist()) == (["a"], ["b"])


def test_a_steady_conflict_is_sure_and_a_wavering_one_is_not() -> None:
    steady, wavering = np.full(100, -0.5), np.where(np.arange(100) < 60, -0.9, 0.5)
    assert float(conflicts(overview(at_angles(steady))).above[0, 0]) == 1.0
    # Mean GCD 1.34: above the bound, but only in the first stretch of a run of two moods.
    found = conflicts(overview(at_angles(wavering)))
    assert float(found.mean_gcd[0, 0]) > 4 / 3
    assert float(found.above[0, 0]) < 0.99


def test_many_comparisons_make_each_less_sure() -> None:
    rng = np.random.default_rng(3)
    cosines = rng.normal(-0.12, 0.3, 60).clip(-1, 1)
    alone = float(conflicts(overview(at_angles(cosines))).above[0, 0])
    g = rng.standard_normal((60, 6, 40))
    g[:, :2, :4] = 0  # the first layer of two tasks is the run above
    g[:, 0, 0] = 1
    g[:, 1, 0], g[:, 1, 1] = cosines, np.sqrt(1 - cosines**2)
    many = make_run(-1e-3 * g, g, layers={f"l{i}": 4 for i in range(10)})
    found = conflicts(overview(many)).sel(layer="l0")
    assert found.mean_gcd.values[0] == pytest.approx(1 - cosines.mean())
    assert alone > 0.9
    assert float(found.above[0]) < alone


def test_findings_by_strength() -> None:
    for cosine, kind in ((-0.5, ["conflict"]), (-0.2, ["leaning"]), (-0.05, []), (0.5, [])):
        run = at_angles(np.full(60, cosine))
        said = findings(run, conflicts(overview(run)))
        assert [finding.kind for finding in said] == kind
        assert [finding.alarm for finding in said] == [k == "conflict" for k in kind]


def test_a_conflict_in_one_layer_is_named_with_the_layer() -> None:
    g = np.random.default_rng(0).standard_normal((80, 2, 300))
    g[:, 1, 250:] = -g[:, 0, 250:]
    run = make_run(-1e-3 * g, g, tasks=["left", "right"], layers={"stem": 250, "neck": 50})
    (said,) = findings(run, conflicts(overview(run)))
    assert (said.kind, said.where, said.tasks) == ("conflict", ("neck",), ("left", "right"))
    assert said.strength == pytest.approx(2)
    assert "neck" in said.text
    assert any("branch" in advice and "neck" in advice for advice in said.advice)


def test_tasks_that_take_turns_have_no_degree() -> None:
    g = np.ones((40, 2, 3))
    g[::2, 0] = g[1::2, 1] = 0
    run = make_run(-1e-3 * g, g)
    found = conflicts(overview(run))
    assert np.isnan(found.mean_gcd).all()
    assert findings(run, found) == []


def test_a_conflict_between_tasks_that_learn_is_no_alarm() -> None:
    run = at_angles(np.full(60, -0.6), tasks=["a", "b"])
    pairs = conflicts(overview(run))
    for learning, alarm in (((), True), (("a",), True), (("a", "b"), False)):
        (said,) = findings(run, pairs, learning)
        assert (said.kind, said.alarm) == ("conflict", alarm)
        assert said.text.endswith("both learn all the same.") is not alarm


def test_a_conflict_in_next_to_nothing_is_no_finding() -> None:
    g = np.random.default_rng(0).standard_normal((80, 2, 300))
    g[:, 1, 290:] = -g[:, 0, 290:]
    run = make_run(-1e-3 * g, g, layers={"stem": 290, "bias": 10})
    assert [finding.kind for finding in findings(run, conflicts(overview(run)))] == ["leaning"]


def with_a_table(common: int, module: str = "Embedding") -> xr.DataTree:
    """Two tasks in conflict in the trunk; each looks up 10 of the rows of a table, so many of them are both's."""
    rng, g = np.random.default_rng(0), np.zeros((60, 2, 22))
    g[:, 0, :10] = rng.normal(size=(60, 10))
    g[:, 1, 10 - common : 20 - common] = rng.normal(size=(60, 10))
    g[:, 0, 20] = 10.0
    g[:, 1, 20], g[:, 1, 21] = -8.0, 6.0
    tables = Parameter("films.weight", "films", (20,), ("a", "b"), module)
    parameters = [tables, Parameter("trunk.weight", "trunk", (2,), ("a", "b"), "Linear")]
    return make_run(-1e-3 * g, g, layers={"films": 20, "trunk": 2}, parameters=parameters)


@pytest.mark.parametrize(("common", "module", "said"), [
    (2, "Embedding", "(11 % of the rows of films that either looks up are of both): below 30 %"),
    (8, "Embedding", ""),
    (2, "Linear", ""),
])  # fmt: skip
def test_a_conflict_of_tasks_that_hardly_share_inputs_says_so(common: int, module: str, said: str) -> None:
    run = with_a_table(common, module)
    (found,) = findings(run, conflicts(overview(run)))
    assert found.kind == "conflict"
    assert ("They hardly share inputs" in found.text) == bool(said)
    assert said in found.text


def test_groups_of_examples_never_share_any_and_nothing_is_said_of_it() -> None:
    run = with_a_table(0)
    (found,) = findings(run, conflicts(overview(run)), groups=("a", "b"))
    assert "share inputs" not in found.text
