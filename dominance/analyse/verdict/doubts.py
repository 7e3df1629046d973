"""Why what is said of a run cannot be trusted: findings of their own, told before all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.books import RunBooks, Share, books
from dominance.analyse.prepared import prepare
from dominance.analyse.summary import percent
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.rules import ALIKE, APART, SOME
from dominance.analyse.verdict.words import listed, times
from dominance.schema import STATE_DOMINATED

Floats = NDArray[np.float64]

CLAUSES = {
    "unexplained": "part of the gradient is nobody's",
    "not closed": "the parts of the updates do not add up to what the parameters did",
    "not finite": "a task's gradient is not finite",
    "unattributed": "much of the updates is momentum of gradients that nobody saw",
    "outside": "much of what the parameters do is outside the optimizer's steps",
    "state": "the updates do not follow the tasks' gradients",
    "unrecorded": "steps are missing that may be unlike the others",
}
"""Kinds of findings that take the trust from others, and why, as a clause."""

DOUBTED = ("dominance", "unheard", "conflict", "leaning", "balanced")
"""Kinds of findings that gradients and updates are the ground of; harm is told by losses and metrics."""

_OF_GRADIENTS = ("unexplained", "not finite", "unrecorded")
"""What takes the trust from a finding about gradients alone."""


def doubts(run: xr.DataTree, kept: RunBooks, rows: NDArray[np.int64]) -> list[Finding]:
    """What does not add up in a run, too often or too much to be passed over; empty for a run that is understood.

    Args:
        rows: the usable recorded steps.
    """
    found = [_part(kept, "unexplained"), _not_closed(kept), _not_finite(kept)]
    found += [_part(kept, "unattributed"), _part(kept, "outside"), _state(run, rows), _unrecorded(kept)]
    return [finding for finding in found if finding is not None]


def diverged(run: xr.DataTree, kept: RunBooks) -> list[Finding]:
    """That the training ended in numbers that are not finite, and since when."""
    if kept.diverged is None:
        return []
    numbers = run["step"].to_numpy()
    after = int((numbers >= kept.diverged).sum())
    text = (
        f"Diverged at step {kept.diverged:,}: from then on gradients, updates or weights are not finite ({after:,} of"
    )
    text += f" {len(numbers):,} recorded steps)"
    loss = run["loss/loss"].to_numpy()[int((numbers >= kept.diverged).argmax())]
    first = [str(task) for task, value in zip(run["task"].to_numpy(), loss, strict=True) if np.isinf(value)]
    text += f"; the loss of {listed(first)} was infinite there" if first else ""
    advice = "Lower the learning rate, or clip the gradients; `torch.autograd.set_detect_anomaly(True)` names the line."
    about = "first training step from which on nothing is finite"
    return [
        Finding(
            "diverged",
            f"{text}.",
            tasks=tuple(first),
            since=kept.diverged,
            strength=float(kept.diverged),
            meaning=about,
            advice=(advice,),
            alarm=True,
        )
    ]


def accounts(run: xr.DataTree) -> list[str]:
    """All that a run's books have to say, a sentence or two each, whether or not anything else can be said of it."""
    prepared = prepare(run)
    kept, rows = books(prepared), prepared.usable(prepared.attribution).rows()
    return remarks(kept) + [finding.text for finding in (*diverged(run, kept), *doubts(run, kept, rows))]


def distrust(kept: RunBooks | None, found: Iterable[Finding], *, of_gradients: bool = False) -> tuple[str, ...]:
    """Why the numbers of a run cannot be trusted, a clause each; empty where they can.

    Args:
        kept: the run's books, where they were read.
        found: its ``doubts``, or all findings of its verdict.
        of_gradients: it is about numbers that are made of gradients alone.
    """
    kinds = _OF_GRADIENTS if of_gradients else CLAUSES
    said = [CLAUSES[finding.kind] for finding in found if finding.kind in kinds]
    if kept is not None and kept.diverged is not None:
        said.insert(0, f"it diverged at step {kept.diverged:,}")
    if kept is not None and kept.failure:
        said.insert(0, "the recording ended before the training did")
    return tuple(said)


def distrusted(run: xr.DataTree) -> tuple[str, ...]:
    """Why the numbers of a run cannot be trusted, for those who make no verdict of it: see ``distrust``."""
    prepared = prepare(run)
    kept = books(prepared)
    return distrust(kept, doubts(run, kept, prepared.usable(prepared.attribution).rows()))


