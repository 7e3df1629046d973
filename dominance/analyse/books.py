"""A run's books: what was recorded of what was taken, and how far the parts add up to the training itself.

The recorder splits what an optimizer was fed, and what the parameters then did, into parts. Some are the tasks'; how
large the others are, and what remains unsplit, decides whether anything that is said of the tasks can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.steps import blocks, totals_finite
from dominance.analyse.verdict.rules import CLOSES, MINOR, NOBODYS, SOME, UNSEEN
from dominance.schema import NOT_UNDERSTOOD, REMARKS, SKIPPED, UNRECORDED

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PARTS = ("residual", "unexplained", "outside", "unattributed")
"""Parts that are no task's: of the gradients the first two, of the updates the others."""

_BOUNDS = {"residual": (NOBODYS, SOME), "unexplained": (NOBODYS, SOME), "outside": (NOBODYS, SOME)}
_BOUNDS["unattributed"] = UNSEEN


@dataclass(frozen=True)
class Share:
    """How large a number is over the steps that it was measured at.

    Of a part it is ‖part‖ / √(Σ ‖parts‖²) over the shared layers (all, where none is shared): lengths of the parts,
    not of their sum, in which they may cancel. Of ``closure`` it is the difference between the sum of the parts and
    what a parameter did, over the parameter's largest movement.

    Attributes:
        median, largest: over the steps.
        typical: the median over the steps at which it is over the bound; 0 for none.
        at: the training step with the largest; -1 for none.
        over, of: number of steps at which it is over the bound, in all shared layers together or in one, of all steps.
        first: the first of these training steps; -1 for none.
        layers: those in which it is over the bound more than now and then; empty for all, or none in particular.
        grave: it is over the bound too often to be passed over.
    """

    median: float
    largest: float
    typical: float
    at: int
    over: int
    of: int
    first: int
    layers: tuple[str, ...] = ()
    grave: bool = False


@dataclass(frozen=True)
class RunBooks:
    """What :func:`books` returns.

    Attributes:
        taken: steps that the training took; None where that was not recorded.
        recorded, skipped, not_understood: rows of the run, and how many of them the optimizer skipped, or the recorder
            could not understand.
        unrecorded: reason, number of steps, and the first of them, of what the schedule wanted and is not there.
        remarks: sentences of the recorder about this run.
        failure: what ended the recording before the training ended; "" for nothing.
        diverged: the first training step from which on gradients or updates are not finite; None where they are.
        closure: of the steps whose updates were split; None where none was.
        shares: of ``PARTS``; without those that the run does not hold.
        not_finite: at how many steps a task's gradient is not finite though what the optimizer was fed is; by task.
    """

    taken: int | None
    recorded: int
    skipped: int
    not_understood: int
    unrecorded: tuple[tuple[str, int, int], ...]
    remarks: tuple[str, ...]
    failure: str
    diverged: int | None
    closure: Share | None
    shares: Mapping[str, Share]
    not_finite: Mapping[str, int]

    @property
    def missing(self) -> int:
        """Steps that the schedule wanted and that are not in the run, or are not understood."""
        return sum(steps for _, steps, _ in self.unrecorded)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON knows them, but for NaN."""
        found = asdict(self)
        names = ("reason", "steps", "first")
        found["unrecorded"] = [dict(zip(names, entry, strict=True)) for entry in self.unrecorded]
        return found


def books(run: xr.DataTree | PreparedRun) -> RunBooks:
    """Read a run's books, from the exact statistics of its layers; steps that count nowhere else do not count here.

    Raises:
        BadOption: several runs.

    >>> from dominance.analyse.books import books
    >>> found = books(run)
    >>> found.recorded, found.closure.largest, found.shares["unexplained"].largest, found.diverged
    (2, 0.0, 0.0, None)
    """
    run = prepare(run)
    attrs, numbers, skipped = run.attrs, run.numbers, run.skipped
    counted = ~run.superseded & (skipped <= 0)
    finite = totals_finite(run.tree)
    kept = np.flatnonzero(counted & finite)
    lengths = _Lengths(run, kept)
    missing = [(str(each["reason"]), int(each["steps"]), int(each["first"])) for each in attrs.get(UNRECORDED, ())]
    taken = attrs.get("steps_taken")
    return RunBooks(
        taken=None if taken is None else int(taken),
        recorded=len(numbers),
        skipped=int((skipped == SKIPPED).sum()),
        not_understood=int((skipped == NOT_UNDERSTOOD).sum()),
        unrecorded=tuple(missing),
        remarks=tuple(str(each) for each in attrs.get(REMARKS, ())),
        failure=str(attrs.get("failure") or ""),
        diverged=_diverged(numbers, counted, finite),
        closure=_closure(numbers[kept], run["closure"].to_numpy()[kept]),
        shares=lengths.shares(numbers[kept]),
        not_finite={str(task): int(n) for task, n in zip(run.tasks, lengths.bad, strict=True) if n},
    )


class _Lengths:
    """Squared lengths of the parts, (step, layer), of the shared layers; of all, where none is shared.

    Attributes:
        of: by part, and under "gradient" and "update" of all parts together.
        known: (step,) the tasks' gradients are finite, and their updates where there are any.
        bad: (task,) number of steps at which the task's gradient is not finite.
    """

    def __init__(self, run: PreparedRun, kept: NDArray[np.int64]) -> None:
        table = run["layer"].to_dataset()
        shared = np.flatnonzero(table["shared"].to_numpy())
        table = table.isel(layer=shared if len(shared) else slice(None), step=kept)
        solo = run.attribution == "solo"
        absent = run.absent[kept]
        self.names = [str(name) for name in table["layer"].to_numpy()]
        self.sizes = table["size"].to_numpy()
        self.bad = np.zeros(absent.shape[1], dtype=np.int64)
        self.known = np.ones(len(kept), dtype=bool)
        read: dict[str, list[Floats]] = {}
        for rows in blocks(len(kept)):
            part = table.isel(step=rows)
            gradients, updates = part["gradient_sq"].to_numpy(), part["solo_sq" if solo else "update_sq"].to_numpy()
            lost = ~np.isfinite(gradients).all(axis=1) & ~absent[rows]
            self.bad += lost.sum(axis=0)
            self.known[rows] = ~(lost | (~np.isfinite(updates).all(axis=1) & ~absent[rows])).any(axis=1)
            for name, value in _squares(part, gradients, None if solo else updates).items():
                read.setdefault(name, []).append(value)
        self.of = {name: np.concatenate(pieces) for name, pieces in read.items()}
        if "unexplained" not in self.of and "residual" in self.of and not run.attrs.get("residual_terms"):
            self.of["unexplained"] = self.of["residual"]  # schema 1: none of it has a name

    def shares(self, numbers: NDArray[np.int64]) -> dict[str, Share]:
        """Of each part, by name, over the steps at which the tasks' own parts are known."""
        found = {}
        for name in PARTS:
            if name not in self.of:
                continue
            part = self.of[name][self.known]
            whole = self.of["gradient" if name in ("residual", "unexplained") else "update"][self.known]
            steps, (bound, often) = numbers[self.known], _BOUNDS[name]
            if name == "unattributed":  # where it is more than this, the step is left out of everything
                used = _length(part.sum(axis=1), whole.sum(axis=1)) <= bound
                part, whole, steps = part[used], whole[used], steps[used]
            if len(steps):
                found[name] = self._share(steps, part, whole, bound, often)
        return found

    def _share(self, steps: NDArray[np.int64], part: Floats, whole: Floats, bound: float, often: float) -> Share:
        by_layer, trunk = _length(part, whole), _length(part.sum(axis=1), whole.sum(axis=1))
        where = (by_layer > bound).mean(axis=0) > often
        if self.sizes[where].sum() < MINOR * self.sizes.sum():
            where[:] = False
        over = (trunk > bound) | (by_layer[:, where] > bound).any(axis=1)
        layers = [name for name, is_one in zip(self.names, where, strict=True) if is_one and not where.all()]
        if layers and not (trunk > bound).mean() > often:
            # The trunk as a whole is fine: the layers that are not say how much it is.
            trunk = _length(part[:, where].sum(axis=1), whole[:, where].sum(axis=1))
        return _over(steps, trunk, over, layers, often)


