"""``dominance summary``: what a person reads in the terminal, and a program as JSON."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from collections.abc import Callable
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import CorruptRun, NothingRecorded
from dominance_cli import comparison, stderr, unit_table
from dominance_cli.folded import folded, shortened
from dominance_cli.rundir import RUNS, expanded, models, opened, place
from dominance_cli.single_tasks import HELP, HIGHER, HIGHER_FLAGS, LOWER, LOWER_FLAGS, directions, singles
from dominance_cli.state import state
from dominance_cli.text import aligned, print_json
from dominance_cli.threshold import QUANTITIES, Condition, parse

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from rich.console import Console

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
    "gradient_norm": "median over the steps at which the task has a gradient of the 2-norm of its effective gradient",
    "update_norm": "median over steps of the 2-norm of the task's update",
    "mean_gcd": "mean over steps and other tasks of 1 - cos of the gradients; above 1 they conflict",
}


def summary(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", parser=place, help=RUNS)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    whole: Annotated[
        bool,
        typer.Option("--all", help="All layers and tasks. [default: the worst layers, where it is more than a screen]"),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR",
            help="Exit with 3 where it holds: 'gcd > 1.2', or with task and layer 'owned[price, trunk.*] > 0.9';"
            " with 1 where a run cannot be trusted to say."
            f" Knows {', '.join(QUANTITIES)}; owned is the share of parameters with rAU over 80 %.",
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="UNITS", help=unit_table.HELP)] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", parser=place, help=f"{HELP} {comparison.JOINT}", show_default=False),
    ] = None,
    higher_is_better: Annotated[list[str] | None, typer.Option(*HIGHER_FLAGS, metavar="METRIC", help=HIGHER)] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(*LOWER_FLAGS, metavar="METRIC", help=LOWER)] = None,
) -> int:
    """Say which task owns which layer and why, which tasks conflict, whether it hurts, and what to try.

    Example: dominance summary runs/latest --fail-on 'effective_tasks < 1.5'
    """
    conditions = [parse(text) for text in fail_on or []]
    from dominance.analyse.summary import overview
    from dominance.analyse.summary import summary as summarise
    from dominance.analyse.unit_shares import unit_shares
    from dominance.analyse.verdict.verdict import verdict

    documents: list[dict[str, Any]] = []
    crossed: list[str] = []
    unsure: list[str] = []
    (alone, joint), better = comparison.split(singles(baseline)), directions(higher_is_better, lower_is_better)
    named = expanded(runs)
    in_folder = named != runs
    trees, damaged = _trees(named, in_folder=in_folder)
    views, unmeasured = _views(trees, overview, damaged, in_folder=in_folder, quiet=as_json)  # what fails is told first
    for number, run in enumerate(named):
        if run in unmeasured:
            documents.append({"path": run, **unmeasured[run]})
            unsure += [f"{run}: {condition} cannot be judged: nothing was measured" for condition in conditions]
            _say_unmeasured(run, unmeasured[run], first=number == 0, quiet=as_json)
            continue
        tree, seen = trees[run], views[run]
        table, said = summarise(seen), verdict(tree, single=alone, higher_is_better=better, seen=seen)
        holds, untold = _judged(run, conditions, table, said)
        crossed, unsure = crossed + holds, unsure + untold
        parts = None if by is None else unit_shares(tree, by=by)
        of_units = {} if parts is None else {"by_unit": unit_table.rows(parts)}
        documents.append({**_document(run, table, said, seen.groups), **of_units, "state": state(run, tree)})
        if not as_json:
            print("\n" * (number > 0) + _heading(run, tree, table) + "\n")
            _print_run(said, None if in_folder else table, seen.groups, parts, whole=whole)
    shown = {run: trees[run] for run in views}
    beside = comparison.rows(shown, views, alone, joint, better) if len(shown) > 1 or alone or joint else []
    if as_json:
        extra = {"comparison": {"units": comparison.UNITS, "rows": [row.to_dict() for row in beside]}} if beside else {}
        print_json({"units": UNITS, "runs": documents, **extra})
    elif beside:
        print(f"\n{comparison.text(beside, most=MOST_COLUMNS)}")
    for row in (*map(str, damaged.values()), *crossed, *unsure):
        stderr.note(row)
    then = "compare" if len(runs) == 2 and not damaged else "report"  # of two, what changed is asked first
    stderr.line(shlex.join(["dominance", then, *map(str, runs)]))
    return 2 if damaged else 3 if crossed else 1 if unsure else 0


def _judged(run: str, conditions: list[Condition], table: pd.DataFrame, said: Verdict) -> tuple[list[str], list[str]]:
    """Where conditions hold; and which of them a run that cannot be trusted does not say."""
    from dominance.analyse.verdict.doubts import distrust

    crossed: list[str] = []
    unsure: list[str] = []
    for condition in conditions:
        rows = condition.crossed(table)
        if why := distrust(said.books, said, of_gradients=condition.of_gradients):
            unsure.append(f"{run}: {condition} cannot be judged: {'; '.join(why)}")
        else:
            crossed += [f"{run}: {row}" for row in rows]
    return crossed, unsure


def _print_run(
    said: Verdict,
    table: pd.DataFrame | None,
    groups: pd.DataFrame | None,
    parts: xr.Dataset | None,
    *,
    whole: bool,
) -> None:
    """The verdict and the tables; of a run among those of a folder, whose table is None, the head of the verdict."""
    width = max(min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS), 40)
    print((said.text(width) if table is not None else said.head(width)) + "\n")
    if table is not None:
        _print_groups(groups)
        _print_table(table, whole=whole)
    if parts is not None:
        print(f"\n{unit_table.text(parts)}")


def _trees(named: list[str], *, in_folder: bool) -> tuple[dict[str, Any], dict[str, CorruptRun]]:
    """The runs, opened; and of those in a folder that are damaged, what is.

    Raises:
        CorruptRun: for a damaged run, unless it lies in a folder.
    """
    trees: dict[str, Any] = {}
    damaged: dict[str, CorruptRun] = {}
    for run in named:
        try:
            trees[run] = opened(run)
        except CorruptRun as error:
            if not in_folder:
                raise
            damaged[run] = error
    return trees, damaged


def _views(
    trees: dict[str, Any],
    overview: Callable[[Any], Overview],
    damaged: dict[str, CorruptRun],
    *,
    in_folder: bool,
    quiet: bool,
) -> tuple[dict[str, Overview], dict[str, Any]]:
    """The overviews; and of runs that hold nothing to measure, why, and what their books say.

    Args:
        damaged: runs of a folder that cannot be read; those which are seen to be, when they are measured, are added.

    Raises:
        CorruptRun, NothingRecorded: for the first of these, unless it lies in a folder beside one that can be measured.
    """
    from dominance.analyse.verdict.doubts import accounts

    views: dict[str, Overview] = {}
    unmeasured: dict[str, Any] = {}
    for run, tree in trees.items():
        try:
            views[run] = overview(tree)
        except CorruptRun as error:
            if not in_folder:
                raise
            damaged[run] = error
        except NothingRecorded as error:
            ended = [] if tree.attrs.get("status") in (None, "complete") else [f"Status: {state(run, tree)}."]
            unmeasured[run] = {"unmeasured": str(error), "remarks": [*accounts(tree), *ended]}
            if not in_folder or (len(unmeasured) == len(trees) and not damaged):
                if not quiet and unmeasured[run]["remarks"]:
                    print(f"{run}\n\n" + "\n".join(unmeasured[run]["remarks"]))
                raise
    if damaged and not views:
        raise next(iter(damaged.values()))
    return views, unmeasured | {run: {"unmeasured": str(error), "remarks": []} for run, error in damaged.items()}


def _say_unmeasured(run: str, why: dict[str, Any], *, first: bool, quiet: bool) -> None:
    if not quiet:
        lines = [f"- Not measured: {why['unmeasured'].removeprefix(f'{run}: ')}.", *why["remarks"]]
        print("\n" * (not first) + f"{run}\n\n" + "\n".join(lines))


def _heading(run: str, tree: Any, table: pd.DataFrame) -> str:
    ended = "" if tree.attrs.get("status") in (None, "complete") else state(run, tree)
    return "; ".join(filter(None, (f"{run}, step {table.attrs['step']}", ended, models(run, tree.attrs))))


def _document(run: str, table: pd.DataFrame, said: Verdict, groups: pd.DataFrame | None) -> dict[str, Any]:
    rows = []
    for row in table.reset_index().to_dict("records"):
        rau = {bucket: row[bucket] for bucket in BUCKETS}
        rest = {name: row[name] for name in UNITS if name != "rau"}
        rows.append({"layer": row["layer"], "task": row["task"], "rau": rau, **rest})
    told = {"path": str(run), **{str(key): value for key, value in table.attrs.items()}, **said.to_dict(), "rows": rows}
    return told if groups is None else {**told, "groups": groups.reset_index().to_dict("records")}


def _print_groups(shares: pd.DataFrame | None, most: int = 12) -> None:
    """What groups of examples have of the batches, and what they make of them."""
    if shares is None:
        return
    print(f"Share of the {shares.attrs['unit']}, and of the tasks' squared gradients and updates, in %:\n")
    rows = [[str(task), *map(_percent, row)] for task, row in zip(shares.index, shares.to_numpy(), strict=True)]
    if len(rows) > most:
        rest = shares.iloc[most - 1 :].sum(min_count=1)
        rows = [*rows[: most - 1], [f"{len(shares) - most + 1} more", *map(_percent, rest)]]
    print(
        aligned([["task", shares.attrs["unit"], "gradient", "update"], *rows], right=[False, True, True, True]) + "\n"
    )


def _print_table(table: pd.DataFrame, *, whole: bool) -> None:
    print("Share of the parameters, in %, whose rAU lies in each bucket; effective number")
    print("of tasks; median norms of gradient and update; mean gradient conflict degree:\n")
    tasks = table.index.get_level_values("task").nunique()
    table, rest = (table, "") if whole else folded(table)
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
    if rest:
        print("\n" + fill(rest, min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS)))


def _print_rich(rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for heading, right in zip(HEADINGS, RIGHT, strict=True):
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    console = Console()
    widths = [max(len(row[i]) for row in (HEADINGS, *rows)) for i in range(len(HEADINGS))]
    if sum(widths) + len(widths) - 1 > console.width:
        _print_by_layer(console, rows, console.width - sum(widths[2:]) - len(widths[2:]))
        return
    for row in rows:
        owner = row[6].isdecimal() and int(row[6]) > 50
        table.add_row(*(Text(cell, style="bold" if owner and i in (1, 6) else "") for i, cell in enumerate(row)))
    console.print(table)


def _print_by_layer(console: Console, rows: list[list[str]], room: int) -> None:
    """Names too long for columns beside the numbers: a line for each layer, and below it its tasks.

    Args:
        room: characters that are left for the name of a task.
    """
    from rich.text import Text

    cells = [[shortened(row[1], max(room, 8)), *row[2:]] for row in (HEADINGS, *rows)]
    heading, *lines = aligned(cells, right=RIGHT[1:], gap=1).splitlines()
    console.print(Text(heading), no_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        if row[0]:
            console.print(Text(shortened(row[0], console.width), style="underline"), no_wrap=True)
        owner = row[6].isdecimal() and int(row[6]) > 50
        console.print(Text(line, style="bold" if owner else ""), no_wrap=True)


def _percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _short(value: float) -> str:
    """Three digits: ``0.00123``, ``1.2e-05``, ``12.3``."""
    return "-" if math.isnan(value) else f"{value:.3g}"
