"""Why a group of examples is louder or quieter than others: how many it has, and how hard they pull, one for one.

With a share p of the batch of B examples, a gradient ∇L of the group's loss and a variance σ² of one example's gradient
around it, the squared update that a group contributes is, with the part a of the noise that momentum lets through,

    A(p, |∇L|², σ²) = p² |∇L|² + a p σ² / B

and what makes it smaller than another's comes apart into the number of examples, the length of the gradient and noise:

    A(p', G', v')     A(p', G, v)     A(p', G', v)     A(p', G', v')
    -------------  =  -----------  ·  ------------  ·  -------------
    A(p, G, v)        A(p, G, v)      A(p', G, v)      A(p', G', v)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.gradient_windows import GradientWindows, span_of
from dominance.analyse.group_shares import GroupCounts, group_counts
from dominance.analyse.kernels.certainty import jackknife_error, probability_above
from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.mixture import measured
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.harm import gone
from dominance.analyse.verdict.loudness import momentum_lets_through
from dominance.analyse.verdict.rules import CAUSE, FALLS, LEARNED, LEAST_WINDOWS, SETTLED, STALLED, UNHEARD, VARIES
from dominance.errors import NothingRecorded

Floats = NDArray[np.float64]


class GroupFacts:
    """What the groups of a run are like.

    Attributes:
        names: of the groups that can be told from their noise; a loss beside them is none.
        unit: "examples" or "tokens".
        share: group -> its share of the examples.
    """

    def __init__(self, run: PreparedRun, rows: NDArray[np.int64], counts: GroupCounts) -> None:
        seen = counts.values[rows]
        often = np.nan_to_num(seen > 0).mean(axis=0)[np.isfinite(seen).any(axis=0)]
        window = int(np.clip(math.ceil(4 / max(float(often.min()), 1e-3)), 10, 100))  # four gradients of the rarest
        looked = GradientWindows(run, window, span_of(window, None))
        _, members, found = measured(run, counts, looked)
        first = looked.coords()["first_step"][1]
        settled = first >= run.numbers[rows[int(SETTLED * len(rows))]]
        self._found = (found.within(settled) if settled.sum() >= LEAST_WINDOWS else found).overall()
        self.names = [str(run.tasks[i]) for i in members]
        self.unit = counts.unit
        whole = np.nansum(seen, axis=0)
        self.share = dict(zip(map(str, run.tasks), (whole / whole.sum()).tolist(), strict=True))
        self._through = momentum_lets_through(run.tree)
        seen = counts.values[rows][:, members]
        with np.errstate(invalid="ignore", divide="ignore"):
            each = (
                run["loss/loss"].to_numpy()[rows][:, members] * np.nansum(counts.values[rows], axis=1)[:, None] / seen
            )
        each[~(seen > 0)] = np.nan
        self._loss = known_mean(each[len(each) // 2 :])
        self._gone = gone(each)

    def rare(self, name: str) -> bool:
        """Whether it has less than a fourth of the examples that the others have on average."""
        others = [share for other, share in self.share.items() if other != name and math.isfinite(share)]
        return bool(self.share[name] < UNHEARD * sum(others) / max(len(self.names) - 1, 1))

    def causes(self, name: str, *, quiet: bool) -> list[Cause]:
        """What makes a group louder than the others, or quieter, the largest factor first."""
        i = self.names.index(name)
        others = np.arange(len(self.names)) != i
        found = self._found
        with np.errstate(invalid="ignore"):
            share = found.present / found.present.sum(axis=1, keepdims=True)
        weight = share[:, others] / share[:, others].sum(axis=1, keepdims=True)
        squared = np.maximum(found.squared, 0)
        mine = share[:, i], squared[:, i], found.variance[:, i]
        theirs = (
            share[:, others].mean(axis=1),
            (weight * squared[:, others]).sum(axis=1),
            (weight * found.variance[:, others]).sum(axis=1),
        )

        def part(p: Floats, g: Floats, v: Floats) -> Floats:
            return np.asarray(p**2 * g + self._through * p * v / found.batch)

        with np.errstate(invalid="ignore", divide="ignore"):
            many = np.log(part(theirs[0], *mine[1:]) / part(*mine))
            pull = np.log(part(*theirs) / part(theirs[0], *mine[1:]))
        sign = 1 if quiet else -1
        count = float(share[0, i]), float(theirs[0][0])
        numbers = [
            _cause("examples", sign * many, {"share": count[0], "others": count[1]}),
            _cause(self._kind(i, theirs, quiet=quiet), sign * pull, _pull(sign * pull[0])),
        ]
        return sorted(numbers, key=lambda cause: -cause.factor)

    def _kind(self, i: int, theirs: tuple[Floats, Floats, Floats], *, quiet: bool) -> str:
        """The name of what makes examples pull less than others', one for one: "noise", "learned" or "scale"."""
        found = self._found
        if not quiet:
            noise = self._through * theirs[0][0] * found.variance[0, i] / found.batch[0]
            return "noise" if noise > theirs[0][0] ** 2 * max(found.squared[0, i], 0) else "scale"
        if self._loss[i] < LEARNED * np.nanmean(np.delete(self._loss, i)):
            return "learned"
        agrees = max(found.squared[0, i], 0) / found.variance[0, i] < theirs[1][0] / theirs[2][0] / CAUSE
        return "noise" if found.variance[0, i] >= VARIES * theirs[2][0] and agrees else "scale"

    def noisy(self, name: str) -> tuple[float, float, float]:
        """What share of a group's loss, one for one, is gone at the end, of the others' on average, and the probability
        that it is ``STALLED`` of that at most. NaN where losses are not known or not positive."""
        i = self.names.index(name)
        gone, error, count = self._gone
        others = np.arange(len(self.names)) != i
        theirs = float(gone[others].mean())
        both = math.hypot(float(error[i]), STALLED * float(np.sqrt((error[others] ** 2).sum())) / others.sum())
        less = 1 - probability_above(float(gone[i]), both, STALLED * theirs, int(count[i]))
        return float(gone[i]), theirs, less if theirs > FALLS else 0.0


