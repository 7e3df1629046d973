"""The three Δ over seeds: by hand from the formulas, and the interval against simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import scored

from dominance.analyse.kernels.t_test import welch
from dominance.analyse.study.delta import _mean, _unpaired, delta, delta_m
from dominance.deltas import delta_big_m
from dominance.errors import BadData, BadOption, NothingRecorded

WAYS = {"x": False, "y": False, "z": True}
SAME: dict[str, Any] = {"directions": WAYS, "benchmark": "toy"}


def joint(x: float, y: float, z: float, seed: int | None = None, method: str = "pub") -> Any:
    return scored({"a": {"x": x, "y": y}, "b": {"z": z}}, seed=seed, method=method, **SAME)


def singles(x: float, y: float, z: float, seed: int | None = None) -> dict[str, Any]:
    return {
        "a": scored({"a": {"x": x, "y": y}}, seed=seed, method="stl", **SAME),
        "b": scored({"b": {"z": z}}, seed=seed, method="stl", **SAME),
    }


# gains: x +10 %, y -50 %, z +20 %
@pytest.mark.parametrize(
    ("kind", "value", "better"),
    [("mocograd", -0.2 / 3, "higher"), ("adatask", -0.2 / 3, "higher"), ("pub", -((-0.2) + 0.2) / 2, "lower")],
)
def test_by_hand(kind: str, value: float, better: str) -> None:
    for baseline in (singles(10.0, 2.0, 0.5), joint(10.0, 2.0, 0.5, method="equal-weight")):
        found = delta(joint(9.0, 3.0, 0.6), baseline, kind=kind)
        assert found.delta == pytest.approx(value)
        assert found.attrs["better"] == better
        assert np.isnan(found.low)
    assert delta_m(joint(9.0, 3.0, 0.6), singles(10.0, 2.0, 0.5)).delta == pytest.approx(0)


def test_same_seeds_are_pairs() -> None:
    joints = {f"r{s}": joint(x, 1.0, 1.0, s) for s, x in ((0, 0.9), (1, 1.6))}
    both = [singles(2.0, 1.0, 1.0, 1), singles(1.0, 1.0, 1.0, 0)]
    found = delta(joints, both)
    np.testing.assert_allclose(found.delta_by_run, [0.1 / 3, 0.2 / 3])
    limits = stats.ttest_1samp([0.1 / 3, 0.2 / 3], 0).confidence_interval()
    assert (found.low.item(), found.high.item()) == pytest.approx((limits.low, limits.high))
    assert found.attrs["paired"]


def test_other_seeds_are_compared_with_the_mean() -> None:
    joints = {f"r{s}": joint(x, 1.0, 1.0, s) for s, x in ((0, 0.9), (1, 1.2))}
    found = delta(joints, [singles(1.0, 1.0, 1.0, 5), singles(2.0, 1.0, 1.0, 6)])
    np.testing.assert_allclose(found.delta_by_run, [0.6 / 1.5 / 3, 0.3 / 1.5 / 3])
    assert not found.attrs["paired"]
    assert (found.attrs["n_joint"], found.attrs["n_baseline"]) == (2, 2)
    assert found.low < found.delta < found.high


def test_one_baseline_run_has_no_spread() -> None:
    joints = {f"r{s}": joint(x, 1.0, 1.0, s) for s, x in ((0, 0.9), (1, 1.2))}
    found = delta(joints, singles(1.0, 1.0, 1.0, 0))
    assert found.delta == pytest.approx((0.1 - 0.2) / 6)
    assert np.isnan(found.low)


def test_unpaired_intervals_hold_what_they_promise() -> None:
    """Five joint and four single-task runs, scores with 5 % of luck; the true Δ_M is +10 %."""
    rng = np.random.default_rng(1)
    ways = {"a": {"x": False, "y": False}, "b": {"z": True}}

    def measure(scores: Any, base: Any) -> float:
        return delta_big_m(scores, base, ways)

    inside = 0
    for _ in range(80):
        ours = 0.05 * rng.normal(size=(5, 3)) + [0.9, 0.9, 1.1]
        theirs = 0.05 * rng.normal(size=(4, 3)) + 1
        joints = [{"a": {"x": x, "y": y}, "b": {"z": z}} for x, y, z in ours]
        base = [
            {str(i): {"a": {"x": x, "y": y}} for i, (x, y, _) in enumerate(theirs)},
            {str(i): {"b": {"z": z}} for i, (_, _, z) in enumerate(theirs)},
        ]
        found = np.array([measure(scores, _mean(base)) for scores in joints])
        low, high = _unpaired(found, joints, base, measure).interval(0.9)
        inside += low <= 0.1 <= high
    assert 0.84 <= inside / 80 <= 0.96


def test_the_jackknife_of_a_difference_is_welchs() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=5), 3 * rng.normal(size=4)
    joints = [{"a": {"x": float(x)}} for x in ours]
    base = [{str(i): {"a": {"x": float(x)}} for i, x in enumerate(theirs)}]

    def measure(scores: Any, mean: Any) -> float:
        return float(scores["a"]["x"] - mean["a"]["x"])

    found = _unpaired(np.array([measure(scores, _mean(base)) for scores in joints]), joints, base, measure)
    expected = welch(ours, theirs)
    assert (found.value, found.se, found.dof) == pytest.approx((expected.value, expected.se, expected.dof))


def test_tasks_that_were_not_trained_are_not_compared() -> None:
    only_b = scored({"b": {"z": 0.6}}, method="pub", **SAME)
    assert delta(only_b, joint(10.0, 2.0, 0.5)).delta == pytest.approx(0.2)


def test_errors() -> None:
    run = joint(1.0, 1.0, 1.0)
    with pytest.raises(BadOption, match="choose from mocograd, adatask, pub"):
        delta(run, run, kind="best")
    with pytest.raises(NothingRecorded, match="no run of b alone"):
        delta(run, {"a": singles(1, 1, 1)["a"]})
    with pytest.raises(BadData, match="no y of task a"):
        delta(run, {**singles(1, 1, 1), "a": scored({"a": {"x": 1.0}}, **SAME)})
    bare = scored({"a": {"x": 1.0}, "b": {"z": 1.0}})
    with pytest.raises(BadOption, match="direction of x, z"):
        delta(bare, bare)
    found = delta(bare, bare, higher_is_better={"x": False})
    assert (found.delta.item(), found.attrs["left_out_no_direction"]) == (0, ["z"])