def taken_back(finding: Finding, because: Sequence[Finding]) -> Finding:
    """The finding as it stands beside these doubts: no probability, no advice, no alarm, and the reason for that."""
    ours = [doubt.kind for doubt in because]
    if finding.kind in ("conflict", "leaning"):
        ours = [kind for kind in ours if kind in _OF_GRADIENTS]
    if finding.kind not in DOUBTED or not ours:
        return finding
    clauses = "; ".join(CLAUSES[kind] for kind in ours)
    return replace(finding, doubt=clauses, probability=float("nan"), advice=(), patch="", method_patch="", alarm=False)


def remarks(kept: RunBooks) -> list[str]:
    """What a reader should know about a run's books beside ``doubts``: a sentence each; empty for one understood."""
    said = []
    if kept.failure:
        of = "" if kept.taken is None else f", with {kept.recorded:,} of {kept.taken:,} steps"
        said.append(f"The recording ended before the training did{of}: {kept.failure.rstrip('.')}.")
    if kept.missing and not _often(kept):
        said.append(_missing(kept))
    said += kept.remarks
    for name, share in (*kept.shares.items(), ("closure", kept.closure)):
        if share is not None and share.over and not share.grave and name in _SLIGHT:
            steps = f"step {share.at:,}" if share.over == 1 else f"{share.over} of {share.of:,} steps"
            said.append(f"At {steps} {_SLIGHT[name].format(_how_much(share))}: too seldom to matter.")
    return said


_SLIGHT = {
    "unexplained": "{0} of the gradient's length is no task's",
    "outside": "{0} of what the parameters did is outside the optimizer's step",
    "closure": "the parts of the updates are off by {0} of a parameter's largest movement",
}


def _part(kept: RunBooks, name: str) -> Finding | None:
    """A part of the gradient, the updates or the movement that is no task's, and too large for that."""
    share = kept.shares.get(name)
    if share is None or not share.grave:
        return None
    what, text, advice = _PARTS[name]
    return Finding(
        name,
        f"{_when(share)} {_how_much(share)} of the {what} of {_where(share)}, by length, {text}",
        where=share.layers,
        since=share.first,
        strength=share.typical,
        meaning=f"median share, where it is too much, of the {what}, by length",
        evidence=_evidence(share),
        advice=advice,
    )


_PARTS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "unexplained": (
        "gradient",
        "is nobody's: no task's, and no regulariser's that has a name. A loss may be missing, or counted twice.",
        (
            "Compare the tasks and weights that `dominance info RUN` lists with the script, and name the losses"
            ' yourself: `dominance.observe({"name": loss, ...})` before `backward()`.',
        ),
    ),
    "unattributed": (
        "updates",
        "is momentum of gradients that nobody saw.",
        ("Record every step (`--every 1`), or longer bursts (`--burst`).",),
    ),
    "outside": (
        "movement",
        "happens outside the optimizer's step, and is no task's: a pull towards slow weights, a clamp, weights swapped"
        " or loaded.",
        (),
    ),
}
"""Part -> what it is a part of, what of it is said, and what can be done."""


def _not_closed(kept: RunBooks) -> Finding | None:
    share = kept.closure
    if share is None or not share.grave:
        return None
    return Finding(
        "not closed",
        f"{_when(share)} the parts of the updates do not add up to what the parameters did: they are off by"
        f" {_how_much(share)} of a parameter's largest movement.",
        since=share.first,
        strength=share.typical,
        meaning="median error, where it is too much, over the largest movement of the parameter",
        evidence=_evidence(share),
        advice=(
            "Something else moves the parameters while the optimizer steps, or it steps otherwise than it is taken to:"
            " record with `--attribution solo`, and judge by the gradients.",
        ),
    )


def _not_finite(kept: RunBooks) -> Finding | None:
    if not kept.not_finite or not kept.recorded:
        return None
    worst = max(kept.not_finite.values())
    if worst <= SOME * kept.recorded:
        return None
    said = listed([f"{task} at {count:,}" for task, count in kept.not_finite.items()])
    return Finding(
        "not finite",
        f"The gradient of {said} of {kept.recorded:,} recorded steps is not finite, though what the optimizer was fed"
        " is.",
        tasks=tuple(kept.not_finite),
        strength=worst / kept.recorded,
        meaning="share of the recorded steps",
        evidence=dict(kept.not_finite),
        advice=("Look for a root, a logarithm or a division at 0 in that loss, which a mask hides in the sum.",),
    )


