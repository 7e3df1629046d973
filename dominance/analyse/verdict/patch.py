"""A loss weight as a change of the script's own line, where the run knows the line in which the losses are added up."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import xarray as xr

from dominance.schema import LOSS_SUM


def weighted(run: xr.DataTree, factors: Mapping[str, float]) -> str:
    """The unified diff that multiplies tasks' losses by these factors; "" where it is not certain where.

    Args:
        run: of a script.
        factors: task -> its factor; 1 changes nothing.
    """
    known = run.attrs.get(LOSS_SUM)
    wanted = {task: factor for task, factor in factors.items() if factor != 1}
    # Of a run by a method the losses are no longer added up so.
    if (
        not isinstance(known, Mapping)
        or not wanted
        or not set(wanted) <= set(known["tasks"])
        or run.attrs.get("method")
    ):
        return ""
    line, file, number = str(known["text"]), str(known["file"]), int(known["line"])
    changed = line.encode()
    for task in sorted(wanted, key=lambda task: -int(known["tasks"][task])):
        at = int(known["tasks"][task])
        changed = changed[:at] + f"{wanted[task]:.3g} * ".encode() + changed[at:]
    head, _, *rest = difflib.unified_diff([line], [changed.decode()], file, file, lineterm="")
    place = f"@@ -{number} +{number} @@"
    return "\n".join([head, f"+++ {file}", place, *rest[1:]])
