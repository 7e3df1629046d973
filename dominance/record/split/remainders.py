"""One task's gradient as what the others leave of the gradient that the script's own pass has put into ``.grad``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.guest.hooks import dense
from dominance.record.guest.torch_internals import flatten, unflatten
from dominance.record.split.closing import measured
from dominance.record.split.packs import SMALL

ROUNDINGS = 64
"""What rounding may leave of a gradient when all passes are added up, in spacings of its number format, beside its norm
and those of the tasks' gradients: sums over many rows come to less than their summands."""
_FEWEST = 2


@dataclass
class Remainder:
    """The task of a backward() of which no pass of our own was made.

    Its gradient of a parameter is off by what rounding leaves when all passes are added up. Up to ``ROUNDINGS`` nothing
    tells it from zero, and it is zero.
    """

    task: str
    reach: Collection[Tensor]
    """The parameters that it reaches."""
    closed: set[Tensor] = field(default_factory=set)
    """Of those whose gradients are there, the ones of which the tasks' gradients add up to all that came."""

    @torch.no_grad()
    def take(self, parameters: Iterable[Tensor], taken: Mapping[str, dict[Tensor, Tensor]]) -> None:
        """The backward() has filled ``.grad`` of these parameters, which it met without a gradient.

        Args:
            parameters: some, or all.
            taken: the gradients of each task; those of this one are entered.
        """
        mine = taken[self.task]
        others = [held for name, held in taken.items() if name != self.task]
        waiting = []
        for p in parameters:
            if p.grad is None or p not in self.reach or p in mine:
                continue
            beside = [held[p] for held in others if p in held]
            if beside:
                waiting.append((p, dense(p.grad), beside))
            else:
                mine[p] = p.grad.clone()
                self.closed.add(p)
        small = [each for each in waiting if _is_small(*each)]
        if len(small) >= _FEWEST:
            self._take_together(small, mine)
        for p, total, beside in waiting:
            if p not in mine:
                self._take_one(p, total, beside, mine)

    def _take_one(self, p: Tensor, total: Tensor, beside: Sequence[Tensor], mine: dict[Tensor, Tensor]) -> None:
        if answers.waits(total):
            left = total - beside[0]
            for gradient in beside[1:]:
                left -= gradient
            norms = torch.stack([torch.linalg.vector_norm(each) for each in (total, *beside)])
            # A factor that lies on the device: nobody waits to know whether it is one or zero.
            mine[p] = left * ~(torch.linalg.vector_norm(left) < _rounding(p) * norms.sum())
            return
        left, (whole, off, *each) = measured(total, beside)
        if off < _rounding(p) * (whole + sum(each)):
            mine[p] = torch.zeros_like(left)
        else:
            mine[p] = left
            self.closed.add(p)

    def _take_together(
        self, small: Sequence[tuple[Tensor, Tensor, Sequence[Tensor]]], mine: dict[Tensor, Tensor]
    ) -> None:
        """What an operation costs by itself is paid once for all."""
        totals = [total for _, total, _ in small]
        starts = np.array([0, *accumulate(total.numel() for total in totals)][:-1])
        most = max(len(beside) for _, _, beside in small)
        rows = [totals, *([b[i] if i < len(b) else torch.zeros_like(t) for _, t, b in small] for i in range(most))]
        flat = flatten([tensor for row in rows for tensor in row]).numpy().reshape(len(rows), -1)
        left = flat[0] - flat[1]
        for row in flat[2:]:
            left -= row
        with np.errstate(invalid="ignore", over="ignore"):  # of gradients that are not finite
            squares = np.square(np.concatenate([flat, left[None]]), dtype=np.float64)
            *sizes, off = np.sqrt(np.add.reduceat(squares, starts, axis=1))
            zero = off < np.array([_rounding(p) for p, _, _ in small]) * np.sum(sizes, axis=0)
        for (p, total, _), gradient, nothing in zip(
            small, unflatten(torch.from_numpy(left), totals), zero, strict=True
        ):
            mine[p] = torch.zeros_like(total) if nothing else gradient
            if not nothing:
                self.closed.add(p)


def _rounding(parameter: Tensor) -> float:
    return ROUNDINGS * torch.finfo(parameter.dtype).eps


def _is_small(parameter: Tensor, total: Tensor, beside: Sequence[Tensor]) -> bool:
    if not 0 < parameter.numel() <= SMALL or answers.waits(total):
        return False
    return all(each.dtype is torch.float32 and each.shape == total.shape for each in (total, *beside))
