"""Claims about tables of scores: who improves on whom, in which tasks, and who is not beaten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import xarray as xr

from dominance.analyse.study.scores import final_scores
from dominance.papers.cells import percent
from dominance.papers.item import Claim, Judgement
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST, by_seed, gain, points, sure
from dominance.papers.scoreboard import SYMBOLS, Board
from dominance.papers.values import average

Pair = tuple[str, str]
"""A task and a metric."""


def means(board: Board, material: Material) -> dict[str, dict[Pair, float]]:
    """Label -> (task, metric) -> mean over seeds; of a metric for which lower is better, its negative."""

    def find() -> dict[str, dict[Pair, float]]:
        return {label: _signed(runs) for label, runs in board.runs(material).items()}

    return material.once((board.name, "means"), find)


def _signed(runs: Sequence[xr.DataTree]) -> dict[Pair, float]:
    scores = final_scores({str(i): run for i, run in enumerate(runs)})
    mean = scores["value"].mean("run")
    return {
        (str(task), str(metric)): float(one) * (-1.0 if one["direction"].item() == "lower" else 1.0)
        for task in mean["task"].values
        for metric in mean["metric"].values
        if not bool((one := mean.sel(task=task, metric=metric)).isnull())
    }


def averages(board: Board, material: Material, metric: str) -> dict[str, xr.DataArray]:
    """Label -> mean over the tasks that have this metric, dimension ``seed``."""

    def find() -> dict[str, xr.DataArray]:
        scored = {
            label: final_scores({str(i): run for i, run in enumerate(runs)})
            for label, runs in board.runs(material).items()
        }
        return {label: average(scores, metric).reset_coords(drop=True) for label, scores in scored.items()}

    return material.once((board.name, "averages", metric), find)


def better(board: Board, name: str, says: str, labels: tuple[str, ...], sign: float = 1.0) -> Claim:
    """These rows improve on what they are compared with (``sign`` -1: are worse)."""

    def judge(material: Material) -> Judgement:
        found = board.deltas(material)
        said, holds, certain = [], [], []
        for label in labels:
            value, low, high = (sign * float(found[label][part]) for part in ("delta", "low", "high"))
            said.append(f"{label} {percent(found[label])} %")
            holds.append(value > 0)
            certain.append(min(low, high) > 0 and found[label]["seed"].size >= AT_LEAST)
        return Judgement(three(all(certain), all(holds)), "; ".join(said))

    word = "above" if sign > 0 else "below"
    criterion = (
        f"the 95 % interval of {SYMBOLS[board.kind]}, paired by seed, over at least {AT_LEAST} seeds, lies {word} 0 for"
        f" {', '.join(labels)}; partly: the means do"
    )
    return Claim(name, says, criterion, judge)


def improve(board: Board, name: str, says: str, pairs: Mapping[str, str]) -> Claim:
    """Each of these rows has a better Δ than another."""

    def judge(material: Material) -> Judgement:
        found = board.deltas(material)
        said, holds, certain = [], [], []
        for label, other in pairs.items():
            one = gain(*(by_seed(found[each]) for each in (label, other)), sign=board.sign)
            said.append(f"{label} {points(one)} better than {other}")
            holds.append(one.value > 0)
            certain.append(sure(one))
        return Judgement(three(all(certain), sum(holds) >= len(holds) / 2), "; ".join(said))

    parts = "; ".join(f"{label} than {other}" for label, other in pairs.items())
    criterion = (
        f"better {SYMBOLS[board.kind]}: {parts}: the 95 % interval of the difference, paired by seed, over at least"
        f" {AT_LEAST} seeds, lies on the better side of 0 for each; partly: the means do for half of them"
    )
    return Claim(name, says, criterion, judge)  # fmt: skip


def best_in(board: Board, name: str, says: str, count: int = 0, of: int = 0) -> Claim:
    """The paper's method has the best score in so many of so many metrics; in all, however many there are, without.

    Where there are fewer metrics than the paper counts, its count is not tested.
    """

    def judge(material: Material) -> Judgement:
        scores = means(board, material)
        ours = [row.label for row in board.rows if row.control]
        others = [
            label
            for label in scores
            if label != board.hero and (label in board.rivals if board.rivals else label not in ours)
        ]
        pairs = list(scores[board.hero])
        won = [all(scores[board.hero][pair] > scores[label][pair] for label in others) for pair in pairs]
        where = ", ".join(" ".join(pair) for pair, best in zip(pairs, won, strict=True) if best)
        evidence = f"best in {sum(won)} of {len(won)}" + (f": {where}" if where else "")
        if len(won) < of:
            return Judgement("cannot be tested", f"{evidence}; the paper counts {of} metrics")
        return Judgement(three(sum(won) >= (count or len(won)), sum(won) >= len(won) / 2), evidence)

    part = f"{count} of {of} metrics" if count else "every metric of every task"
    return Claim(name, says, f"the best mean over seeds in {part}; partly: in half of them", judge)


def unbeaten(board: Board, name: str, says: str, labels: tuple[str, ...], front: str = "") -> Claim:
    """None of these rows is better than another of them (than ``front``, if it is named) in all metrics."""

    def judge(material: Material) -> Judgement:
        scores = means(board, material)
        beaten = [
            (one, other)
            for one, other in permutations(labels, 2)
            if all(scores[one][pair] > scores[other][pair] for pair in scores[other]) and front in ("", other)
        ]
        said = "; ".join(f"{one} is better than {other} in all metrics" for one, other in beaten) or "none is"
        hero = front or board.hero
        return Judgement(three(not beaten, hero not in (other for _, other in beaten)), said)

    of = f"none of {', '.join(label for label in labels if label != front)} is better than {front or 'another of them'}"
    partly = "" if front else f"; partly: none is better than {board.hero}"
    return Claim(name, says, f"{of} in all metrics of all tasks, means over seeds{partly}", judge)


def shifts(board: Board, name: str, says: str, label: str, other: str, owners: Sequence[str]) -> Claim:
    """A row improves all tasks but the dominating one, which loses little."""

    def judge(material: Material) -> Judgement:
        ours, theirs = (means(board, material)[each] for each in (label, other))
        change = {pair: (ours[pair] - theirs[pair]) / abs(theirs[pair]) for pair in ours}
        owned = [value for (task, _), value in change.items() if task in owners]
        rest = [value for (task, _), value in change.items() if task not in owners]
        said = ", ".join(f"{task} {metric} {100 * value:+.2f} %" for (task, metric), value in change.items())
        parts = min(rest) > 0, min(owned) >= -0.05
        return Judgement(three(all(parts), any(parts)), f"improvement by {said}")

    return Claim(
        name, says, f"{label} is better than {other} in every metric of every task but the dominating one, and at most"
        " 5 % worse in that one's, means over seeds; partly: one of the two", judge,
    )  # fmt: skip


def ordered(board: Board, name: str, says: str, labels: tuple[str, ...], metric: str) -> Claim:
    """The average of a metric over the tasks that have it gets better from row to row."""

    def judge(material: Material) -> Judgement:
        found = averages(board, material, metric)
        each = xr.align(*(found[label] for label in labels), join="inner")
        table = np.stack([values.values for values in each], axis=1)
        rises = (np.diff(table, axis=1) > 0).all(axis=1)
        overall = [float(values.mean()) for values in each]
        said = ", ".join(f"{label} {value:.4f}" for label, value in zip(labels, overall, strict=True))
        return Judgement(
            three(rises.size > 0 and bool(rises.all()), overall == sorted(set(overall))),
            f"{said}; in this order in {int(rises.sum())} of {rises.size} seeds",
        )

    return Claim(
        name, says, f"the average {metric} rises from {' over '.join(labels)} in every seed; partly: by the means",
        judge,
    )  # fmt: skip
