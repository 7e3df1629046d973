"""The expressions of ``--fail-on``: a quantity of the summary, in which rows, compared with a number."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dominance.errors import BadOption

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = {
    "owned": "(80, 100]",
    "effective_tasks": "effective_tasks",
    "gcd": "mean_gcd",
    "untouched": "untouched",
    "gradient_norm": "gradient_norm",
    "update_norm": "update_norm",
}
"""What an expression may name, and the column of the summary that holds it."""

_OF_LAYER = ("effective_tasks", "untouched")
"""Quantities that are the same in each row of a layer."""

_OF_GRADIENTS = ("gcd", "gradient_norm")
"""Quantities that are made of gradients alone: what is wrong with the updates does not touch them."""

_COMPARISONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}

_FORM = re.compile(
    r"\s*(?P<quantity>\w+)\s*(?:\[(?P<where>.*)\])?\s*(?P<comparison>[<>]=?)\s*(?P<bound>[-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True)
class Condition:
    """``quantity[task, layer] comparison bound``; task and layer are globs."""

    quantity: str
    task: str
    layer: str
    comparison: str
    bound: float

    @property
    def of_gradients(self) -> bool:
        """Whether the quantity is made of gradients alone."""
        return self.quantity in _OF_GRADIENTS

    def __str__(self) -> str:
        where = f"[{self.task}, {self.layer}]" if (self.task, self.layer) != ("*", "*") else ""
        return f"{self.quantity}{where} {self.comparison} {self.bound:g}"

    def crossed(self, table: pd.DataFrame) -> list[str]:
        """The rows of a summary for which it holds, in words. NaN crosses nothing.

        Raises:
            BadOption: the run has no such task or layer.
        """
        rows = table.reset_index().to_dict("records")
        layers, tasks = (list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("layer", "task"))
        for what, glob, names in (("task", self.task, tasks), ("layer", self.layer, layers)):
            if not any(fnmatchcase(name, glob) for name in names):
                raise BadOption(f"--fail-on: no {what} is called {glob!r}", fix=f"choose from {', '.join(names)}")
        compare = _COMPARISONS[self.comparison]
        lines = {}
        for row in rows:
            layer, task, value = str(row["layer"]), str(row["task"]), float(row[QUANTITIES[self.quantity]])
            if fnmatchcase(task, self.task) and fnmatchcase(layer, self.layer) and compare(value, self.bound):
                where = layer if self.quantity in _OF_LAYER else f"{layer}, {task}"
                lines[where] = f"{where}: {self.quantity} = {value:.4g} {self.comparison} {self.bound:g}"
        return list(lines.values())


def parse(text: str) -> Condition:
    """Read an expression such as ``gcd > 1.2`` or ``owned[price, trunk.*] > 0.9``.

    Raises:
        BadOption: it has another form, or names an unknown quantity.

    >>> parse("owned[price, trunk.*] > 0.9")
    Condition(quantity='owned', task='price', layer='trunk.*', comparison='>', bound=0.9)
    """
    match = _FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        bound = float(match["bound"])
    except ValueError:
        raise BadOption(
            f"--fail-on {text!r} cannot be read", fix="write it like 'owned > 0.9' or 'gcd[*, trunk.*] > 1.2'"
        ) from None
    if match["quantity"] not in QUANTITIES:
        close = get_close_matches(match["quantity"], QUANTITIES, n=1)
        fix = f"did you mean {close[0]}? " if close else ""
        fix += f"choose from {', '.join(QUANTITIES)}"
        raise BadOption(f"--fail-on knows no quantity {match['quantity']!r}", fix=fix)
    task, _, layer = (match["where"] or "").partition(",")
    return Condition(match["quantity"], task.strip() or "*", layer.strip() or "*", match["comparison"], bound)
