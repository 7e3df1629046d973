"""Which method is better, and does it stay so under other seeds?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.correlation import kendall_w, ranks
from dominance.analyse.runs import Runs
from dominance.analyse.study.about import labels
from dominance.analyse.study.experiments import experiments
from dominance.analyse.study.scores import FINAL, Take, final_scores
from dominance.deltas import Directions, declare
from dominance.errors import BadOption, NothingRecorded

Floats = NDArray[np.float64]
OVERALL = "overall"


def rank_stability(
    study: Runs,
    *,
    within: Sequence[str] = ("benchmark", "architecture"),
    metric: str | None = None,
    split: str = FINAL,
    take: Take = "last",
    higher_is_better: Directions | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """How sure the order of methods is, over seeds: of each metric of each task, and overall.

    A block is a seed in one benchmark and architecture, with a run of every method; in each block the methods are
    ranked, 1 the best, ties share. Overall, they are ranked by the mean of their ranks over all metrics. Blocks that
    lack a method are left out.

    Args:
        study: runs of several methods and seeds.
        within: facts that make a block, besides the seed.
        metric: one metric; default all with a direction.
        split, take, higher_is_better: as in :func:`final_scores`.
        resamples, seed: of the bootstrap over blocks.

    Returns:
        Along ``claim``, "task metric" for each that all runs have, and at last "overall":

        - ``mean_rank``, ``top_share`` (claim, method_name): share of the blocks in which the method is the best, ties
          divided
        - ``beats`` (claim, method_name, method_other): share of the blocks in which the first is better; a tie is half
        - ``probability`` (claim, method_name, method_other): share of the bootstrap's samples of blocks in which the
          first has the better mean (score; overall: rank). With few blocks it is too sure of itself; with one it would
          be 0 or 1, and NaN is given.
        - ``kendall_w`` (claim): 1 where all blocks rank alike, near 0 where they rank at random; NaN for one block
        - ``n`` blocks (claim)

        ``attrs``: ``runs_left_out`` of blocks that lack a method, or without a seed; ``left_out_no_direction``.

    Raises:
        BadOption: fewer than two methods, two runs of one method and seed, or no direction is known.
        NothingRecorded: no block has all methods, or there are no scores.

    >>> from dominance import rank_stability
    >>> other = {"a": joint["joint-0"], "b": alone}  # errors 0.5 and 0.5
    >>> found = rank_stability(other)
    >>> found.mean_rank.sel(claim="a error").values, found.n.sel(claim="a error").item()
    (array([1.5, 1.5]), 1)
    """
    runs, table = experiments(study, within)
    methods = list(dict.fromkeys(table["method"]))
    if len(methods) < 2:
        raise BadOption(f"all runs are of the method {methods[0]}", fix="give runs of several methods")
    twice = table.duplicated(["stratum", "method", "seed"], keep=False) & table["seed"].notna()
    if twice.any():
        one, other = table.index[twice][:2]
        raise BadOption(f"{one} and {other} are of one method and seed", fix="give each training once")
    scores = final_scores(runs, split=split, take=take, higher_is_better=higher_is_better)
    blocks, left_out = _blocks(table, methods)
    found, unknown = _ranked(scores, blocks, metric)
    found[OVERALL] = -np.mean([ranks(-values) for values in found.values()], axis=0)
    n, k = len(blocks), len(methods)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    parts = [_claim(values, drawn) for values in found.values()]
    pair = ("claim", "method_name", "method_other")
    return xr.Dataset(
        {
            "mean_rank": (pair[:2], np.array([ranks(-values).mean(axis=0) for values in found.values()])),
            "top_share": (pair[:2], np.array([_top(values) for values in found.values()])),
            "beats": (pair, np.array([beats for beats, _ in parts]).reshape(len(found), k, k)),
            "probability": (pair, np.array([probability for _, probability in parts]).reshape(len(found), k, k)),
            "kendall_w": ("claim", [kendall_w(values) if n > 1 else np.nan for values in found.values()]),
            "n": ("claim", np.full(len(found), n)),
        },
        coords={"claim": labels(found), "method_name": labels(methods), "method_other": labels(methods)},
        attrs={
            "within": list(within),
            "split": split,
            "take": take,
            "runs_left_out": left_out,
            "left_out_no_direction": unknown,
            "resamples": resamples,
        },
    )


def _blocks(table: pd.DataFrame, methods: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Places of the runs (block, method) that have a seed and every method beside them; names of the others."""
    place = table.assign(place=np.arange(len(table))).dropna(subset=["seed"])
    wide = place.pivot(index=["stratum", "seed"], columns="method", values="place").reindex(columns=methods).dropna()
    if not len(wide):
        raise NothingRecorded(
            f"no seed has a run of each of the methods {', '.join(methods)}",
            fix="train all methods with the same --seed",
        )
    blocks = wide.to_numpy(np.int64)
    return blocks, [str(name) for i, name in enumerate(table.index) if i not in set(blocks.ravel().tolist())]


def _ranked(scores: xr.Dataset, blocks: NDArray[np.int64], metric: str | None) -> tuple[dict[str, Floats], list[str]]:
    """Scores (block, method), higher is better, of each metric that all runs have; and metrics without a direction."""
    found: dict[str, Floats] = {}
    unknown: set[str] = set()
    for task in map(str, scores["task"].values):
        for name in map(str, scores["metric"].values):
            values = scores["value"].sel(task=task, metric=name).to_numpy()[blocks]
            if np.isnan(values).any() or (metric is not None and name != metric):
                continue
            way = str(scores["direction"].sel(task=task, metric=name).item())
            if way:
                found[f"{task} {name}"] = values if way == "higher" else -values
            else:
                unknown.add(name)
    if not found and unknown:
        raise BadOption(
            f"the runs do not say which direction of {', '.join(sorted(unknown))} is better", fix=declare(min(unknown))
        )
    if not found:
        raise NothingRecorded(
            f"there is no {metric or 'metric'} that all runs have", fix="give runs of the same tasks, or metric=..."
        )
    return found, sorted(unknown)


def _claim(values: Floats, drawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """How often each method beats each other: over blocks, and in the means of blocks that are drawn again."""
    beats = _better(values).mean(axis=0)
    if len(values) < 2:
        return beats, np.full(beats.shape, np.nan)
    return beats, _better(values[drawn].mean(axis=1)).mean(axis=0)


def _better(values: Floats) -> Floats:
    """(..., method, method_other): 1 where the first has more, a half for a tie, NaN on the diagonal."""
    first, second = values[..., :, None], values[..., None, :]
    found = (first > second) + 0.5 * (first == second)
    found[..., np.eye(values.shape[-1], dtype=bool)] = np.nan
    return np.asarray(found)


def _top(values: Floats) -> Floats:
    """Share of the blocks in which each method is the best, ties divided among them."""
    best = values == values.max(axis=1, keepdims=True)
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))
