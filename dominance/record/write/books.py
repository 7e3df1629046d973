"""What does not add up: counted while it is recorded, and said once, in words, where it is read.

Of every step that is recorded, here and nowhere else:

- the tasks' gradients and the residual sum to what the optimizer was fed; what of the residual has no name is
  unexplained (``row``). A term that was counted twice, or missed, is found by this too;
- the parts of a step sum to what theta did from its start to the start of the next (``row``);
- a training of which nothing is finite any more has diverged (``row``);
- a step that was taken and not recorded has a reason (``missed``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from dominance.record.write.rows import StepRow
from dominance.schema import TOTAL_STATISTICS

UNEXPLAINED = 0.05
"""Norm of the part of the gradient that nobody is known to be answerable for, relative to the gradient: from here on
the shares of the tasks are no shares of the training. Rounding and the noise of half precision stay far below."""


CLOSES = 0.01
"""Largest difference between the sum of a step's parts and the step, relative to its largest entry, up to which the
split holds; the rounding of theta is taken out before."""


@dataclass
class Reason:
    """Why steps are not in the run."""

    steps: int
    first: int


@dataclass
class Books:
    """One run's account of itself."""

    unrecorded: dict[str, Reason] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    kept: int = 0
    """Rows that were handed over."""
    unexplained: list[float] = field(default_factory=list)
    """Relative norm of the unexplained gradient, of the rows where it is over the limit."""
    unclosed: list[float] = field(default_factory=list)
    """How far the parts of a step are from the step, of the rows where it is over the limit."""
    diverged: int | None = None
    """The step from which on nothing is finite."""

    def missed(self, reason: str, step: int) -> None:
        """A step that was to be recorded was taken, and is not in the run."""
        known = self.unrecorded.setdefault(reason, Reason(0, step))
        known.steps += 1

    def remark(self, text: str) -> bool:
        """Something to be said once; False where it has been."""
        if text in self.remarks:
            return False
        self.remarks.append(text)
        return True

    def row(self, step: int, row: StepRow) -> None:
        """A row is complete."""
        self.kept += 1
        if row.values["skipped"]:
            return
        layers = row.values["layer/total"]
        gradient, unexplained, update = (
            float(layers[:, TOTAL_STATISTICS.index(name)].sum())
            for name in ("gradient_sq", "unexplained_gradient_sq", "update_sq")
        )
        finite = math.isfinite(gradient) and math.isfinite(update)
        self.diverged = None if finite else step if self.diverged is None else self.diverged
        share = math.sqrt(unexplained / gradient) if finite and gradient > 0 else 0.0
        if share > UNEXPLAINED:
            self.unexplained.append(share)
        closure = float(row.values["closure"])
        if closure > CLOSES:
            self.unclosed.append(closure)

    def attributes(self) -> dict[str, Any]:
        """For the attributes of the run."""
        steps = [{"reason": why, "steps": r.steps, "first": r.first} for why, r in self.unrecorded.items()]
        return {"unrecorded": steps, "remarks": list(self.remarks)}

    def lines(self) -> list[str]:
        """What is to be said when the recording ends; nothing where all adds up."""
        lines = [f"{_steps(r.steps)} not recorded, from step {r.first} on: {why}" for why, r in self.unrecorded.items()]
        if self.unexplained:
            share = sorted(self.unexplained)[len(self.unexplained) // 2]
            lines.append(
                f"in {len(self.unexplained)} of {_steps(self.kept)}, {share:.0%} of the gradient's norm belongs to no "
                "task that was found: shares of the tasks are not to be trusted"
            )
        if self.unclosed:
            lines.append(
                f"in {len(self.unclosed)} of {_steps(self.kept)}, the parts of the update do not add up to it, by up "
                f"to {max(self.unclosed):.0%} of its largest entry: shares of the update are not to be trusted"
            )
        if self.diverged is not None:
            lines.append(f"the training diverged at step {self.diverged}: from there on nothing is finite")
        return lines


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
