"""Numbers and names in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.summary import percent
from dominance.analyse.verdict.causes import WEIGHT_OF, Cause
from dominance.analyse.verdict.rules import CAUSE, CHANCE

MOST_NAMES = 4
ALIKE = 2.0
"""Up to this factor, a gradient is as long as the number of its examples makes it."""


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


def of_examples(shares: pd.DataFrame, task: str, scale: float | None, *, quiet: bool) -> str:
    """What a group has of the batches, and how far that explains how long its gradient is.

    Args:
        shares: see ``group_shares``.
        task: the group.
        scale: how much longer its gradient is than the others', or theirs where it is the quiet one; None: not known.
        quiet: whether it is.

    >>> shares = pd.DataFrame({"examples": [0.9, 0.1]}, ["de", "fr"])
    >>> shares.attrs["unit"] = "tokens"
    >>> of_examples(shares, "fr", 8.0, quiet=True)
    "fr has 10 % of the tokens: it is rare, which alone would make the others' gradients 9 times as long."
    >>> of_examples(shares, "de", 36.0, quiet=False)
    "de has 90 % of the tokens: one for one, its tokens pull 4 times as hard as the others'."
    """
    unit, mine = shares.attrs["unit"], float(shares.examples[task])
    others = float(shares.examples.drop(task).mean())
    has = f"{task} has {percent(mine)} of the {unit}"
    if scale is None or not min(mine, others, scale) > 0:
        return f"{has}."
    many = others / mine if quiet else mine / others
    each = scale / many
    if 1 / ALIKE <= each <= ALIKE:
        if many < CAUSE:
            return f"{has}."
        if quiet:
            return f"{has}: it is rare, which alone would make the others' gradients {times(many)} as long."
        return f"{has}, {times(many)} as many as another: that alone makes its gradient so long."
    if quiet and each < 1 and many >= CAUSE:
        return f"{has}: it is rare, though one for one its {unit} pull {times(1 / each)} as hard as the others'."
    if quiet == (each < 1):
        return f"{has}: one for one, its {unit} pull {times(max(each, 1 / each))} as hard as the others'."
    return f"{has}: one for one, the others' {unit} pull {times(max(each, 1 / each))} as hard as its own."


def _unsure(cause: Cause) -> str:
    """How sure a finding is says nothing of its causes: one that may be chance says so itself."""
    if math.isnan(cause.probability):
        return " (measured in too few gradients to say how sure that is)"
    return "" if cause.probability >= CHANCE else f" (this may be chance: probability {cause.probability:.2f})"


def _one(cause: Cause, task: str, *, quiet: bool) -> str:
    numbers = cause.evidence
    if cause.name == "weight":
        return _of_weights(numbers, task, quiet=quiet)
    if cause.name == "scale":
        aside = "noise and weights aside" if numbers["weight_ratio"] > 1 else "noise aside"
        whose, rest = ("the others' gradients are", f"{task}'s") if quiet else (f"{task}'s gradient is", "the others'")
        return f"scale: {aside}, {whose} {times(numbers['gradient_ratio'])} as long as {rest}"
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


def _of_weights(numbers: Mapping[str, float], task: str, *, quiet: bool) -> str:
    """How the losses are weighed, and what is left of that in the gradients."""
    each = {name.removeprefix(WEIGHT_OF): value for name, value in numbers.items() if name.startswith(WEIGHT_OF)}
    shown = listed([f"{weight:.3g} of {name}" for name, weight in each.items()])
    whose = f"your own weights, {shown}" if numbers["constant"] else f"the weights of the losses, on average {shown}"
    count = (
        f"the others count {times(numbers['weight_ratio'])} as much as {task}"
        if quiet
        else (f"{task} counts {times(numbers['weight_ratio'])} as much as the others")
    )
    words = f"weight: by {whose}, {count}"
    if not math.isclose(numbers["gradient_ratio"], numbers["weight_ratio"], rel_tol=0.05):
        ratio = times(numbers["gradient_ratio"])
        words += f"; with them, noise aside, {'their gradients are' if quiet else 'its gradient is'} {ratio} as long"
    return words
