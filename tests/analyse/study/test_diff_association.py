"""Score against Diff: the table by hand, and what each p is worth where there is nothing to find."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from studies import scored

from dominance.analyse.study.diff_association import EXCHANGES, diff_association
from dominance.errors import BadOption, NothingRecorded

METHODS = ("equal-weight", "mgda", "imtl-g", "nash-mtl")


def study(strata: int = 1, methods: int = 3, seeds: int = 1) -> dict[str, Any]:
    """Runs named stratum/method/seed."""
    return {
        f"{stratum}/{method}/{seed}": scored(
            {"a": {"auc": 0.5}}, method=METHODS[method], architecture=f"net{stratum}", seed=seed
        )
        for stratum in range(strata)
        for method in range(methods)
        for seed in range(seeds)
    }


def found(runs: Any, score: Any, diff: Any, **options: Any) -> xr.Dataset:
    scores, diffs = (dict(zip(runs, map(float, values), strict=True)) for values in (score, diff))
    return diff_association(runs, score=scores, diff=diffs, **options)


def test_by_hand() -> None:
    """Three trainings: scores 1 2 3, Diff 3 1 2. Pairs (0, 1) and (0, 2) are reverse, (1, 2) goes alike."""
    result = found(study(), [1, 2, 3], [3, 1, 2])
    assert result.confusion.values.tolist() == [[1, 2], [0, 0]]
    assert result.confusion.sel(score="lower", diff="higher") == 2
    assert result.reverse_share == pytest.approx(2 / 3)
    assert np.isnan(result.chi2)  # no pair has the higher score first: the order of the runs decides it
    assert result.chi2_symmetric == pytest.approx(1 / 3)
    assert result.p_symmetric == pytest.approx(stats.chi2.sf(1 / 3, 1))
    # Of the six orders of the scores two are as uneven as 3 : 0 and four as 2 : 1.
    assert result.p_permutation.sel(exchange="run in stratum") == 1
    assert result.attrs["exact"] == list(EXCHANGES)
    assert (result.attrs["pairs_used"], result.attrs["strata"]) == (3, 1)


def test_a_perfect_order_of_four() -> None:
    result = found(study(methods=4), [1, 2, 3, 4], [4, 3, 2, 1])
    assert result.reverse_share == 1
    assert result.p_permutation.values.tolist() == [2 / 24] * 3  # this order and the opposite one
    assert result.p_symmetric == pytest.approx(stats.chi2.sf(6, 1))  # 0.014, of four trainings


def test_chi_square_is_scipys() -> None:
    rng = np.random.default_rng(0)
    runs = study(2, 4, 3)
    for correction in (False, True):
        result = found(runs, rng.permutation(24), rng.permutation(24), correction=correction)
        theirs = stats.chi2_contingency(result.confusion.values, correction=correction)
        assert result.chi2 == pytest.approx(theirs.statistic)
        assert result.p_chi2 == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("pairs", "number"), [("all", 2 * 54), ("seed", 2 * 18), ("mean", 2 * 6)])
def test_which_pairs(pairs: str, number: int) -> None:
    rng = np.random.default_rng(0)
    runs = study(2, 4, 3)
    result = found(runs, rng.normal(size=24), rng.normal(size=24), pairs=pairs)
    assert result.sizes["pair"] == result.attrs["pairs_used"] == number
    if pairs == "mean":
        assert set(result.first.values) <= set(METHODS)
        return
    for first, second in zip(result.first.values, result.second.values, strict=True):
        (stratum, method, seed), (other_stratum, other_method, other_seed) = first.split("/"), second.split("/")
        assert stratum == other_stratum
        assert method != other_method
        assert pairs == "all" or seed == other_seed


def test_means_over_seeds() -> None:
    result = found(study(1, 2, 2), [1, 3, 4, 0], [5, 1, 1, 1], pairs="mean")  # means 2, 2 and 3, 1
    assert result.attrs["pairs_left_out_tied"] == 1
    result = found(study(1, 2, 2), [1, 3, 4, 1], [5, 1, 1, 1], pairs="mean")
    assert result.reverse_share == 1


def test_what_does_not_depend_on_the_order_of_runs() -> None:
    rng = np.random.default_rng(4)
    runs = study(2, 3, 2)
    score, diff = rng.normal(size=(2, 12))
    one = found(runs, score, diff)
    order = rng.permutation(12)
    names = list(runs)
    other = found({names[i]: runs[names[i]] for i in order}, score[order], diff[order])
    for name in ("chi2_symmetric", "reverse_share"):
        assert one[name] == pytest.approx(other[name].item())
    assert one.p_permutation.sel(exchange="method in study") == other.p_permutation.sel(exchange="method in study")
    assert one.p_permutation.sel(exchange="method in stratum") == other.p_permutation.sel(exchange="method in stratum")


def brute(score: np.ndarray, diff: np.ndarray, method: np.ndarray, stratum: np.ndarray) -> int:
    pairs = [(i, j) for i, j in itertools.combinations(range(len(score)), 2) if stratum[i] == stratum[j]]
    return abs(
        int(sum(np.sign((score[i] - score[j]) * (diff[i] - diff[j])) for i, j in pairs if method[i] != method[j]))
    )


@pytest.mark.parametrize("number", range(4))
def test_exchanges_against_brute_force(number: int) -> None:
    """Two strata of three methods with two seeds; the second lists its methods in another order."""
    rng = np.random.default_rng(number)
    runs = study(2, 3, 2)
    names = [*list(runs)[:6], *(f"1/{m}/{s}" for m in (2, 0, 1) for s in (0, 1))]
    runs = {name: runs[name] for name in names}
    score, diff = rng.normal(size=(2, 12))
    result = found(runs, score, diff)
    stratum, method, seed = (np.array([int(name.split("/")[k]) for name in names]) for k in range(3))
    place = {(s, m, k): i for i, (s, m, k) in enumerate(zip(stratum, method, seed, strict=True))}
    observed = brute(score, diff, method, stratum)
    orders = list(itertools.permutations(range(3)))

    def exchanged(first: Any, second: Any) -> int:
        moved = [score[place[s, (first, second)[s][m], k]] for s, m, k in zip(stratum, method, seed, strict=True)]
        return brute(np.array(moved), diff, method, stratum)

    together = [exchanged(order, order) >= observed for order in orders]
    apart = [exchanged(one, other) >= observed for one in orders for other in orders]
    assert result.p_permutation.sel(exchange="method in study") == pytest.approx(np.mean(together))
    assert result.p_permutation.sel(exchange="method in stratum") == pytest.approx(np.mean(apart))
    assert result.attrs["exact"] == ["method in stratum", "method in study"]


def false_alarms(kind: str, studies: int = 40) -> dict[str, float]:
    """Share of studies with p < 0.05 in which score and Diff have nothing to do with one another.

    2 architectures, 4 methods, 3 seeds; ``kind``: what makes trainings alike.
    """
    rng = np.random.default_rng(1)
    runs = study(2, 4, 3)
    count = dict.fromkeys(("chi2", *EXCHANGES), 0)
    for _ in range(studies):
        values = []
        for _ in ("score", "diff"):
            luck = rng.normal(size=(2, 4, 3))
            if kind == "method in stratum":
                luck = luck + 3 * rng.normal(size=(2, 4, 1))
            if kind == "method in study":
                luck = luck + 3 * rng.normal(size=(1, 4, 1))
            values.append(luck.ravel())
        result = found(runs, *values, permutations=600)
        count["chi2"] += bool(result.p_chi2 < 0.05)
        for name in EXCHANGES:
            count[name] += bool(result.p_permutation.sel(exchange=name) < 0.05)
    return {name: number / studies for name, number in count.items()}


def test_chi_square_of_pairs_alarms_for_nothing_and_permutations_do_not() -> None:
    """Each exchange keeps its level where what it keeps together is what makes trainings alike. At most 0.15 of 40
    studies is what a test of level 0.05 stays under in 99 of 100 cases."""
    luck = false_alarms("nothing")
    assert luck["chi2"] > 0.15
    assert luck["run in stratum"] <= 0.15
    by_stratum = false_alarms("method in stratum")
    assert by_stratum["run in stratum"] > 0.12
    assert by_stratum["method in stratum"] <= 0.15
    everywhere = false_alarms("method in study")
    assert everywhere["method in stratum"] > 0.15
    assert everywhere["method in study"] <= 0.15


def test_a_true_association_is_found() -> None:
    rng = np.random.default_rng(2)
    runs = study(2, 4, 3)
    diff = rng.normal(size=(2, 4, 3)) + 3 * np.arange(4)[None, :, None]
    result = found(runs, (-diff + 0.5 * rng.normal(size=diff.shape)).ravel(), diff.ravel())
    assert result.reverse_share > 0.9
    assert (result.p_permutation.to_numpy() < [0.01, 0.02, 2.1 / 24]).all()


def test_uneven_methods_cannot_be_exchanged() -> None:
    runs = study(1, 3, 2)
    del runs["0/1/1"]
    result = found(runs, range(5), range(5))
    assert np.isfinite(result.p_permutation.sel(exchange="run in stratum"))
    assert np.isnan(result.p_permutation.sel(exchange="method in stratum"))


def test_the_score_is_the_mean_over_tasks() -> None:
    runs = {
        name: scored({"a": {"auc": a}, "b": {"auc": b}}, method=name, directions={"auc": True})
        for name, a, b in (("x", 0.5, 0.9), ("y", 0.6, 0.6))
    }
    result = diff_association(runs, diff={"x": 1.0, "y": 2.0})
    np.testing.assert_allclose(result.score_of, [0.7, 0.6])
    assert (result.reverse_share, result.attrs["score"]) == (1, "auc")
    measured = xr.Dataset({"diff_of_means": ("run", [2.0, 1.0])}, coords={"run": ["x", "y"]})
    assert diff_association(runs, diff=measured).reverse_share == 0


def test_lower_is_better_scores() -> None:
    runs = {
        name: scored({"a": {"error": v}}, method=name, directions={"error": False}) for name, v in (("x", 1), ("y", 2))
    }
    assert diff_association(runs, diff={"x": 1.0, "y": 2.0}).reverse_share == 1


def test_errors() -> None:
    runs = study()
    with pytest.raises(BadOption, match="pairs='each'"):
        found(runs, [1, 2, 3], [1, 2, 3], pairs="each")
    with pytest.raises(BadOption, match="within='network' is unknown"):
        found(runs, [1, 2, 3], [1, 2, 3], within=["network"])
    with pytest.raises(BadOption, match="nothing is given for the run 0/2/0"):
        diff_association(runs, score=dict.fromkeys(runs, 1.0), diff=dict.fromkeys(list(runs)[:2], 1.0))
    with pytest.raises(BadOption, match="no result of alignment over several runs"):
        diff_association(runs, score=dict.fromkeys(runs, 1.0), diff=xr.Dataset({"diff_of_means": 1.0}))
    with pytest.raises(NothingRecorded, match="no pair of runs with different methods"):
        found(study(3, 1, 1), [1, 2, 3], [1, 2, 3])
    with pytest.raises(BadOption, match="higher_is_better"):
        diff_association(runs, diff=dict.fromkeys(runs, 1.0))
    two = {name: scored({"a": {"auc": 1.0}, "b": {"mae": 1.0}}, method=name) for name in "xy"}
    with pytest.raises(BadOption, match="the tasks share no metrics"):
        diff_association(two, diff={"x": 1.0, "y": 2.0})
    with pytest.raises(BadOption, match="no run has the metric f1"):
        diff_association(runs, metric="f1", diff=dict.fromkeys(runs, 1.0))
