"""What a comparison of two trainings found: lines of numbers before and after, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from dominance.analyse.verdict.finding import Verdict

NOBODY = "nobody"


@dataclass(frozen=True)
class Side:
    """A number before or after: its mean, the standard error of that, and the degrees of freedom behind it."""

    value: float
    se: float = math.nan
    dof: float = math.nan


@dataclass(frozen=True)
class Line:
    """One quantity, before and after.

    Attributes:
        quantity: "effective_tasks", "owned" (share of the parameters with rAU over 80 %), "gcd", "loss" or "score".
        layer, task, task_other, metric: what it is of; "" where that means nothing.
        before, after: means with their standard errors.
        p: of no difference (with one run on a side: none beyond ``SEEDS``), corrected for the other lines (Holm); NaN
            where the noise cannot be known.
        beyond_noise: whether ``p`` is below 5 %; None where it cannot be known, or a side cannot be trusted.
        higher_is_better: None where neither is, or that is not declared.
    """

    quantity: str
    layer: str
    task: str
    task_other: str
    metric: str
    before: Side
    after: Side
    p: float = math.nan
    beyond_noise: bool | None = None
    higher_is_better: bool | None = None

    @property
    def change(self) -> float:
        """after - before."""
        return self.after.value - self.before.value

    @property
    def better(self) -> bool | None:
        """Whether the change is for the better; None where that is not known, or it may be noise."""
        if not self.beyond_noise or self.higher_is_better is None:
            return None
        return (self.change > 0) == self.higher_is_better

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON knows them, but for NaN."""
        names = ("quantity", "layer", "task", "task_other", "metric")
        return {
            **{name: getattr(self, name) for name in names},
            "before": {"mean": self.before.value, "se": self.before.se},
            "after": {"mean": self.after.value, "se": self.after.se},
            "change": self.change,
            "p": self.p,
            "beyond_noise": self.beyond_noise,
            "higher_is_better": self.higher_is_better,
            "better": self.better,
        }


@dataclass(frozen=True)
class Change:
    """What ``dominance.change`` returns.

    Attributes:
        runs: names of the runs on each side.
        lines: effective tasks, of all shared parameters and of each layer; what each task owns; conflicts; losses;
            scores.
        owners: the task that owns most of the shared parameters on each side, or "nobody".
        verdicts: of each run on each side.
        doubts: run -> why it cannot be trusted; without those that can be.
        notes: what could not be compared, and what to know about the noise.
        memory: of rAU, in steps.
    """

    runs: tuple[tuple[str, ...], tuple[str, ...]]
    lines: tuple[Line, ...]
    owners: tuple[str, str]
    verdicts: tuple[tuple[Verdict, ...], tuple[Verdict, ...]]
    doubts: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    memory: float

    @property
    def owner_changed(self) -> bool | None:
        """Whether another task owns the shared parameters, by more than noise; None where that is not known."""
        if self.owners[0] == self.owners[1]:
            return False
        known = {line.task: line.beyond_noise for line in self.lines if line.quantity == "owned"}
        said = [known.get(owner) for owner in self.owners if owner != NOBODY]
        return True if True in said else None if None in said else False

    @property
    def beyond_noise(self) -> list[Line]:
        """The lines that changed by more than noise."""
        return [line for line in self.lines if line.beyond_noise]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON knows them, but for NaN."""
        sides = {}
        for side, name in enumerate(("before", "after")):
            each = zip(self.runs[side], self.verdicts[side], strict=True)
            runs = [{"path": path, **found.to_dict()} for path, found in each]
            sides[name] = {"owner": self.owners[side], "runs": runs}
        return {
            **sides,
            "owner_changed": self.owner_changed,
            "rows": [line.to_dict() for line in self.lines],
            "doubts": {run: list(why) for run, why in self.doubts.items()},
            "notes": list(self.notes),
            "rau_memory": self.memory,
        }

    def to_dataframe(self) -> pd.DataFrame:
        """One row a line; means and standard errors of each side in columns of their own."""
        rows = []
        for line in self.lines:
            row = line.to_dict()
            for side in ("before", "after"):
                mean = row.pop(side)
                row |= {side: mean["mean"], f"{side}_se": mean["se"]}
            rows.append(row)
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        """For notebooks: whose the parameters are, and what changed by more than noise."""
        said = f"{self.owners[0]} owns most of the shared parameters before, {self.owners[1]} after"
        table = self.to_dataframe()
        table = table[[line.beyond_noise is True for line in self.lines]]
        columns = ["quantity", "layer", "task", "task_other", "metric", "before", "after", "p"]
        shown = "" if table.empty else table[columns].to_html(index=False, border=0, float_format="{:.3g}".format)
        same = f"{len(self.lines) - len(table)} of {len(self.lines)}"
        rest = f"{same} numbers changed by no more than noise, or it is not known"
        notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in self.notes)
        return f"<p><b>{escape(said)}</b></p>{shown}<p>{rest}</p>{notes}"
