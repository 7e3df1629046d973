"""Gradients of groups from the script's own backward(): what enters its operators is looked at as it goes by.

No pass of ours is made. Each operator's rows are told by the examples that they are known to follow (layouts.py), and
what an operator was given is read before it lets it go: nothing is kept but what was asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from dominance.record.split.group_rules import OutputRows
from dominance.record.split.row_products import RowFactors, joined
from dominance.record.split.sampled import Float64s
from dominance.record.tasks.graph import Node

Taking = Callable[[OutputRows], RowFactors | Tensor]
"""Of an operator's rows: what a matrix's gradients are products of, or the gradients of all groups."""


@dataclass
class Taken:
    """What has gone by so far.

    Attributes:
        index: the coordinates that are wanted of some parameters; of the others all are.
        waiting: how many operators that take each parameter in have not gone by.
        gradients: (group, ...) of each parameter.
        grams: inner products over all coordinates of those in ``index``.
        error: what went wrong; nothing is taken from then on.
    """

    index: Mapping[Tensor, Tensor]
    waiting: dict[Tensor, int] = field(default_factory=dict)
    gradients: dict[Tensor, Tensor] = field(default_factory=dict)
    grams: dict[Tensor, Float64s] = field(default_factory=dict)
    error: Exception | None = None
    _factors: dict[Tensor, list[RowFactors]] = field(default_factory=dict)

    def take(self, parameter: Tensor, part: RowFactors | Tensor) -> None:
        """One operator has given its part."""
        self.waiting[parameter] -= 1
        if isinstance(part, Tensor):
            before = self.gradients.get(parameter)
            self.gradients[parameter] = part if before is None else before + part
            return
        self._factors.setdefault(parameter, []).append(part)
        if self.waiting[parameter] == 0:
            self._finish(parameter)

    def finish(self) -> None:
        """The pass is over: operators that have not gone by have no gradient."""
        for parameter in list(self._factors):
            self._finish(parameter)

    def _finish(self, parameter: Tensor) -> None:
        rows = joined(self._factors.pop(parameter))
        self.gradients[parameter], self.grams[parameter] = rows.sampled(self.index[parameter])


class RowsCapture:
    """Looks at a backward() that is about to run. The hooks go with it.

    Args:
        codes_of: of an operator, the group of each row at each of its outputs, given what enters there.
        uses: of each operator, the parameters that it takes in, and how their part is worked out.
        index: the coordinates that are wanted of some parameters.
        groups: how many groups there are.
    """

    def __init__(
        self,
        codes_of: Callable[[Node, Sequence[Tensor | None]], list[Tensor | None]],
        uses: Mapping[Node, Sequence[tuple[Tensor, Taking]]],
        index: Mapping[Tensor, Tensor],
        groups: int,
    ) -> None:
        self.taken = Taken(index)
        self._handles: list[RemovableHandle] = []
        for each in uses.values():
            for parameter, _ in each:
                self.taken.waiting[parameter] = self.taken.waiting.get(parameter, 0) + 1
        for node, each in uses.items():
            codes = functools.partial(codes_of, node)
            self._handles.append(node.register_prehook(functools.partial(_goes_by, self.taken, codes, each, groups)))

    def remove(self) -> None:
        """Take the hooks away; what was taken stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __del__(self) -> None:
        self.remove()


@torch.no_grad()
def _goes_by(
    taken: Taken,
    codes_of: Callable[[Sequence[Tensor | None]], list[Tensor | None]],
    uses: Sequence[tuple[Tensor, Taking]],
    groups: int,
    entering: Sequence[Tensor | None],
) -> None:
    """A hook in the script's pass: it changes nothing, and whatever goes wrong is for later."""
    if taken.error is not None or all(each is None for each in entering):
        return
    given = [None if each is None else each.detach() for each in entering]
    device = next(each for each in given if each is not None).device.type
    try:
        with torch.autocast(device, enabled=False):
            rows = OutputRows(given, codes_of(given), groups)
            for parameter, taking in uses:
                taken.take(parameter, taking(rows))
    except Exception as error:  # noqa: BLE001  the script's backward() must not end by it; it is said when that is over
        taken.error = error
