"""A remedy as a change of the script's own lines, where the run knows those that have to be changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dominance.schema import LOSS_SUM, TRAINING_LINES

Replaced = tuple[int, int, str]
"""Bytes from and to of a line, and what takes their place."""

TASK_WISE: dict[str, tuple[str, tuple[str, ...], str]] = {
    "Adam": ("AdaTaskAdam", ("lr", "betas", "eps", "weight_decay", "amsgrad", "foreach"), ""),
    "AdamW": (
        "AdaTaskAdam",
        ("lr", "betas", "eps", "weight_decay", "amsgrad", "foreach"),
        ", decoupled_weight_decay=True",
    ),
    "RMSprop": ("AdaTaskRMSprop", ("lr", "alpha", "eps", "weight_decay", "foreach"), ""),
    "Adagrad": (
        "AdaTaskAdagrad",
        ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "foreach"),
        "",
    ),
}
"""Class of the script's optimizer -> the one in its place, the arguments that both have, and one more."""
_COMBINERS = {"imtl-g": "IMTLG", "uw": "UW", "pcgrad": "PCGrad", "cagrad": "CAGrad", "mocograd": "MoCoGrad"}
_DECAY_OF_ADAMW = "weight_decay=0.01"
"""What torch's AdamW has where nothing is given."""


def weighted(run: xr.DataTree, factors: Mapping[str, float]) -> str:
    """The unified diff that multiplies tasks' losses by these factors; "" where it is not certain where.

    Args:
        run: of a script.
        factors: task -> its factor; 1 changes nothing.
    """
    known = run.attrs.get(LOSS_SUM)
    wanted = {task: factor for task, factor in factors.items() if factor != 1}
    if not known or "lines" not in known or not wanted or not set(wanted) <= set(known["tasks"]):
        return ""
    if each := known.get("each"):
        start, end, before, behind = each
        table = ", ".join(f"{json.dumps(task, ensure_ascii=False)}: {wanted[task]:.3g}" for task in sorted(wanted))
        new = [(start, end, f"{before}{{{table}}}{behind}")]
    else:
        new = [(known["tasks"][task], known["tasks"][task], f"{factor:.3g} * ") for task, factor in wanted.items()]
    old = "\n".join(known["lines"])
    changed = zip(old.split("\n"), _replaced(old, new).split("\n"), strict=True)
    lines = {known["line"] + i: each for i, each in enumerate(changed) if each[0] != each[1]}
    return _diff(known["file"], {number: ([old], [new]) for number, (old, new) in lines.items()})


def by_method(run: xr.DataTree, method: str) -> str:
    """The unified diff that writes a method of ``dominance.optim`` into the script; "" where it is not certain how.

    Args:
        run: of a script.
        method: "adatask", or one whose combiner needs no more than the tasks.
    """
    known = run.attrs.get(TRAINING_LINES)
    tasks = [str(task) for task in run["task"].to_numpy()]
    if not known or len(run.attrs.get("optimizers") or ()) != 1:
        return ""
    if not known["whole"] and set(known["losses"]) != set(tasks):
        return ""
    literal = ", ".join(f"{json.dumps(task, ensure_ascii=False)}: {known['losses'].get(task)}" for task in tasks)
    losses = known["whole"] or f"{{{literal}}}"
    made, call = known["optimizer"], known["backward"]
    edits: dict[int, list[Replaced]] = {}
    behind: list[str] = []
    if method == "adatask":
        edits = _task_wise(made)
        text = f"{made['variable']}.backward({losses})"
    else:
        behind = _combiner(made, method, tasks)
        parameters = made["parameters"]
        if not parameters:
            parameters = f"[p for group in {made['variable']}.param_groups for p in group['params']]"
        text = f"combiner.backward({losses}, {parameters})"
    if not edits and not behind:
        return ""
    edits.setdefault(call["line"], []).append((call["from"], call["to"], text))
    lines = known["lines"]
    changes = {line: ([lines[str(line)]], [_replaced(lines[str(line)], each)]) for line, each in edits.items()}
    if behind:
        old, new = changes.get(made["after"], ([lines[str(made["after"])]],) * 2)
        changes[made["after"]] = old, [*new, *(" " * made["indent"] + line for line in behind)]
    return _diff(known["file"], changes, {known["import_before"]: ["import dominance.optim"]})


def _task_wise(made: Mapping[str, Any]) -> dict[int, list[Replaced]]:
    """Line -> the changes that make AdaTask's optimizer of the script's, with the arguments it was given."""
    name, known, more = TASK_WISE.get(made["class"], ("", (), ""))
    given = set(made["given"])
    if not name or not given <= {"params", *known}:
        return {}
    if made["class"] == "AdamW" and "weight_decay" not in given:
        more = f", {_DECAY_OF_ADAMW}{more}"
    edits: dict[int, list[Replaced]] = {made["line"]: [(made["from"], made["to"], f"dominance.optim.{name}")]}
    if more:
        line, at = made["end"]
        edits.setdefault(line, []).append((at, at, more))
    return edits


def _combiner(made: Mapping[str, Any], method: str, tasks: Sequence[str]) -> list[str]:
    """The lines behind the one that makes the optimizer; none where a combiner cannot be made there."""
    learns = method == "uw"
    if method not in _COMBINERS or not made["in_scope"] or (learns and not made["zeroed"]):
        return []
    if not learns:
        return [f"combiner = dominance.optim.{_COMBINERS[method]}()"]
    named = json.dumps(list(tasks), ensure_ascii=False)
    group = '{"params": list(combiner.parameters()), "weight_decay": 0.0}'
    return [f"combiner = dominance.optim.UW({named})", f"{made['variable']}.add_param_group({group})"]


def _replaced(text: str, changes: Sequence[Replaced]) -> str:
    made = text.encode()
    for start, end, new in sorted(changes, reverse=True):
        made = made[:start] + new.encode() + made[end:]
    return made.decode()


def _diff(
    file: str, changes: Mapping[int, tuple[list[str], list[str]]], before: Mapping[int, list[str]] | None = None
) -> str:
    """A unified diff without context.

    Args:
        changes: number of a line -> what it is, and what it becomes.
        before: number of a line -> new ones in front of it.
    """
    hunks = [(line, *each) for line, each in changes.items()]
    hunks += [(line, [], new) for line, new in (before or {}).items()]
    said, more = [f"--- {file}", f"+++ {file}"], 0
    for line, old, new in sorted(hunks):
        # Of nothing, a hunk gives the line that it comes after.
        start = line if old else line - 1
        said.append(f"@@ -{_range(start, len(old))} +{_range(line + more, len(new))} @@")
        said += [*(f"-{each}" for each in old), *(f"+{each}" for each in new)]
        more += len(new) - len(old)
    return "\n".join(said)


def _range(start: int, count: int) -> str:
    return f"{start}" if count == 1 else f"{start},{count}"
