"""The row of a step of which each process has a part, because each has a piece of every parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dominance.record.group import Group, Lost

_SUMMED = ("gradient/", "update/", "layer/")
"""What is zero where a process has nothing of it; squares and inner products add up over disjoint coordinates."""


def add_up(group: Group, step: int, without: str | None, values: dict[str, npt.NDArray[Any]]) -> str | None:
    """Put the sums over the processes in the place of this one's part of a row.

    Args:
        group: the processes; each comes here at the end of every step of the schedule.
        step: its number.
        without: why this process has no part of it; None: it has.
        values: the part; written.

    Returns:
        Why there is no row, the same in all processes; None: there is.

    Raises:
        Lost: another process is gone, or at another step.
    """
    closure = float(values["closure"]) if without is None else float("nan")
    everyone = group.gather({"step": step, "without": without, "closure": closure})
    if any(each["step"] != step for each in everyone):
        raise Lost("the processes of the training do not record the same steps")
    reason: str | None = next((each["without"] for each in everyone if each["without"] is not None), None)
    if reason is not None:
        return reason
    names = [name for name in values if name.startswith(_SUMMED)]
    sums = group.mean([torch.from_numpy(np.ascontiguousarray(values[name])) for name in names], 1)
    values |= {name: summed.numpy() for name, summed in zip(names, sums, strict=True)}
    values["closure"] = np.fmax.reduce([np.array(each["closure"]) for each in everyone])
    return None
