"""``dominance summary --by``: whose the experts, heads, neurons or rows of an embedding are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dominance_cli.text import aligned

if TYPE_CHECKING:
    import xarray as xr

FEW = 6
"""Names of units that one task alone reaches."""

MOST = 40
"""Rows that are printed, those with the largest share of one task first; JSON has all."""

HELP = (
    "Whose each part is, too: expert, head, neuron, row (of embeddings), or a pattern of parameter names as"
    " 'moe.{expert}.*'."
)


def rows(found: xr.Dataset) -> list[dict[str, Any]]:
    """For JSON: one for each unit."""
    tasks = [str(task) for task in found["task"].values]
    told = []
    for i, label in enumerate(found["layer"].values.tolist()):
        one = found.isel(layer=i)
        of_tasks = {
            name: dict(zip(tasks, one[name].values.tolist(), strict=True)) for name in ("share", "use", "frequency")
        }
        sizes = {"touched": float(one["touched"]), "sampled": int(one["sampled"]), "size": int(one["size"])}
        told.append({"unit": str(label), "owner": str(one["owner"].item()) or None, **of_tasks, **sizes})
    return told


def text(found: xr.Dataset) -> str:
    """A line for each unit: its owner, the tasks' shares of its updates, and what part of each task goes through it."""
    tasks = [str(task) for task in found["task"].values]
    share = found["share"].transpose("layer", "task")
    order = (-share.max("task")).fillna(1.0).argsort(kind="stable").values
    few = sorted(order[:MOST].tolist()) if len(order) > MOST else range(len(order))
    columns = ["unit", "owner", *tasks, *(f"{task}: use" for task in tasks), "steps"]
    table = []
    for i in few:
        one = found.isel(layer=i)
        numbers = [*share.values[i], *one["use"].values, float(one["touched"])]
        table.append([str(one["layer"].item()), str(one["owner"].item()) or "-", *map(_percent, numbers)])
    said = (
        "Share of each task in the unit's squared updates; the part of the task's squared gradient that goes through\n"
        "it (use); recorded steps in which it has a gradient; in %:\n\n"
    )
    rest = [f"{len(order) - len(few)} more, in which no task has a larger share."] if len(order) > len(few) else []
    for task in tasks:
        own = [label for label, owner in found.attrs["alone"].items() if owner == task]
        more = f" and {len(own) - FEW} more" if len(own) > FEW else ""
        rest += [f"Reached by {task} alone: {', '.join(own[:FEW])}{more}."] if own else []
    shown = aligned([columns, *table], right=[False, False, *[True] * (len(columns) - 2)])
    return said + shown + "".join(f"\n{line}" for line in rest)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f}"
