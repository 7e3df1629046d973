"""Numbers and names in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.rules import CHANCE

MOST_NAMES = 4


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed([f"l{i}" for i in range(9)])
    ('a', 'a, b and c', 'l0, l1, l2 and 6 more')
    """
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def place(where: Sequence[str]) -> str:
    """ "the shared parameters", or the layers by name."""
    return "the shared parameters" if list(where) == [ALL_SHARED] else listed(list(where))


def times(factor: float) -> str:
    """A factor to two digits.

    >>> times(2.13), times(143.2), times(1e9)
    ('2.1 times', '140 times', 'over 1,000 times')
    """
    if factor > 1000:
        return "over 1,000 times"
    return f"{float(f'{factor:.2g}'):g} times"


def why(causes: Sequence[Cause], task: str, *, quiet: bool = False) -> str:
    """What makes a task louder than the others, or quieter."""
    if not causes:
        return (
            f"no cause stands out: neither the size of {task}'s gradient, nor its noise, nor how often {task} takes"
            " part explains it alone."
        )
    said = [_one(cause, task, quiet=quiet) + _unsure(cause) for cause in causes]
    return "; and ".join(said) + "."


def _unsure(cause: Cause) -> str:
    """How sure a finding is says nothing of its causes: one that may be chance says so itself."""
    if math.isnan(cause.probability):
        return " (measured in too few gradients to say how sure that is)"
    return "" if cause.probability >= CHANCE else f" (this may be chance: probability {cause.probability:.2f})"


def _one(cause: Cause, task: str, *, quiet: bool) -> str:
    numbers = cause.evidence
    if cause.name == "scale":
        ratio = times(numbers["gradient_ratio"])
        if quiet:
            words = f"scale: noise aside, the others' gradients are {ratio} as long as {task}'s"
        else:
            words = f"scale: noise aside, {task}'s gradient is {ratio} as long as the others'"
        weight = numbers["weight_ratio"]
        if weight >= 1.5:
            other = f"the others' losses weigh {times(weight)} as much" if quiet else f"its loss weighs {times(weight)}"
            words += f" ({other}{'' if quiet else ' as much'})"
        return words
    if cause.name == "noise":
        mine, others = f"{100 * numbers['noise_share']:.0f} %", f"{100 * numbers['others']:.0f} %"
        if quiet:
            return f"noise: {mine} of the others' squared updates are noise of the batch, {others} of {task}'s"
        return f"noise: {mine} of {task}'s squared updates are noise of the batch, {others} of the others'"
    words = "frequency: "
    often, seldom = 100 * numbers["present"], 100 * numbers["others"]
    if abs(often - seldom) >= 1:
        own, theirs = (seldom, often) if quiet else (often, seldom)
        words += f"{task} takes part in {own:.0f} % of the steps, the others in {theirs:.0f} %"
        if numbers["rows_ratio"] > 1:
            words += ", and "
    if numbers["rows_ratio"] > 1:
        seen = "the others move" if quiet else f"{task} moves"
        words += f"{seen} {times(numbers['rows_ratio'])} as many rows in a step"
    return words
