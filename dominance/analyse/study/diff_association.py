"""Do trainings whose updates follow their gradients alike do better? Score against Diff (PUB, Section III)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.chi_square import chi_square
from dominance.analyse.kernels.resampling import orders, permutation_p
from dominance.analyse.kernels.special import chi_square_tail
from dominance.analyse.runs import Runs
from dominance.analyse.study.about import labels
from dominance.analyse.study.experiments import aligned, average_score, experiments
from dominance.analyse.study.scores import FINAL, Take
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

EXCHANGES = ("run in stratum", "method in stratum", "method in study")
PAIRS = ("all", "seed", "mean")


def diff_association(
    study: Runs,
    *,
    within: Sequence[str] = ("benchmark", "architecture"),
    pairs: str = "all",
    metric: str | None = None,
    score: Mapping[str, float] | None = None,
    diff: xr.Dataset | Mapping[str, float] | None = None,
    split: str = FINAL,
    take: Take = "last",
    higher_is_better: Directions | None = None,
    correction: bool = False,
    permutations: int = 5000,
    seed: int = 0,
) -> xr.Dataset:
    """Association of the average score with Diff over pairs of trainings (PUB, Section III and Fig. 4).

    Of every pair (i, j) of trainings with different methods on one benchmark and architecture: x, whether i has the
    higher average score, and y, whether i has the higher Diff. The paper tests x and y for independence by a chi-square
    test. Its 13.67 of 144 pairs, 70 % of them reverse, is one without a continuity correction.

    That test is not to be trusted: in simulated studies with nothing to find (4 methods, 3 seeds, 2 architectures) it
    says p < 0.05 in 24 % of the cases, and in 66 % where methods have a level of their own. So there stand beside it:

    - Which of a pair is i is arbitrary, and turning a pair round changes the table. ``chi2_symmetric`` is the statistic
      of the pairs in both orders at half weight, (reverse - alike)² / pairs: it does not depend on the order.
    - Pairs are not independent: with n trainings there are n(n - 1)/2 pairs, each training is in n - 1 of them, and
      what one training got by luck counts n - 1 times. ``p_permutation`` exchanges the scores between the trainings of
      a stratum instead, which leaves the pairs as they hang together.
    - Trainings of one method are alike, in score and in Diff. So scores are also exchanged by whole methods, within
      each stratum, and in all strata at once: "method in study" is the one that speaks of methods at large. Its p
      cannot be less than 1 / (number of methods)!.

    Args:
        study: runs with several tasks, of several methods.
        within: compare only runs that agree on these.
        pairs: "all" of different methods; "seed": of one seed only; "mean": of methods, each the mean of its seeds.
        metric: whose mean over the tasks is the score; default the one that all tasks share.
        score: instead of it {run: number}, higher is better.
        diff: instead of measuring it: ``alignment(study)``, or {run: Diff}.
        split, take, higher_is_better: as in :func:`final_scores`.
        correction: Yates' correction of ``chi2``.
        permutations: most exchanges that are tried; where there are no more than that, all of them are.
        seed: of the exchanges.

    Returns:
        - ``confusion`` (score, diff): counts of pairs, i before j as the runs were given; "lower" and "higher" of i
        - ``chi2``, ``p_chi2``; ``chi2_symmetric``, ``p_symmetric``
        - ``reverse_share``: of the pairs, how many have the better score with the lower Diff; 0.5 is no association
        - ``p_permutation`` (exchange), two-sided: "run in stratum", "method in stratum", "method in study"; NaN where
          methods have unequal numbers of runs or strata have other methods
        - ``score_of``, ``diff_of`` (run), with the coordinates ``stratum``, ``method``, ``seed``
        - ``first``, ``second`` (pair): the runs of each pair (methods, for "mean")

        ``attrs``: pairs that are ties and left out, the number of strata, and ``exact`` by exchange.

    Raises:
        BadOption: ``pairs`` or ``within`` is unknown, or there is no one score.
        NothingRecorded: there is no pair.

    >>> from dominance import diff_association
    >>> two = {"one": joint["joint-0"], "other": alone}  # of two methods
    >>> found = diff_association(two, score={"one": 0.7, "other": 0.8}, diff={"one": 0.2, "other": 0.1})
    >>> found.reverse_share.item(), found.confusion.sel(score="lower", diff="higher").item()
    (1.0, 1)
    """
    if pairs not in PAIRS:
        raise BadOption(f"pairs={pairs!r} is unknown", fix=f"choose from {', '.join(PAIRS)}")
    runs, table = experiments(study, within)
    table["score"], called = average_score(runs, score, metric, split, take, higher_is_better)
    table["diff"] = aligned(runs, diff, ["diff"])["diff"]
    unknown = table[["score", "diff"]].isna().any(axis=1)
    parts = _strata(table[~unknown], pairs, within)
    table_of_pairs, tied = _confusion(parts)
    reverse, total = table_of_pairs[0, 1] + table_of_pairs[1, 0], table_of_pairs.sum()
    statistic, _, p = chi_square(table_of_pairs, correction=correction)
    symmetric = (2 * reverse - total) ** 2 / total if total else np.nan
    tested = {name: _permuted(parts, name, permutations, seed) for name in EXCHANGES}
    return xr.Dataset(
        {
            "confusion": (("score", "diff"), table_of_pairs.astype(np.int64)),
            "chi2": statistic,
            "p_chi2": p,
            "chi2_symmetric": symmetric,
            "p_symmetric": chi_square_tail(symmetric, 1),
            "reverse_share": reverse / total if total else np.nan,
            "p_permutation": ("exchange", [tested[name][0] for name in EXCHANGES]),
            "score_of": ("run", table["score"].to_numpy(float)),
            "diff_of": ("run", table["diff"].to_numpy(float)),
        },
        coords={
            "score": ["lower", "higher"],
            "diff": ["lower", "higher"],
            "exchange": labels(EXCHANGES),
            "run": labels(table.index),
            "stratum": ("run", labels(table["stratum"])),
            "method": ("run", labels(table["method"])),
            "seed": ("run", table["seed"].to_numpy(float)),
            "first": ("pair", labels(name for part in parts for name in part.names[part.first])),
            "second": ("pair", labels(name for part in parts for name in part.names[part.second])),
        },
        attrs={
            "pairs": pairs,
            "within": list(within),
            "score": called,
            "strata": len(parts),
            "pairs_used": int(total),
            "pairs_left_out_tied": tied,
            "runs_left_out": [str(name) for name in table.index[unknown]],
            "correction": correction,
            "exact": [name for name in EXCHANGES if tested[name][1]],
            "dependence": "pairs share trainings and are not independent: p_chi2 and p_symmetric are too small",
        },
    )


class _Stratum:
    """The trainings of one benchmark and architecture, sorted by method and seed, and the pairs among them."""

    def __init__(self, part: pd.DataFrame, pairs: str) -> None:
        method, seed = part["method"].to_numpy(), part["seed"].to_numpy(float)
        self.names: NDArray[np.object_] = part.index.to_numpy(dtype=object)
        self.score, self.diff = part["score"].to_numpy(float), part["diff"].to_numpy(float)
        first, second = np.triu_indices(len(part), 1)
        kept = method[first] != method[second]
        if pairs == "seed":
            kept &= seed[first] == seed[second]
        self.first, self.second = first[kept], second[kept]
        self.of_diff = np.sign(self.diff[self.first] - self.diff[self.second])
        self.methods = list(dict.fromkeys(method))
        members = [np.flatnonzero(method == one) for one in self.methods]
        self.even = len({len(member) for member in members}) == 1
        by_seed = [member[np.argsort(seed[member], kind="stable")] for member in members]
        self.members: Indices = np.stack(by_seed) if self.even else np.empty((0, 0), dtype=np.int64)
        """(method, seed) places of the runs, where all methods have equally many."""

    def signs(self, scores: Floats) -> Floats:
        """(exchange, run) -> (exchange, pair): whether the first of the pair has the higher score."""
        return np.asarray(np.sign(scores[:, self.first] - scores[:, self.second]))

    def balance(self, scores: Floats) -> Floats:
        """Pairs that go alike, less those that go reverse: (exchange,)."""
        return np.asarray(self.signs(scores) @ self.of_diff)

    def by_method(self, order: Indices) -> Floats:
        """The scores after methods (exchange, method) took over each other's: (exchange, run)."""
        found = np.empty((len(order), len(self.score)))
        found[:, self.members.ravel()] = self.score[self.members[order]].reshape(len(order), -1)
        return found


