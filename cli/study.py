"""``dominance study``: a table of the runs below a folder, and of their means over seeds."""

from __future__ import annotations

import math
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance_cli import stderr
from dominance_cli.text import aligned, print_json

if TYPE_CHECKING:
    from dominance.analyse.study.listing import ListedRun, Listing
    from dominance.analyse.study.means import Cell, Mean

MOST_ROWS = 50
"""Of more runs those that are complete are not listed one by one."""
_LONGEST = 28
_COLUMNS = ("run", "state", "steps", "trial", "owner", "n")
"""Headings of what is shown beside settings."""
_MOST_NAMED = 3
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}

UNITS = {
    "losses": "unweighted, mean over the last fifth of the recorded steps",
    "metrics": "the last value that was logged, by split, task and name",
    "scores": "mean over the complete runs of a cell, half of its 95 % interval (Student's t), and their number",
    "owner": "of all shared parameters, the share with rAU over 80 % of the task that has most of them",
}

Key = tuple[str, str]
Owners = dict[str, tuple[str, float]]


def study(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder below which runs lie, at any depth.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="SETTING", help="Take means over it; may be repeated. [default: seed]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show metrics of this split. [default: final, test, val, train, or losses]"),
    ] = None,
    owner: Annotated[
        bool, typer.Option("--owner", help="Also say who owns most of the shared parameters; reads the updates.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--all", help=f"List all runs. [default: of more than {MOST_ROWS} the unfinished ones]")
    ] = False,
) -> int:
    """List the runs below a folder: state, settings that differ, scores, and means over seeds.

    Example: dominance study trials
    """
    from dominance.analyse.study.listing import listing
    from dominance.analyse.study.means import SEED, cells
    from dominance.errors import BadOption

    found = listing(folder)
    there = list(dict.fromkeys(of for run in found.runs for of, _, _ in run.metrics))
    if split is not None and split not in there:
        raise BadOption(f"--split {split}: no run logged under it", fix=f"choose from {', '.join(there) or 'none'}")
    shown = found.split if split is None else split
    names, groups = cells(found, shown, over or [SEED])
    owners = _owners(found.there) if owner else {}
    if as_json:
        print_json(_document(found, shown, names, groups, owners if owner else None))
    else:
        print(_text(found, shown, names, groups, owners, over=over or [SEED], whole=whole))
    if found.unreadable:
        said = [f"{name}: {why}" for name, why in list(found.unreadable.items())[:_MOST_NAMED]]
        more = len(found.unreadable) - len(said)
        stderr.note(f"cannot be read: {'; '.join(said)}{f'; and {more} more' if more else ''}")
    if found.there:
        stderr.line(f"dominance summary {shlex.quote(found.there[0].path)}")
    return 0


def _owners(runs: Sequence[ListedRun]) -> Owners:
    from dominance.analyse.study.trials import owner_of
    from dominance.store.reader import open_run

    return {run.name: owner_of([open_run(run.path)]) for run in runs}


def _text(
    found: Listing,
    split: str,
    names: Sequence[str],
    groups: Sequence[Cell],
    owners: Owners,
    *,
    over: Sequence[str],
    whole: bool,
) -> str:
    from dominance.analyse.study.means import scores_of

    width = max(shutil.get_terminal_size((80, 24)).columns, 40)
    keys = list(dict.fromkeys(key for run in found.runs for key in scores_of(run, split)))
    parts = [fill(_head(found), width)]
    if found.same:
        parts.append(fill("All: " + ", ".join(f"{name} {_cell(value)}" for name, value in found.same.items()), width))
    several = len(groups) < len(found.there)
    listed = found.runs if whole or not several or len(found.runs) <= MOST_ROWS else _unfinished(found.runs)
    if listed:
        parts.append(_blocks(_runs(found, listed, split, keys, owners), width))
    if len(listed) < len(found.runs):
        parts.append(f"{len(found.runs) - len(listed)} complete runs are not listed; --all lists them.")
    if several:
        parts.append(fill(_of_means(over, groups), width) + "\n\n" + _blocks(_means(names, groups, keys, found), width))
    what = (
        f"the last value of the split {split!r}" if split else "losses, mean over the last fifth of the recorded steps"
    )
    parts.append(fill(f"Scores: {what}.", width))
    if owners:
        parts.append(fill(f"owner: {UNITS['owner']}.", width))
    parts += [fill(f"{run.name}: no run yet{f'; {run.said}' if run.said else ''}", width) for run in _begun(found.runs)]
    return "\n\n".join(parts)


def _head(found: Listing) -> str:
    states = Counter(run.state for run in found.runs)
    count = len(found.there)
    text = f"{found.folder}: {count} run{'' if count == 1 else 's'}"
    if count:
        text += f", {', '.join(f'{states[state]} {state}' for state in states if state != 'no run')}"
    jobs = states["no run"]
    return text + (f"; {jobs} job{'' if jobs == 1 else 's'} without a run" if jobs else "")


def _of_means(over: Sequence[str], groups: Sequence[Cell]) -> str:
    text = f"Over {', '.join(over)}: mean over n runs ± half of the 95 % interval (Student's t)"
    few = next((group for group in groups if 0 < group.complete < len(group.runs)), None)
    if few is None:
        return f"{text}."
    left = len(few.runs) - few.complete
    verb = "is" if left == 1 else "are"
    return f"{text}; n {_n(few)}: of {len(few.runs)} runs {left} {verb} not complete, and left out."