def _squares(part: xr.Dataset, gradients: Floats, updates: Floats | None) -> dict[str, Floats]:
    """(step, layer) of each part; ``updates`` of the tasks, or None where they were not split."""

    def squares(name: str) -> Floats:
        return np.asarray(np.nan_to_num(part[name].to_numpy(), posinf=0.0))

    found = {"residual": squares("residual_gradient_sq"), "unattributed": squares("unattributed_sq")}
    found["gradient"] = np.nan_to_num(gradients, posinf=0.0).sum(axis=2) + found["residual"]
    if "unexplained_gradient_sq" in part:
        found["unexplained"] = squares("unexplained_gradient_sq")
    if "outside_sq" in part:
        found["outside"] = squares("outside_sq")
    if updates is None:  # the whole step, for want of its parts
        found["update"] = squares("total_update_sq")
    else:
        found["update"] = np.nan_to_num(updates, posinf=0.0).sum(axis=2) + squares("residual_sq")
        found["update"] += found["unattributed"] + squares("decay_sq")
    found["update"] = found["update"] + found.get("outside", 0.0)
    return found


def _length(part: Floats, whole: Floats) -> Floats:
    found = np.zeros_like(part)
    np.divide(part, whole, out=found, where=part > 0)
    return np.asarray(np.sqrt(found))


def _closure(numbers: NDArray[np.int64], closure: Floats) -> Share | None:
    known = np.flatnonzero(~np.isnan(closure))
    if not len(known):
        return None
    return _over(numbers[known], closure[known], closure[known] > CLOSES, (), SOME)


def _over(numbers: NDArray[np.int64], value: Floats, over: Flags, layers: Sequence[str], often: float) -> Share:
    first = int(numbers[over.argmax()]) if over.any() else -1
    largest = int(value.argmax())
    return Share(
        median=float(np.median(value)),
        largest=float(value[largest]),
        typical=float(np.median(value[over])) if over.any() else 0.0,
        at=int(numbers[largest]),
        over=int(over.sum()),
        of=len(value),
        first=first,
        layers=tuple(layers),
        grave=bool(over.mean() > often),
    )


def _diverged(numbers: NDArray[np.int64], counted: Flags, finite: Flags) -> int | None:
    """The first step of those at the end of the run that are all not finite."""
    rows = np.flatnonzero(counted)
    bad = ~finite[rows]
    if not len(bad) or not bad[-1]:
        return None
    return int(numbers[rows[len(bad) - int(bad[::-1].argmin())] if not bad.all() else rows[0]])
