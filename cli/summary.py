"""``dominance summary``: what a person reads in the terminal, and a program as JSON."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import NothingRecorded
from dominance_cli import comparison, say
from dominance_cli.rundir import opened, place
from dominance_cli.singles import HELP, HIGHER, LOWER, directions, singles
from dominance_cli.text import aligned, print_json
from dominance_cli.threshold import QUANTITIES, parse

if TYPE_CHECKING:
    import pandas as pd

    from dominance.analyse.summary import Overview
    from dominance.analyse.verdict.finding import Verdict

BUCKETS = ["[0, 20]", "(20, 40]", "(40, 60]", "(60, 80]", "(80, 100]"]
HEADINGS = ["layer", "task", "0-20", "20-40", "40-60", "60-80", "80-100", "tasks", "grad", "update", "GCD"]
RIGHT = [False, False] + [True] * 9

MOST_COLUMNS = 100
"""Longer lines are hard to read."""

UNITS = {
    "rau": "share of the layer's touched parameters whose relative accumulated update lies in the bucket (percent)",
    "share_se": "largest standard error of the shares in rau, from sampling; 0 when every coordinate was kept",
    "untouched": "share of the layer's parameters that no task has moved",
    "effective_tasks": "exp of the entropy of rAU over tasks: 1 is dominated, the number of tasks is balanced",
    "gradient_norm": "median over steps of the 2-norm of the task's effective gradient",
    "update_norm": "median over steps of the 2-norm of the task's update",
    "mean_gcd": "mean over steps and other tasks of 1 - cos of the gradients; above 1 they conflict",
}


def summary(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", parser=place, help="Run directories, such as runs/latest, or URLs.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR",
            help="Exit with 3 where it holds: 'gcd > 1.2', or with task and layer 'owned[price, trunk.*] > 0.9'."
            f" Knows {', '.join(QUANTITIES)}; owned is the share of parameters with rAU over 80 %.",
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", parser=place, help=f"{HELP} {comparison.JOINT}", show_default=False),
    ] = None,
    higher_is_better: Annotated[list[str] | None, typer.Option(metavar="METRIC", help=HIGHER)] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(metavar="METRIC", help=LOWER)] = None,
) -> int:
    """Say which task owns which layer and why, which tasks conflict, whether it hurts, and what to try.

    Example: dominance summary runs/latest --fail-on 'effective_tasks < 1.5'
    """
    conditions = [parse(text) for text in fail_on or []]
    from dominance.analyse.summary import overview
    from dominance.analyse.summary import summary as summarise
    from dominance.analyse.verdict.verdict import verdict

    documents, crossed = [], []
    (alone, joint), better = comparison.split(singles(baseline)), directions(higher_is_better, lower_is_better)
    trees = {run: opened(run) for run in runs}
    views = {run: _seen(run, tree, overview) for run, tree in trees.items()}  # what cannot be read is told first
    for number, run in enumerate(runs):
        tree, seen = trees[run], views[run]
        table, said = summarise(seen), verdict(tree, single=alone, higher_is_better=better, seen=seen)
        crossed += [f"{run}: {row}" for condition in conditions for row in condition.crossed(table)]
        if as_json:
            documents.append(_document(run, table, said))
        else:
            print("\n" * (number > 0) + f"{run}, step {table.attrs['step']}\n")
            width = min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS)
            print(said.text(max(width, 40)) + "\n")
            _print_table(table)
    beside = comparison.rows(trees, views, alone, joint, better) if len(trees) > 1 or alone or joint else []
    if as_json:
        extra = {"comparison": {"units": comparison.UNITS, "rows": [row.to_dict() for row in beside]}} if beside else {}
        print_json({"units": UNITS, "runs": documents, **extra})
    elif beside:
        print(f"\n{comparison.text(beside, most=MOST_COLUMNS)}")
    for row in crossed:
        say.note(row)
    say.say(f"dominance report {' '.join(shlex.quote(str(run)) for run in runs)}")
    return 3 if crossed else 0


def _seen(run: str, tree: Any, overview: Callable[[Any], Overview]) -> Overview:
    """The overview; of a run that holds nothing to measure, first what its books say of that."""
    try:
        return overview(tree)
    except NothingRecorded:
        from dominance.analyse.verdict.doubts import accounts

        if said := accounts(tree):
            print(f"{run}\n\n" + "\n".join(said))
        raise


def _document(run: str, table: pd.DataFrame, said: Verdict) -> dict[str, Any]:
    rows = []
    for row in table.reset_index().to_dict("records"):
        rau = {bucket: row[bucket] for bucket in BUCKETS}
        rest = {name: row[name] for name in UNITS if name != "rau"}
        rows.append({"layer": row["layer"], "task": row["task"], "rau": rau, **rest})
    return {"path": str(run), **{str(key): value for key, value in table.attrs.items()}, **said.to_dict(), "rows": rows}


def _print_table(table: pd.DataFrame) -> None:
    print("Share of the parameters, in %, whose rAU lies in each bucket; effective number of")
    print("tasks; median norms of gradient and update; mean gradient conflict degree:\n")
    tasks = table.index.get_level_values("task").nunique()
    rows = []
    before = None
    for row in table.reset_index().to_dict("records"):
        first = row["layer"] != before
        before = row["layer"]
        effective = f"{row['effective_tasks']:.2f} of {tasks}" if first else ""
        rows.append(
            [
                str(row["layer"]) if first else "",
                str(row["task"]),
                *(_percent(row[bucket]) for bucket in BUCKETS),
                effective,
                _short(row["gradient_norm"]),
                _short(row["update_norm"]),
                "-" if math.isnan(row["mean_gcd"]) else f"{row['mean_gcd']:.2f}",
            ]
        )
    if sys.stdout.isatty():
        _print_rich(rows)
    else:
        print(aligned([HEADINGS, *rows], right=RIGHT))


def _print_rich(rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for heading, right in zip(HEADINGS, RIGHT, strict=True):
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        owner = row[6].isdecimal() and int(row[6]) > 50
        table.add_row(*(Text(cell, style="bold" if owner and i in (1, 6) else "") for i, cell in enumerate(row)))
    Console().print(table)


def _percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _short(value: float) -> str:
    """Three digits: ``0.00123``, ``1.2e-05``, ``12.3``."""
    return "-" if math.isnan(value) else f"{value:.3g}"
