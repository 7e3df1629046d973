"""The plainest program that still fails in the same way."""

from __future__ import annotations

import contextlib

from programs.compose import AXES, Program, program
from programs.forms import Clash
from programs.judge import Verdict, judge
from programs.run import trial

PLAIN = {
    "extra": "none",
    "precision": "float32",
    "accumulation": "none",
    "shape": "flat",
    "wrapper": "none",
    "net": "module_dict",
    "optimizer": "sgd",
    "form": "named_sum",
}
"""The value of each axis that nothing is hard about, in the order in which they are tried."""


def shrink(verdict: Verdict) -> Verdict:
    """Make one axis after the other plain for as long as the verdict and its first failing stay."""
    best = verdict
    for axis, value in PLAIN.items():
        if best.program.axes[axis] == value:
            continue
        plainer = _tried(best.program, {**best.program.axes, axis: value})
        if plainer is not None and _alike(plainer, verdict):
            best = plainer
    return best


def _tried(before: Program, axes: dict[str, str]) -> Verdict | None:
    try:
        plainer = program(before.number, axes)
    except Clash:
        return None
    return judge(plainer, trial(plainer))


def _alike(one: Verdict, other: Verdict) -> bool:
    kinds = [kind for kind, _ in one.failings]
    return one.verdict == other.verdict and bool(other.failings) and other.failings[0][0] in kinds


def hard(verdict: Verdict) -> str:
    """The values that are not plain."""
    return " ".join(
        f"{axis}={verdict.program.axes[axis]}" for axis in AXES if verdict.program.axes[axis] != PLAIN[axis]
    )


def alone() -> list[Program]:
    """A program for each value of each axis, with all else plain; values that cannot stand so are left out."""
    made, number = [], 0
    for axis, values in AXES.items():
        for value in values:
            with contextlib.suppress(Clash):
                made.append(program(number, {**{name: PLAIN[name] for name in AXES}, axis: value}))
            number += 1
    return made