def _state(run: xr.DataTree, rows: NDArray[np.int64]) -> Finding | None:
    """Solo updates that are alike for all tasks, whatever the tasks' gradients."""
    if run.attrs.get("attribution") != "solo" or not len(rows):
        return None
    shared = np.flatnonzero(run["layer/shared"].to_numpy())
    gradient, update = (
        _norms(run[f"layer/{name}"].isel(step=rows, layer=shared).to_numpy()) for name in ("gradient_sq", "solo_sq")
    )
    told = [str(each.get("class")) for each in run.attrs.get("optimizers", ()) if each.get(STATE_DOMINATED)]
    seen = gradient.max() >= APART * gradient.min() and update.max() <= ALIKE * update.min()
    if not (seen or told):
        return None
    tasks = [str(task) for task in run["task"].to_numpy()]
    loud, soft = int(gradient.argmax()), int(gradient.argmin())
    squares = gradient[loud] ** 2 / (gradient**2).sum()
    who = (
        f"{listed(told)}'s state decides"
        if told
        else "the optimizer's state, or a norm that it gives all steps, decides"
    )
    text = f"What moves the parameters cannot be told from solo updates: {who} them. "
    if gradient[soft] > 0 and update[soft] > 0:
        text += f"{tasks[loud]}'s gradient is {times(gradient[loud] / gradient[soft])} as long as {tasks[soft]}'s, its"
        text += f" update {times(update[loud] / update[soft])}. "
    text += f"By gradients, {tasks[loud]} holds {percent(float(squares))} of the squares."
    return Finding(
        "state",
        text,
        tasks=(tasks[loud],),
        strength=float(squares),
        meaning="share of the squared gradients of the task with the largest",
        evidence={f"gradient norm of {task}": float(value) for task, value in zip(tasks, gradient, strict=True)},
        advice=("Judge by the norms of the gradients, in the column grad.",),
    )


def _unrecorded(kept: RunBooks) -> Finding | None:
    if not _often(kept):
        return None
    wanted = kept.missing + kept.recorded - kept.not_understood
    return Finding(
        "unrecorded",
        _missing(kept),
        since=min(first for _, _, first in kept.unrecorded),
        strength=kept.missing / wanted,
        meaning="share of the steps that should have been recorded",
        evidence={reason: steps for reason, steps, _ in kept.unrecorded},
    )


def _often(kept: RunBooks) -> bool:
    return kept.missing > SOME * (kept.missing + kept.recorded - kept.not_understood)


def _missing(kept: RunBooks) -> str:
    wanted = kept.missing + kept.recorded - kept.not_understood
    said = "; ".join(f"{steps:,} since step {first:,}: {reason}" for reason, steps, first in kept.unrecorded)
    return f"Not recorded, or not understood: {kept.missing:,} of {wanted:,} steps that should have been ({said})."


def _where(share: Share) -> str:
    return listed(share.layers) if share.layers else "the shared parameters"


def _when(share: Share) -> str:
    if share.over == share.of:
        return f"At each of {share.of:,} steps"
    return f"At {share.over:,} of {share.of:,} steps, since step {share.first:,},"


def _how_much(share: Share) -> str:
    """What is common where it is over the bound, and the most."""
    usual, most = _share(share.typical), _share(share.largest)
    return usual if usual == most else f"{usual} (at step {share.at:,} {most})"


def _share(value: float) -> str:
    """A share, which may be over 1.

    >>> _share(0.31), _share(14.2), _share(float("inf"))
    ('31 %', '14 times', 'over 1,000 times')
    """
    return percent(value) if value <= 1 else times(value)


def _norms(squares: Floats) -> Floats:
    """(task,) median over the steps of the norm over the layers."""
    return np.asarray(np.median(np.sqrt(np.nan_to_num(squares).sum(axis=1)), axis=0))


def _evidence(share: Share) -> dict[str, float]:
    return {"median": share.median, "largest": share.largest, "at": share.at, "over": share.over, "of": share.of}
