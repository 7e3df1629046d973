from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import scored

from dominance.analyse.study.rank_stability import rank_stability
from dominance.errors import BadOption, NothingRecorded


def study(values: Any, net: str = "hps", first: int = 0) -> dict[str, Any]:
    """(seed, method) errors of task a; task b's auc is 1 - error."""
    return {
        f"{net}-m{m}-{s}": scored(
            {"a": {"error": float(v)}, "b": {"auc": 1 - float(v)}},
            directions={"error": False, "auc": True},
            method=f"m{m}",
            architecture=net,
            seed=first + s,
        )
        for s, row in enumerate(values)
        for m, v in enumerate(row)
    }


def test_by_hand() -> None:
    found = rank_stability(study([[1, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 2]]))
    of_a = found.sel(claim="a error")
    np.testing.assert_allclose(of_a.mean_rank, [5 / 4, 8.5 / 4, 10.5 / 4])
    np.testing.assert_allclose(of_a.top_share, [0.75, 0.25, 0])
    assert of_a.beats.sel(method_name="m0", method_other="m1") == 0.75
    assert of_a.beats.sel(method_name="m1", method_other="m2") == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert of_a.beats.sel(method_name="m2", method_other="m1") == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert np.isnan(of_a.beats.sel(method_name="m1", method_other="m1"))
    assert of_a.n == 4
    np.testing.assert_array_equal(found.mean_rank.sel(claim="b auc"), of_a.mean_rank)
    np.testing.assert_allclose(found.top_share.sel(claim="overall"), [0.75, 0.25, 0])


def test_kendall_w_is_friedmans() -> None:
    values = np.random.default_rng(0).normal(size=(6, 4))
    found = rank_stability(study(values)).kendall_w.sel(claim="a error")
    assert found * 6 * 3 == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_probability_of_the_better_mean() -> None:
    """Differences of mean 1 and deviation 1 in 16 blocks: the mean is above 0 in Φ(4 · d) of the samples."""
    rng = np.random.default_rng(0)
    luck = rng.normal(size=16)
    luck = (luck - luck.mean()) / luck.std()
    base = 10 * rng.normal(size=16)  # what the methods have in common in a block cancels
    found = rank_stability(study(np.stack([base, base + 0.3 + luck], axis=1)), metric="error", resamples=4000)
    assert found.claim.values.tolist() == ["a error", "overall"]
    probability = found.probability.sel(claim="a error", method_name="m0", method_other="m1")
    assert probability == pytest.approx(stats.norm.cdf(4 * 0.3), abs=0.02)


def test_one_block_is_no_proof() -> None:
    found = rank_stability(study([[1, 2]]))
    assert np.isnan(found.probability).all()
    assert np.isnan(found.kendall_w).all()
    assert found.top_share.sel(claim="overall", method_name="m0") == 1


def test_blocks_are_seeds_within_an_architecture() -> None:
    runs = study([[1, 2], [2, 1]]) | study([[1, 2]], "ple")
    del runs["hps-m1-1"]
    found = rank_stability(runs)
    assert (found.n == 2).all()
    assert found.attrs["runs_left_out"] == ["hps-m0-1"]


def test_errors() -> None:
    with pytest.raises(BadOption, match="all runs are of the method m0"):
        rank_stability(study([[1]]))
    with pytest.raises(BadOption, match="of one method and seed"):
        rank_stability(study([[1, 2]]) | {"again": study([[1, 2]])["hps-m0-0"]})
    apart = study([[1, 2]])
    apart["hps-m1-0"] = study([[1, 2]], first=5)["hps-m1-0"]
    with pytest.raises(NothingRecorded, match="no seed has a run of each"):
        rank_stability(apart)
    with pytest.raises(NothingRecorded, match="no f1 that all runs have"):
        rank_stability(study([[1, 2]]), metric="f1")
    bare = {name: scored({"a": {"auc": 1.0}}, method=name, seed=0) for name in "xy"}
    with pytest.raises(BadOption, match="direction of auc"):
        rank_stability(bare)
