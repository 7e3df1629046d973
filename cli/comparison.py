"""Several runs side by side, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dominance_cli.text import aligned

if TYPE_CHECKING:
    from dominance.analyse.study.comparison import Repeats, Spread

JOINT = "A run of several tasks, to compare scores with."

DELTAS = {"mocograd": "Δ_M ↑ (MoCoGrad)", "pub": "Δm ↓ (PUB)", "adatask": "Δp ↑ (AdaTask)"}
ARROWS = {True: " ↑", False: " ↓", None: ""}

UNITS = {
    "scores": "final scores: mean and standard deviation over the runs of the row",
    "delta": "relative change against the baseline (a share): mocograd and adatask positive is better, pub negative",
    "mean_gcd": "mean over steps and pairs of tasks, on all shared parameters",
    "effective_tasks": "of all shared parameters, at the last usable step",
    "doubts": "run -> why mean_gcd, effective_tasks and diff cannot be trusted; without the runs that can be",
    "diff": "2 |Sim_task - Sim_share| / |Sim_task + Sim_share| of the mean similarities of gradient and update",
}


def split(baselines: Sequence[Any] | None) -> tuple[list[Any] | None, list[Any] | None]:
    """Baselines into single-task runs and joint runs; None for none."""
    given = list(baselines or [])
    joint = [each for each in given if len(getattr(each, "attrs", {}).get("tasks", ())) > 1]
    alone = [each for each in given if not any(each is one for one in joint)]
    return alone or None, joint or None


def rows(trees: dict[str, Any], seen: dict[str, Any], alone: Any, joint: Any, better: Any) -> list[Repeats]:
    """The comparison of the runs with one another, and with both kinds of baselines."""
    from dominance.analyse.study.comparison import comparison

    found = comparison(trees, baseline=alone, higher_is_better=better, seen=seen)
    if joint is None:
        return found
    beside = comparison(trees, baseline={run.attrs["path"]: run for run in joint}, higher_is_better=better, seen=seen)
    for row, other in zip(found, beside, strict=True):
        row.deltas.update(other.deltas)
        row.notes.extend(note for note in other.notes if note not in row.notes)
    return found


def text(compared: list[Repeats], *, most: int) -> str:
    """A table with a row for each training; turned round where that is wider than ``most`` characters."""
    headings, columns = ["", *(row.label for row in compared)], _columns(compared)
    turned = [headings, *columns]
    upright = [list(line) for line in zip(*turned, strict=True)]
    table = aligned(upright, right=[False, *(True for _ in columns)])
    if max(map(len, table.splitlines())) > most:
        table = aligned(turned, right=[False, *(True for _ in compared)])
    words = "Side by side" + (", mean ± standard deviation over seeds:" if _several(compared) else ":")
    notes = [note for row in compared for note in row.notes]
    notes += [f"? not to be trusted, {run}: {'; '.join(why)}" for row in compared for run, why in row.doubts.items()]
    return "\n".join([words, "", table, *(f"\n{note}" for note in notes)])


def _columns(compared: list[Repeats]) -> list[list[str]]:
    """Of each quantity its name, and what it is of each training."""
    columns = [["runs", *(str(len(row.runs)) for row in compared)]] if _several(compared) else []
    for task, metric in dict.fromkeys(key for row in compared for key in row.scores):
        way = next((row.directions[task, metric] for row in compared if (task, metric) in row.directions), None)
        cells = [_said(row.scores.get((task, metric))) for row in compared]
        columns.append([f"{task} {metric}{ARROWS[way]}", *cells])
    for kind, name in DELTAS.items():
        if any(kind in row.deltas for row in compared):
            columns.append([name, *(_said(row.deltas.get(kind), percent=True) for row in compared)])
    measured = {"mean GCD": "mean_gcd", "effective tasks": "effective_tasks", "Diff": "diff"}
    if all(math.isnan(row.diff.mean) for row in compared):
        del measured["Diff"]
    for name, attribute in measured.items():
        columns.append([name, *(_said(getattr(row, attribute), doubted=bool(row.doubts)) for row in compared)])
    return columns


def _several(compared: list[Repeats]) -> bool:
    """Whether a training was made with several seeds."""
    return any(len(row.runs) > 1 for row in compared)


def _said(spread: Spread | None, *, percent: bool = False, doubted: bool = False) -> str:
    if spread is None or math.isnan(spread.mean):
        return "-"
    if percent:
        return f"{spread.mean:+.2%}" + ("" if math.isnan(spread.std) else f" ± {100 * spread.std:.2f}")
    deviation = "" if math.isnan(spread.std) else f" ± {spread.std:.2g}"
    return f"{spread.mean:.4g}{deviation}{' ?' if doubted else ''}"