def groups(run: PreparedRun, rows: NDArray[np.int64]) -> GroupFacts | None:
    """Of the usable steps; None where tasks are no groups, or fewer than two of them can be told."""
    counts = group_counts(run)
    if counts is None:
        return None
    try:
        found = GroupFacts(run, rows, counts)
    except NothingRecorded:
        return None
    return found if len(found.names) > 1 else None


def of_groups(run: xr.DataTree) -> set[str]:
    """The tasks that are groups of examples."""
    counts = group_counts(run)
    if counts is None:
        return set()
    return {str(name) for name, column in zip(run["task"].to_numpy(), counts.values.T, strict=True)
            if np.isfinite(column).any()}  # fmt: skip


def _pull(factor: float) -> dict[str, float]:
    """How many times as hard the louder ones' examples pull as the quieter one's, from the logarithm of the squares."""
    return {"gradient_ratio": math.exp(factor / 2) if math.isfinite(factor) else math.inf, "weight_ratio": 1.0}


def _cause(name: str, values: Floats, evidence: dict[str, float]) -> Cause:
    """From a logarithm and what it is without each window in turn."""
    if not math.isfinite(values[0]):
        return Cause(name, math.inf if values[0] > 0 else 1.0, math.nan, evidence)
    error = jackknife_error(values[1:])
    probability = probability_above(float(values[0]), error, math.log(CAUSE), len(values) - 1)
    return Cause(name, math.exp(values[0]), probability, evidence)


def words(causes: Sequence[Cause], name: str, unit: str, *, quiet: bool) -> list[str]:
    """These causes in words, one for each."""
    return [_words(cause, name, unit, quiet=quiet) for cause in causes]


def _words(cause: Cause, name: str, unit: str, *, quiet: bool) -> str:
    from dominance.analyse.summary import percent
    from dominance.analyse.verdict.words import times

    numbers = cause.evidence
    if cause.name == "examples":
        has = f"examples: {name} has {percent(numbers['share'])} of the {unit}, another {percent(numbers['others'])}"
        much = f"{times(cause.factor)} as {'large' if quiet else 'small'}"
        return f"{has}: with as many, its squared updates would be {much}"
    pull = times(cause.factor**0.5)
    if cause.name == "noise" and quiet:
        much = f"noise: its {unit}' gradients vary as much as the others', and have less in common"
        return f"{much}: there is little to learn"
    if cause.name == "noise":
        return (
            f"noise: one for one, its {unit} pull {pull} as hard as the others', and most of that is noise of the batch"
        )
    if cause.name == "learned":
        return f"learned: one for one, its {unit} have less than half of the others' loss left, and pull no more"
    who = (
        f"the others' {unit} pull {pull} as hard as its own"
        if quiet
        else f"its {unit} pull {pull} as hard as the others'"
    )
    return f"scale: one for one, {who}"
