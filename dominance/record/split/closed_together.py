"""Small gradients closed all at once: what an operation costs by itself is paid once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.guest.torch_internals import flatten, unflatten
from dominance.record.split.closing import Closing, rounding_of
from dominance.record.split.packs import SMALL

_FEWEST = 2
Floats = npt.NDArray[np.float32]


def close_together(closings: Sequence[Closing]) -> None:
    """Close those of these that are small, where their tasks leave rounding and no more, and it all goes to one task;
    the others are left to ``Closing.close``."""
    small = [each for each in closings if _is_small(each)]
    if len(small) < _FEWEST:
        return
    names = list(dict.fromkeys(name for each in small for name in each.tasks))
    totals = [each.total for each in small]
    starts = np.array([0, *accumulate(total.numel() for total in totals)][:-1])
    rows = _rows(small, names)
    left = rows[0].copy()
    for gradient in rows[1:]:
        left -= gradient
    with np.errstate(invalid="ignore", over="ignore"):  # of gradients that are not finite
        squares = np.square(np.concatenate([rows, left[None]]), dtype=np.float64)
        whole, *each_task, off = np.sqrt(np.add.reduceat(squares, starts, axis=1))
    sizes = np.array(each_task)
    limit = np.array([rounding_of(each.parameter) for each in small]) * (whole + sizes.sum(0))
    # Of zeros alone, which a task that does not reach has too, nothing is left.
    largest = sizes.argmax(0)
    lengths = np.diff([*starts, rows.shape[1]])
    to = rows[1 + np.repeat(largest, lengths), np.arange(rows.shape[1])]
    something, beyond = (
        np.logical_or.reduceat(where, starts) for where in (left != 0, (left != 0) & (to == 0))
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        closed = to + left
        quick = (off <= limit) & ~beyond
    there = np.logical_or.reduceat(closed != 0, starts)
    views = unflatten(torch.from_numpy(closed), totals)
    for i in np.flatnonzero(quick).tolist():
        found = small[i].found = dict(small[i].tasks)
        if something[i]:
            found[names[largest[i]]] = views[i]
        reaches = sizes[:, i] > 0
        reaches[largest[i]] = there[i]
        small[i].reaching = [other for other, reached in zip(names, reaches, strict=True) if reached]


def _is_small(closing: Closing) -> bool:
    total = closing.total
    if closing.found is not None or not closing.tasks or not 0 < total.numel() <= SMALL or answers.waits(total):
        return False
    return all(
        each.dtype is torch.float32 and each.layout is torch.strided and each.shape == total.shape
        for each in (total, *closing.tasks.values())
    )


def _rows(closings: Sequence[Closing], names: Sequence[str]) -> Floats:
    """What was fed, and then each task's gradient, of all side by side; zeros where a task does not reach."""
    parts = [each.total for each in closings]
    parts += [each.tasks.get(name, _zeros(each.total.numel())) for name in names for each in closings]
    rows: Floats = flatten(parts).detach().numpy().reshape(1 + len(names), -1)
    return rows


@lru_cache(maxsize=64)
def _zeros(count: int) -> Tensor:
    """Only to be read."""
    return torch.zeros(count)
