"""``dominance compare``: what changed from one training to another, and whether it is more than noise."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance_cli import stderr
from dominance_cli.folded import shortened
from dominance_cli.rundir import RUNS, expanded, opened, place
from dominance_cli.single_tasks import HIGHER_FLAGS, LOWER, LOWER_FLAGS, directions
from dominance_cli.text import aligned, print_json

if TYPE_CHECKING:
    from dominance.analyse.study.changed import Change, Line

MOST_COLUMNS, MOST_NAME = 80, 30
MOST_LAYERS, MOST_PAIRS = 6, 6
"""Layers and pairs of tasks in the table, those that changed most; --json has them all."""

HIGHER = "Of this metric more is better, where the runs do not say so. May be repeated."

UNITS = {
    "effective_tasks": "exp of the entropy of rAU over tasks, later half of the steps: 1 is dominated, K balanced",
    "owned": "share of all shared parameters with rAU over 80 % of the task, later half of the steps",
    "gcd": "mean over the later half of the steps of 1 - cos of the two tasks' gradients; above 1 they conflict",
    "loss": "unweighted, mean over the last fifth of the steps",
    "score": "last value of the metric, of the best split that was logged: final, test, val, train",
    "p": "of no difference, Holm-corrected over all rows of the whole model, or of the layers",
    "beyond_noise": "p < 0.05; null where the noise is not known or a run cannot be trusted",
    "rau_memory": "steps over which rAU is averaged here; the same on both sides",
}


def compare(
    before: Annotated[str, typer.Argument(metavar="BEFORE", parser=place, help=RUNS)],
    after: Annotated[str, typer.Argument(metavar="AFTER", parser=place, help=RUNS)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Draw it: a .pdf, .png or .svg.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    higher_is_better: Annotated[list[str] | None, typer.Option(*HIGHER_FLAGS, metavar="METRIC", help=HIGHER)] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(*LOWER_FLAGS, metavar="METRIC", help=LOWER)] = None,
) -> int:
    """Say what changed between two runs, or two folders of runs with several seeds, and what may be noise.

    Example: dominance compare runs/plain runs/adatask -o change.pdf
    """
    from dominance.analyse.study.change import change

    sides = [{run: opened(run) for run in expanded([side])} for side in (before, after)]
    found = change(*sides, higher_is_better=directions(higher_is_better, lower_is_better))
    if as_json:
        print_json({"units": UNITS, **found.to_dict()})
    else:
        width = max(min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS), 40)
        print(text(found, (before, after), width))
    if output is not None:
        from dominance.plots.change import plot_change

        for path in plot_change(found).savefig(output, overwrite=force):
            stderr.line(f"drawn in {path}")
    stderr.line(f"dominance report {shlex.quote(before)} {shlex.quote(after)}")
    return 0


def text(found: Change, names: Sequence[str], width: int) -> str:
    """What a person reads: the verdicts, the table, and what to know about the noise."""
    parts = []
    for side, word in enumerate(("before", "after")):
        runs, verdicts = found.runs[side], found.verdicts[side]
        of = f" ({len(runs)} runs; of the first:)" if len(runs) > 1 else ""
        parts.append(f"{word}: {names[side]}{of}\n{verdicts[0].head(width)}")
    parts += [fill(f"Changed beyond noise: {_said(found)}.", width, subsequent_indent="  "), _table(found, width)]
    notes = [*found.notes, *(f"? not to be trusted, {run}: {'; '.join(why)}." for run, why in found.doubts.items())]
    notes.append(
        "Effective tasks, owned and GCD: means over the later half of the steps; losses: over the last fifth. Noise: "
        "p < 0.05 for all rows together (Holm)."
    )
    return "\n\n".join([*parts, *(fill(note, width, break_on_hyphens=False) for note in notes)])


def _said(found: Change) -> str:
    """In words, the most important first; "nothing" where nothing is."""
    said = []
    if found.owner_changed:
        said.append(f"owner {found.owners[0]} → {found.owners[1]}")
    whole = [line for line in found.beyond_noise if line.quantity != "effective_tasks" or line.layer == "all shared"]
    said += [f"{_name(line)} {_value(line, line.before.value)} → {_value(line, line.after.value)}" for line in whole]
    layers = len(found.beyond_noise) - len(whole)
    said += [f"effective tasks of {layers} layer{'s' if layers > 1 else ''}"] if layers else []
    return "; ".join(said) or "nothing"


def _table(found: Change, width: int) -> str:
    owner = [_owner_row(found)]
    body = [_row(line) for line in _shown(found)]
    heading = ["", "before", "after", "change", "beyond noise"]
    rows = [heading, *owner, *body]
    others = [max(len(row[i]) for row in rows) for i in range(1, 5)]
    room = max(width - sum(others) - 2 * len(others), 12)
    rows = [[shortened(row[0], min(room, MOST_NAME)), *row[1:]] for row in rows]
    return aligned(rows, right=[False, True, True, True, False])


def _shown(found: Change) -> list[Line]:
    """The lines of the table: of many pairs and layers those that changed most, for their noise."""
    pairs = [line for line in found.lines if line.quantity == "gcd"]
    layers = [line for line in found.lines if line.quantity == "effective_tasks" and line.layer != "all shared"]
    kept = {id(line) for line in [*_most(pairs, MOST_PAIRS), *_most(layers, MOST_LAYERS)]}
    left = {id(line) for line in [*pairs, *layers]} - kept
    return [line for line in found.lines if id(line) not in left]


def _most(lines: Sequence[Line], count: int) -> list[Line]:
    return sorted(lines, key=lambda line: (not line.beyond_noise, -abs(line.change)))[:count]


def _owner_row(found: Change) -> list[str]:
    one, other = (shortened(owner, 12) for owner in found.owners)
    return ["owner", one, other, "" if one == other else "another", _noise(found.owner_changed)]


def _row(line: Line) -> list[str]:
    better = {True: ", better", False: ", worse", None: ""}[line.better]
    values = [_value(line, side.value) for side in (line.before, line.after)]
    return [_name(line), *values, _change(line), _noise(line.beyond_noise) + better]


def _name(line: Line) -> str:
    if line.quantity == "effective_tasks":
        return "effective tasks" if line.layer == "all shared" else f"  in {line.layer}"
    if line.quantity == "gcd":
        return f"GCD {line.task} × {line.task_other}"
    if line.quantity == "score":
        return f"{line.task} {line.metric}"
    return f"{'owned by' if line.quantity == 'owned' else line.quantity} {line.task}"


def _value(line: Line, value: float) -> str:
    if line.quantity == "owned":
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if line.quantity in ("gcd", "effective_tasks") else f"{value:.4g}"


def _change(line: Line) -> str:
    if line.quantity == "owned":
        return f"{100 * line.change:+.0f} points"
    if line.quantity == "loss" and line.before.value > 0:
        return f"{100 * line.change / line.before.value:+.0f} %"
    return f"{line.change:+.2f}" if line.quantity in ("gcd", "effective_tasks") else f"{line.change:+.3g}"


def _noise(beyond: Any) -> str:
    return "?" if beyond is None or (isinstance(beyond, float) and math.isnan(beyond)) else "yes" if beyond else "no"
