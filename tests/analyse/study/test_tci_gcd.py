"""TCI against GCD: the points by hand, the correlations against scipy, and studies whose truth is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import scored

from dominance.analyse.study.tci_gcd import ALL, tci_gcd_correlation
from dominance.errors import BadOption, NothingRecorded

WAYS = {"error": False}


def angles(degree: Any) -> np.ndarray:
    """Gradients (epoch, task, coord) of two tasks with these GCD."""
    cos = 1 - np.asarray(degree, dtype=float)
    found = np.zeros((len(cos), 2, 2))
    found[:, 0, 0] = 1
    found[:, 1] = np.stack([cos, np.sqrt(1 - cos**2)], axis=1)
    return found


def joint(errors: Any, degree: Any, seed: int = 0, other: Any = None, **attrs: Any) -> Any:
    """Task a has these errors, b others (default 2, 2, ...); one step an epoch."""
    other = np.full(len(errors), 2.0) if other is None else other
    tables = [{"a": {"error": float(e)}, "b": {"error": float(o)}} for e, o in zip(errors, other, strict=True)]
    return scored(tables, split="test", directions=WAYS, gradients=angles(degree), seed=seed, **attrs)


def alone(epochs: int, error: float = 1.0) -> dict[str, Any]:
    return {task: scored([{task: {"error": error}}] * epochs, split="test", directions=WAYS) for task in "ab"}


def test_points_by_hand() -> None:
    found = tci_gcd_correlation(joint([1.5, 1.2, 1.0, 1.1], [1.8, 1.0, 0.4, 0.6]), alone(4), resamples=50)
    of_a = found.task_of == "a"
    np.testing.assert_allclose(found.tci[of_a], [0.5, 0.2, 0.0, 0.1])
    np.testing.assert_allclose(found.gcd[of_a], [1.8, 1.0, 0.4, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found.epoch[of_a], [0, 1, 2, 3])
    assert found.correlation.sel(task="a", measure="pearson") == pytest.approx(
        stats.pearsonr([1.8, 1.0, 0.4, 0.6], [0.5, 0.2, 0.0, 0.1]).statistic
    )
    assert found.correlation.sel(task="a", measure="spearman") == pytest.approx(1)
    assert np.isnan(found.correlation.sel(task="b")).all()  # b's TCI does not vary
    assert found.n.sel(task="a") == 4
    assert found.attrs["interval"] == "bootstrap of blocks of 2 epochs within 1 run"


def test_gcd_is_the_mean_over_the_steps_of_the_epoch() -> None:
    run = joint([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 1.0, 2.0])
    run["epoch"][:] = [0, 0, 1, 1]
    found = tci_gcd_correlation(run, alone(4), resamples=10)
    of_a = found.task_of == "a"
    np.testing.assert_allclose(found.gcd[of_a], [0.5, 1.5], atol=1e-6)
    np.testing.assert_array_equal(found.step[of_a], [0.5, 2.5])
    assert found.attrs["points_left_out"] == 4  # epochs 2 and 3 of both tasks have scores and no step


def test_gcd_of_a_task_is_the_mean_over_the_others() -> None:
    """Three tasks along x, along x, along -x: GCD 0 and 2."""
    gradients = np.tile([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], (3, 1, 1))
    tables = [{task: {"error": 1.0 + i} for task in "abc"} for i in range(3)]
    run = scored(tables, split="test", directions=WAYS, gradients=gradients)
    singles = {task: scored([{task: {"error": 1.0}}] * 3, split="test", directions=WAYS) for task in "abc"}
    found = tci_gcd_correlation(run, singles, resamples=5)
    assert [found.gcd.values[found.task_of == task].tolist() for task in "abc"] == [[1] * 3, [1] * 3, [2] * 3]


def test_p_is_the_share_of_turns_that_fit_as_well() -> None:
    rng = np.random.default_rng(7)
    errors, degree = 2 + rng.normal(size=8) / 9, 1 + rng.uniform(-0.9, 0.9, 8)
    found = tci_gcd_correlation(joint(errors, degree), alone(8), resamples=10).sel(task="a", measure="partial")
    time = np.arange(8)
    x, y = (v - np.polyval(np.polyfit(time, v, 1), time) for v in (degree, errors))
    turned = np.array([abs(stats.pearsonr(x, np.roll(y, turn)).statistic) for turn in range(8)])
    assert found.p == pytest.approx((turned >= turned[0] - 1e-9).mean())
    assert 0.2 < found.p < 0.9  # a p that says something


def test_partial_against_residuals() -> None:
    rng = np.random.default_rng(0)
    errors, degree = 2 + rng.normal(size=9) / 9, 1 + rng.uniform(-0.9, 0.9, 9)
    found = tci_gcd_correlation(joint(errors, degree), alone(9), resamples=10).correlation.sel(task="a")
    time = np.arange(9)
    for name, x, y in (
        ("partial", degree, errors),
        ("partial_spearman", stats.rankdata(degree), stats.rankdata(errors)),
    ):
        left = [v - np.polyval(np.polyfit(time, v, 1), time) for v in (x, y)]
        assert found.sel(measure=name) == pytest.approx(stats.pearsonr(*left).statistic, abs=1e-5)


def planted(rng: np.random.Generator, runs: int, effect: float, curve: str = "linear", epochs: int = 12) -> Any:
    """Conflict and error drift together over training; beside the drift, conflict makes ``effect`` of the error."""
    time = np.arange(epochs) / epochs
    drift = time if curve == "linear" else np.exp(4 * time - 4)
    made = {}
    for seed in range(runs):
        beside = 0.1 * rng.normal(size=epochs)
        degree = np.clip(0.4 + drift + beside, 0.02, 1.98)
        made[f"r{seed}"] = joint(1 + drift + 0.1 * rng.normal(size=epochs) + effect * beside, degree, seed)
    return made


@pytest.mark.parametrize(("curve", "measure"), [("linear", "partial"), ("exponential", "partial_spearman")])
def test_a_drift_alone_is_no_association(curve: str, measure: str) -> None:
    found = tci_gcd_correlation(planted(np.random.default_rng(0), 6, 0.0, curve), alone(12), resamples=200).sel(
        task="a"
    )
    assert found.correlation.sel(measure="pearson") > 0.8
    assert found.low.sel(measure="pearson") > 0.5
    assert abs(found.correlation.sel(measure=measure)) < 0.25
    assert found.low.sel(measure=measure) < 0 < found.high.sel(measure=measure)
    assert found.p.sel(measure=measure) > 0.05
    assert np.isnan(found.p.sel(measure="pearson"))


def test_what_is_there_beside_the_drift_is_found() -> None:
    found = tci_gcd_correlation(planted(np.random.default_rng(0), 6, 2.0), alone(12), resamples=200).sel(task="a")
    assert found.low.sel(measure="partial") > 0.5
    assert found.p.sel(measure="partial") < 0.01
    assert found.p.sel(measure="partial_spearman") < 0.01


def final(error: float, other: float, degree: float, name: str) -> Any:
    tables = {"a": {"error": error}, "b": {"error": other}}
    return scored(tables, directions=WAYS, gradients=angles([degree]), method=name)


def test_over_runs_by_hand() -> None:
    singles = {task: scored({task: {"error": 1.0}}, directions=WAYS) for task in "ab"}
    errors, others, degree = [1.5, 1.2, 1.0, 1.1], [1.0, 1.1, 1.4, 1.3], [1.8, 1.0, 0.4, 0.6]
    study = {str(i): final(*of, f"m{i}") for i, of in enumerate(zip(errors, others, degree, strict=True))}
    found = tci_gcd_correlation({**study, "a alone": singles["a"], "b alone": singles["b"]}, over="runs", resamples=99)
    np.testing.assert_allclose(found.tci[found.task_of == "b"], np.array(others) - 1)
    raw = found.correlation.sel(measure="spearman")
    assert raw.sel(task="a") == pytest.approx(1)
    assert raw.sel(task="b") == pytest.approx(-1)
    assert abs(found.correlation.sel(task=ALL, measure="pearson")) < 0.1  # one falls as the other rises
    assert found.p.sel(task="a", measure="spearman") == pytest.approx(2 / 24)  # this order and the opposite one
    assert np.isnan(found.correlation.sel(measure="partial")).all()
    assert found.attrs["interval"] == "bootstrap of 4 whole runs"
    assert found.n_runs.values.tolist() == [4, 4, 4]


def test_order_does_not_matter() -> None:
    study = planted(np.random.default_rng(3), 4, 1.0)
    backwards = {name: study[name] for name in reversed(study)}
    one, other = (tci_gcd_correlation(runs, alone(12), resamples=20) for runs in (study, backwards))
    np.testing.assert_allclose(one.correlation, other.correlation)


def test_the_main_metric_is_the_first_that_is_declared() -> None:
    tables = [{"a": {"auc": 0.5, "error": e}, "b": {"error": 1.0}} for e in (1.0, 2.0)]
    run = scored(tables, split="test", directions={"error": False, "auc": True}, gradients=angles([1.0, 0.5]))
    run.attrs["metrics"]["a"] = {"error": "lower", "auc": "higher"}
    singles = {
        "a": scored([{"a": {"auc": 0.5, "error": 1.0}}] * 2, split="test"),
        "b": scored([{"b": {"error": 1.0}}] * 2, split="test"),
    }
    ways = {"error": False, "auc": True}
    found = tci_gcd_correlation(run, singles, higher_is_better=ways, resamples=5)
    assert set(found.metric_of.values[found.task_of == "a"]) == {"error"}


def test_errors() -> None:
    run = joint([1.0, 2.0], [1.0, 1.5])
    with pytest.raises(BadOption, match="over='steps'"):
        tci_gcd_correlation(run, alone(2), over="steps")
    with pytest.raises(NothingRecorded, match="no single-task run in the study"):
        tci_gcd_correlation(run)
    with pytest.raises(NothingRecorded, match="no run of several tasks"):
        tci_gcd_correlation(alone(2), alone(2))
    with pytest.raises(NothingRecorded, match="no run of b alone"):
        tci_gcd_correlation(run, {"a": alone(2)["a"]})
    run["epoch"][:] = 7
    with pytest.raises(NothingRecorded, match="both a TCI and a gradient conflict degree"):
        tci_gcd_correlation(run, alone(2))
