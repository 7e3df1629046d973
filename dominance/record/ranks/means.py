"""Means of gradients over the processes, where some of them may have no gradient of a task or of a parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dominance.record.group import Group

Held = Mapping[str, Mapping[Tensor, Tensor]]
"""Gradients of parameters, under names that are the same in all processes."""


@dataclass(frozen=True)
class Means:
    """Averages gradients over the processes of a group.

    Args:
        group: the processes.
        parameters: those whose gradients are averaged, in one order in all processes.
        count: what the sums are divided by.
    """

    group: Group
    parameters: Sequence[Tensor]
    count: int

    def of(self, reached: Sequence[Mapping[str, str]], mine: Held) -> dict[str, dict[Tensor, Tensor]]:
        """The means of what the processes hold; what some of them do not have counts as zero there.

        Args:
            reached: ``reach`` of each process, by rank.
            mine: what this one holds. What is of other parameters is left out.

        Raises:
            Lost: another process is gone.
        """
        wanted: list[tuple[str, Tensor]] = []
        for name in dict.fromkeys(name for each in reached for name in each):
            masks = [int(each[name], 16) for each in reached if name in each]
            wanted += [(name, p) for place, p in enumerate(self.parameters) if any(m >> place & 1 for m in masks)]
        given = [_dense(mine.get(name, {}).get(p), p) for name, p in wanted]
        found: dict[str, dict[Tensor, Tensor]] = {}
        for (name, p), mean in zip(wanted, self.group.mean(given, self.count), strict=True):
            found.setdefault(name, {})[p] = mean
        return found


def reach(held: Held, parameters: Iterable[Tensor]) -> dict[str, str]:
    """Which of the parameters each name has a gradient of: a hexadecimal number of a bit for each."""
    places = list(enumerate(parameters))
    return {name: f"{sum(1 << place for place, p in places if p in of):x}" for name, of in held.items()}


def _dense(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """A gradient as the books keep it: float32 where the parameter is of half precision; zeros where there is none."""
    kind = torch.float32 if parameter.dtype in (torch.float16, torch.bfloat16) else parameter.dtype
    if gradient is None:
        return torch.zeros(parameter.shape, dtype=kind, device=parameter.device)
    return gradient.to(kind)
