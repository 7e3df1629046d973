"""A recorded training against what was taken by hand: names, gradients, steps, parts, and the training itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dominance

CLOSE = 2e-3
"""Largest difference from the gradient by hand, relative to the parameter's largest entry (float32, bf16 upcast)."""
ROUNDED = 1e-4
"""What is smaller than this part of a step's largest gradient is compared as if it were this large: a bias ahead of a
norm has a gradient of zero, of which each pass leaves other rounding, some 1e-8 of what was added up."""


@dataclass
class Outcome:
    """What one program came to. ``wrong`` holds a sentence for each thing that is not as it should be."""

    tasks: list[str] = field(default_factory=list)
    steps: int = 0
    wrong: list[str] = field(default_factory=list)


def judge(run: Path, by_hand: Path | None, tasks: tuple[str, ...], attribution: str) -> Outcome:
    """Judge one run.

    Args:
        run: the recorded run.
        by_hand: rows that _by_hand.py kept of the same training, or None where the losses are out of reach.
        tasks: the names that a reader of the program expects.
        attribution: how the steps should have been split.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = dominance.open_run(run)
    found = Outcome(tasks=[str(task) for task in tree.attrs["tasks"]], steps=int(tree.sizes["step"]))
    if set(found.tasks) != set(tasks):
        found.wrong.append(f"tasks {', '.join(found.tasks)}; expected {', '.join(tasks)}")
    if tree.attrs["attribution"] != attribution:
        found.wrong.append(f"attribution {tree.attrs['attribution']}")
    if "update" in tree.children and found.steps:
        found.wrong += _parts(tree)
    if by_hand is not None:
        rows = torch.load(by_hand, weights_only=False)
        taken = int(tree.attrs["steps_taken"])
        if not found.steps == taken == len(rows):
            found.wrong.append(f"{found.steps} steps recorded, {taken} counted, {len(rows)} taken")
        found.wrong += _gradients(tree, rows, dict(_pairs(found.tasks, tasks)))
    return found


def _pairs(found: list[str], expected: tuple[str, ...]) -> list[tuple[str, str]]:
    """Found task and expected one: by name, else by order, so that a wrong name does not hide a right gradient."""
    if set(found) == set(expected) or len(found) != len(expected):
        return [(name, name) for name in found]
    return list(zip(found, expected, strict=True))


def _parts(tree: Any) -> list[str]:
    update = tree["update"]
    of_tasks = update["update"].values
    absent = np.isnan(of_tasks).all(2, keepdims=True) & ~np.isnan(of_tasks).all((1, 2), keepdims=True)
    of_tasks = np.where(absent, 0, of_tasks)  # a task that joined later, or is missing in a batch
    parts = of_tasks.sum(1) + sum(update[part].values for part in ("residual", "unattributed", "decay", "outside"))
    total = update["total"].values
    if not np.isfinite(total).all():
        return [f"{int((~np.isfinite(total)).any(1).sum())} steps whose update is not finite"]
    if not np.isfinite(parts).all():
        return [f"{int((~np.isfinite(parts)).any(1).sum())} steps whose parts are not finite"]
    largest = np.abs(np.concatenate([of_tasks.ravel(), total.ravel()])).max()  # parts may cancel
    worst = float(np.abs(parts - total).max() / max(largest, 1e-30))
    return [f"parts miss the step by {worst:.1e}"] if worst > CLOSE else []


def _gradients(tree: Any, rows: list[dict[str, Any]], names: dict[str, str]) -> list[str]:
    gradient = tree["gradient/gradient"]
    values, parameter, index = gradient.values, gradient["parameter"].values, gradient["index"].values
    total = tree["update/total"].values if "update" in tree.children else None
    wrong: dict[str, tuple[float, int]] = {}

    def compare(what: str, got: np.ndarray, want: np.ndarray, step: int, least: float = 0.0) -> None:
        scale = max(float(np.abs(want).max(initial=0)), least, 1e-7)
        off = float(np.abs(np.nan_to_num(got, nan=0.0 if not want.any() else np.inf) - want).max(initial=0)) / scale
        if off > CLOSE and off > wrong.get(what, (0.0, 0))[0]:
            wrong[what] = off, step

    for i, step in enumerate(tree["step"].values.tolist()):
        if step >= len(rows):
            continue
        row = rows[step]
        each = [values for of_task in row["gradient"].values() for values in of_task.values()]
        least = ROUNDED * max((float(values.abs().max()) for values in each if values.numel()), default=0.0)
        for name in np.unique(parameter):
            chosen = parameter == name
            own = next((n for n in row["moved"] if name == n or name.endswith(f".{n}") or n.endswith(f".{name}")), None)
            if own is None:
                continue
            for k, (task, expected) in enumerate(names.items()):
                full = row["gradient"].get(expected, {}).get(own)
                want = np.zeros(chosen.sum()) if full is None else full.numpy().ravel()[index[chosen]]
                compare(f"gradient of {task}", values[i, k, chosen], want, step, least)
            if total is not None:
                compare("step taken", total[i, chosen], row["moved"][own].numpy().ravel()[index[chosen]], step)
    return [f"{what}: off by {off:.2g} at step {step}" for what, (off, step) in sorted(wrong.items())]
