"""What came of methods, as text: a line for each, means over seeds, and how many seeds they are over."""

from __future__ import annotations

import math
from textwrap import fill
from typing import TYPE_CHECKING

from dominance_cli.text import aligned, size

if TYPE_CHECKING:
    from dominance.analyse.study.trials import Estimate, Trials, TriedMethod


NOTE_WIDTH = 80
"""Letters in a line below a table, which is kept in a file, too: that of most terminals."""


def table(found: Trials, *, failed: dict[str, int]) -> str:
    """One line for each method, and below what the columns mean."""
    arrows = {"higher": " ↑", "lower": " ↓", "": ""}
    ways = found.scores["direction"]
    keys = list(dict.fromkeys(key for row in found.rows for key in row.scores))
    titles = [f"{task} {metric}{arrows[str(ways.sel(task=task, metric=metric).item())]}" for task, metric in keys]
    lone = any(math.isfinite(row.alone[0]) for row in found.rows)
    rows = [["", "n", *titles, "Δp ↑", *(["Δ_M ↑"] if lone else []), "time", "memory", "owner"]]
    for row in found.rows:
        scores = [estimate(row.scores.get(key)) for key in keys]
        rows.append([row.method, str(row.n), *scores, percent(row.delta), *([percent(row.alone)] if lone else [])])
        rows[-1] += [_seconds(row.seconds), "-" if math.isnan(row.memory) else size(int(row.memory)), _owner(row)]
    lines = [aligned(rows, right=[False, *(True for _ in rows[0][1:-1]), False]), ""]
    what = f"metrics of the split {found.split!r}" if found.split else "losses of the last fifth of the recorded steps"
    lines.append(f"Scores: {what}; mean over n runs ± half of the 95 % interval (Student's t).")
    lines.append("Δp: mean relative change for the better against the script as it is (AdaTask's formula).")
    if lone:
        lines.append("Δ_M: the same against each task alone (MoCoGrad's formula).")
    lines.append("owner: the task with the largest share of the shared parameters at rAU > 80 %, at the end.")
    if found.undirected:
        listed = " ".join(f"--higher {metric}" for metric in found.undirected)
        of = ", ".join(found.undirected)
        lines.append(f"Of {of} nobody says which direction is better: say {listed}, or --lower.")
    if found.scored:
        lines.append(f"Metrics were logged of {', '.join(found.scored)} only: to be compared, every task needs one.")
    lines += [f"{method}: {number} of its runs failed." for method, number in failed.items()]
    return "\n".join([*lines[:2], *(fill(line, NOTE_WIDTH) for line in lines[2:])])


def estimate(value: Estimate | None) -> str:
    """A mean and half of its interval, where there is one.

    >>> estimate((0.5, 0.01)), estimate((2.0, float("nan"))), estimate(None)
    ('0.5 ±0.01', '2', '-')
    """
    if value is None:
        return "-"
    mean, half = value
    if math.isnan(mean):
        return "-"
    return f"{mean:.4g}" if math.isnan(half) else f"{mean:.4g} ±{half:.2g}"


def percent(value: Estimate) -> str:
    """The same of a share.

    >>> percent((0.035, 0.02))
    '+3.5% ±2.0'
    """
    mean, half = value
    if math.isnan(mean):
        return "-"
    return f"{mean:+.1%}" if math.isnan(half) else f"{mean:+.1%} ±{100 * half:.1f}"


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def _owner(row: TriedMethod) -> str:
    task, share = row.owner
    return "-" if not task or math.isnan(share) else f"{task} {share:.0%}"