def _n(group: Cell) -> str:
    return str(group.complete) if group.complete == len(group.runs) else f"{group.complete}/{len(group.runs)}"


def _unfinished(runs: Sequence[ListedRun]) -> list[ListedRun]:
    return [run for run in runs if run.state != "complete"]


def _begun(runs: Sequence[ListedRun]) -> list[ListedRun]:
    return [run for run in runs if run.state == "no run"]


def _runs(
    found: Listing, listed: Sequence[ListedRun], split: str, keys: Sequence[Key], owners: Owners
) -> list[list[str]]:
    """A row for each run, under its headings."""
    from dominance.analyse.study.means import scores_of

    beside = [name for name in ("seed", "trial") if any(getattr(run, name) is not None for run in listed)]
    rows = [["run", "state", "steps", *map(_heading, found.names), *beside, *_titles(keys, found, split)]]
    rows[0] += ["owner"] if owners else []
    for run in listed:
        scores = scores_of(run, split)
        row = [_end(run.name), run.state, str(run.steps) if run.state != "no run" else ""]
        row += [_cell(value) for value in found.chosen(run, found.names)] if run.state != "no run" else []
        row += [""] * (3 + len(found.names) - len(row))
        row += [_cell(getattr(run, name)) for name in beside]
        row += [_number(scores.get(key, math.nan)) for key in keys]
        row += [_owner(owners.get(run.name))] if owners else []
        rows.append(row)
    return rows


def _means(names: Sequence[str], groups: Sequence[Cell], keys: Sequence[Key], found: Listing) -> list[list[str]]:
    metric = "" if all(name == "loss" for _, name in keys) else "given"
    rows = [[*map(_heading, names), "n", *_titles(keys, found, metric)]]
    for group in groups:
        rows.append([*map(_cell, group.chosen), _n(group), *(_estimate(group.scores.get(key), group) for key in keys)])
    return rows


def _heading(name: str) -> str:
    """Of a setting: no two columns have one heading.

    >>> _heading("lr"), _heading("steps")
    ('lr', 'set steps')
    """
    return f"set {name}" if name in _COLUMNS else name


def _titles(keys: Sequence[Key], found: Listing, split: str) -> list[str]:
    ways = {key: way for run in found.runs for key, way in run.directions.items()}
    return [
        f"{task} {name}".strip() + _ARROWS.get(ways.get((task, name), "" if split else "lower"), "")
        for task, name in keys
    ]


def _blocks(rows: list[list[str]], width: int) -> str:
    """The table; of one that is too wide, columns that fit beside the first, and the others below."""
    lengths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    blocks: list[list[int]] = [[]]
    room = width - lengths[0]
    left = room
    for i in range(1, len(lengths)):
        if blocks[-1] and lengths[i] + 2 > left:
            blocks.append([])
            left = room
        blocks[-1].append(i)
        left -= lengths[i] + 2
    right = [False, *(all(_is_number(row[i]) for row in rows[1:]) for i in range(1, len(lengths)))]
    pieces = [
        aligned([[row[i] for i in (0, *block)] for row in rows], right=[right[i] for i in (0, *block)])
        for block in blocks
    ]
    return "\n\n".join(pieces)


def _is_number(cell: str) -> bool:
    return cell in ("", "-") or cell.lstrip("-")[:1].isdigit() or cell in ("nan", "inf", "-inf")


def _end(text: str) -> str:
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else _end(str(value))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _estimate(mean: Mean | None, group: Cell) -> str:
    if mean is None or not mean.n:
        return "-"
    text = f"{mean.mean:.4g}" + ("" if math.isnan(mean.half) else f" ±{mean.half:.2g}")
    return text if mean.n == group.complete else f"{text} (n {mean.n})"


def _owner(owner: tuple[str, float] | None) -> str:
    task, share = owner or ("", math.nan)
    return "-" if not task or math.isnan(share) else f"{task} {share:.0%}"


def _document(
    found: Listing, split: str, names: Sequence[str], groups: Sequence[Cell], owners: Owners | None
) -> dict[str, Any]:
    runs = []
    for run in found.runs:
        facts = ("name", "path", "state", "steps", "steps_taken", "seconds", "seed", "trial")
        metrics: dict[str, Any] = {}
        for (of, task, name), value in run.metrics.items():
            metrics.setdefault(of, {}).setdefault(task, {})[name] = value
        told: dict[str, Any] = {"settings": run.settings, "metrics": metrics, "losses": dict(run.losses)}
        if run.state == "no run":
            told["said"] = run.said
        if owners is not None and run.name in owners:
            told["owner"] = dict(zip(("task", "share"), owners[run.name], strict=True))
        runs.append({**{name: getattr(run, name) for name in facts}, **told})
    cells = []
    for group in groups:
        scores: dict[str, Any] = {}
        for (task, name), mean in group.scores.items():
            scores.setdefault(task, {})[name] = vars(mean)
        chosen = dict(zip(names, group.chosen, strict=True))
        inside = [run.name for run in group.runs]
        cells.append({"settings": chosen, "runs": inside, "complete": group.complete, "scores": scores})
    return {
        "units": UNITS,
        "path": found.folder,
        "settings": found.names,
        "same": found.same,
        "split": split,
        "states": dict(Counter(run.state for run in found.runs)),
        "runs": runs,
        "cells": cells,
        "unreadable": found.unreadable,
    }