def _strata(used: pd.DataFrame, pairs: str, within: Sequence[str]) -> list[_Stratum]:
    """Those that have a pair."""
    if pairs == "mean":
        used = used.groupby(["stratum", "method"], sort=False, as_index=False)[["score", "diff"]].mean()
        used = used.set_index("method", drop=False).assign(seed=np.nan)
    parts = [_Stratum(part, pairs) for _, part in used.groupby("stratum", sort=False)]
    parts = [part for part in parts if len(part.first)]
    if not parts:
        raise NothingRecorded(
            f"there is no pair of runs with different methods within {' and '.join(within) or 'the study'}",
            fix="give runs of several methods, or within=()",
        )
    return parts


def _confusion(parts: list[_Stratum]) -> tuple[Floats, int]:
    """Counts of pairs (score, diff), lower and higher of the first; and how many are ties in either."""
    of_score = np.concatenate([part.signs(part.score[None])[0] for part in parts])
    of_diff = np.concatenate([part.of_diff for part in parts])
    kept = (of_score != 0) & (of_diff != 0)
    counts = [[float((kept & (of_score == a) & (of_diff == b)).sum()) for b in (-1, 1)] for a in (-1, 1)]
    return np.array(counts), int((~kept).sum())


def _permuted(parts: list[_Stratum], exchange: str, most: int, seed: int) -> tuple[float, bool]:
    """p of as uneven a balance of pairs, and whether all exchanges were tried."""
    by_method = exchange != "run in stratum"
    together = exchange == "method in study"
    if by_method and not all(part.even for part in parts):
        return float("nan"), False
    if together and len({frozenset(part.methods) for part in parts}) > 1:
        return float("nan"), False
    sizes = [len(part.methods) if by_method else len(part.score) for part in parts]
    drawn, exact = orders(sizes[:1] if together else sizes, most=most, seed=seed)
    balance, observed = np.zeros(len(drawn[0])), 0.0
    for i, part in enumerate(parts):
        order = drawn[0 if together else i]
        if together:
            order = _renamed(order, parts[0].methods, part.methods)
        balance += part.balance(part.by_method(order) if by_method else part.score[order])
        observed += float(part.balance(part.score[None])[0])
    return permutation_p(abs(observed), np.abs(balance), exact=exact), exact


def _renamed(order: Indices, names: list[str], ours: list[str]) -> Indices:
    """An exchange of methods listed in one order, for a stratum that lists them in another."""
    place = np.array([names.index(name) for name in ours])
    back = np.argsort(place)
    return np.asarray(back[order[:, place]])
