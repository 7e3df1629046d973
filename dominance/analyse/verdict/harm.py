"""Whether the tasks that are dominated, unheard or in conflict are harmed, as far as the runs can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.kernels.certainty import probability_above
from dominance.analyse.study.scores import FINAL, events
from dominance.analyse.study.single import Single
from dominance.analyse.study.tci import tci
from dominance.analyse.verdict.advice import alone
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.rules import FALLS, HARMS, LEAST_LOSSES, LIKELY, STALLS, SURE
from dominance.analyse.verdict.words import listed
from dominance.deltas import Directions
from dominance.errors import NothingRecorded

Floats = NDArray[np.float64]

SPLITS = (FINAL, "test", "val", "train")
"""Whose metrics are compared with single-task runs: the first of these that the run has."""


def against_single(
    run: xr.DataTree, single: Single, *, split: str | None, higher_is_better: Directions | None
) -> list[Finding]:
    """Each task against itself alone, by its first metric with a direction: TCI (MoCoGrad, Definition 2).

    Raises:
        BadOption, NothingRecorded: as ``tci``; or the run has no metric at all.
    """
    split = split or _split(run)
    found = tci(run, single, split=split, higher_is_better=higher_is_better)
    surest, likely = (
        tci(run, single, split=split, higher_is_better=higher_is_better, level=2 * level - 1).low
        for level in (SURE, LIKELY)
    )
    harmed: list[Finding] = []
    well: list[str] = []
    for task in found.task.to_numpy().tolist():
        known = [m for m in found.metric.to_numpy().tolist() if np.isfinite(found.relative.sel(task=task, metric=m))]
        if not known:
            continue
        at = {"task": task, "metric": known[0]}
        relative, repeats = float(found.relative.sel(at)), bool(np.isfinite(found.low.sel(at)))
        probability = float("nan")
        if repeats:
            probability = SURE if surest.sel(at) > 0 else LIKELY if likely.sel(at) > 0 else 0.5
        if relative < HARMS or (repeats and probability < LIKELY):
            well.append(task)
            continue
        higher = found.direction.sel(at).item() == "higher"
        value = float(found.tci.sel(at))
        how = f"its {known[0]} is {abs(value):.3g} {'lower' if higher else 'higher'}, {100 * relative:.0f} %"
        tail = "" if repeats else "; one run on each side, so another seed may say otherwise"
        harmed.append(
            Finding(
                "harm",
                f"{task} is worse off than alone: {how}{tail}.",
                tasks=(task,),
                strength=relative,
                meaning=f"how much worse {known[0]} ({split}) is than in single-task training, relative",
                probability=probability,
                evidence={"metric": known[0], "split": split, "tci": value, "against": "single-task runs"},
                alarm=True,
            )
        )
    if well:
        text = f"{listed(well)} {'is' if len(well) == 1 else 'are'} about as well off as alone, or better"
        strength = max(float(found.relative.sel(task=task).max()) for task in well)
        meaning = "largest relative loss against single-task training; below 0 is a gain"
        harmed.append(Finding("no harm", f"{text}.", tuple(well), strength=strength, meaning=meaning))
    return harmed


def from_losses(run: xr.DataTree, rows: NDArray[np.int64], suspects: Sequence[str]) -> list[Finding]:
    """Weaker evidence: losses of suspected tasks that rise above their start, or stall while others fall.

    A loss is compared between the first tenth of the usable steps and the last fifth; losses that are not positive
    have no such shares and are left out.
    """
    if len(rows) < LEAST_LOSSES:
        return []
    shares, error, count = gone(run["loss/loss"].to_numpy()[rows])
    tasks = run["task"].to_numpy().tolist()
    falling = [task for task, share in zip(tasks, shares, strict=True) if share > FALLS and task not in suspects]
    found = []
    for task in suspects:
        i = tasks.index(task)
        share, apart = float(shares[i]), float(error[i])
        rises = probability_above(-share, apart, 0.0, int(count[i]))
        stalls = 1 - probability_above(share, apart, STALLS, int(count[i]))
        if rises >= LIKELY:
            text, probability = f"The loss of {task} ends {-100 * share:.0f} % above its start", rises
        elif stalls >= LIKELY and falling:
            ends = f"{abs(100 * share):.0f} % {'below' if share > 0 else 'above'} its start"
            text = f"The loss of {task} has not fallen" if share < 0 else f"The loss of {task} has hardly fallen"
            text += f" (it ends {ends}), while {listed(falling)} learned"
            probability = stalls
        else:
            continue
        found.append(
            Finding(
                "harm",
                f"{text}: weaker evidence than a single-task run would be.",
                tasks=(task,),
                strength=share,
                meaning="share of the loss at the start that is gone at the end",
                probability=min(probability, LIKELY),  # it is that of the loss; of harm one is less sure
                evidence={"gone": share, "standard_error": apart, "against": "its start"},
                advice=(f"To know, train each task alone: {alone(run)}",),
                alarm=True,
            )
        )
    return found


def spared(finding: Finding, tasks: Sequence[str], compared: Sequence[Finding]) -> Finding:
    """The finding without advice, where single-task runs say that whom it might harm is as well off as alone."""
    at_risk = [task for task in tasks if task not in finding.tasks] if finding.kind == "dominance" else finding.tasks
    well = {task for each in compared if each.kind == "no harm" for task in each.tasks}
    if finding.kind not in ("dominance", "unheard", "conflict") or not set(at_risk) <= well:
        return finding
    is_well = "is" if len(at_risk) == 1 else "are"
    said = f"Nothing: {listed(list(at_risk))} {is_well} about as well off as alone, or better."
    return replace(finding, advice=(said,), patch="", method_patch="")


def learning(run: xr.DataTree, rows: NDArray[np.int64]) -> set[str]:
    """The tasks whose losses fall."""
    if len(rows) < LEAST_LOSSES:
        return set()
    shares, _, _ = gone(run["loss/loss"].to_numpy()[rows])
    return {str(task) for task, share in zip(run["task"].to_numpy(), shares, strict=True) if share > FALLS}


def gone(loss: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(task,) share of the loss of the first tenth of the steps that is gone in the last fifth, its standard error,
    and how many stretches that comes from; NaN where the loss is not positive.

    Args:
        loss: (step, task), of the usable steps.
    """
    start, start_error, _ = batch_means(loss[: len(loss) // 10])
    end, end_error, count = batch_means(loss[-(len(loss) // 5) :])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(start > 0, 1 - end / start, np.nan)
        return share, np.hypot(start_error * end / start, end_error) / start, count


def unknown(run: xr.DataTree, suspects: Sequence[str]) -> Finding:
    """What cannot be known from this run alone, and what to record."""
    who = listed(list(suspects))
    each = "" if "training" in run.attrs else ", with a --baseline for each run"
    then = f"; then `dominance summary RUN --baseline THAT_RUN`{each}"
    if run.attrs.get("recorded_by") == "dominance record":
        then = ": the last row of its table, and Δ_M, compare them"
    return Finding(
        "harm unknown",
        f"Whether {who} would be better off alone cannot be known from this run.",
        tasks=tuple(suspects),
        advice=(f"Train each task alone: {alone(run)}{then}",),
    )


def _split(run: xr.DataTree) -> str:
    there = set(events(run)["split"])
    for split in SPLITS:
        if split in there:
            return split
    raise NothingRecorded(
        f"{run.attrs.get('path', 'run')}: logged no metric, so there is nothing to compare",
        fix='log the scores: dominance.log(task=..., split="test", name=value)',
    )
