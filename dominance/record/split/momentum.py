"""What an optimizer remembers of earlier gradients, split into the tasks' parts."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.rules.linear import Linear
from dominance.record.split.by_rows import spread


@dataclass
class Memory:
    """The optimizer's gradient memory of one parameter, split: the parts sum to its buffer."""

    tasks: dict[str, Tensor] = field(default_factory=dict)
    residual: Tensor | None = None
    decay: Tensor | None = None
    unattributed: Tensor | None = None
    left: float = 1.0
    """Share of the unattributed momentum that is left, as far as known."""
    buffer: weakref.ref[Tensor] | None = None
    version: int = -1
    pack: object = None
    """What these tensors are views of, where several parameters' are held together."""

    def of(self, rows: Tensor) -> Memory:
        """These rows of it, copied."""
        tasks = {task: kept.index_select(0, rows) for task, kept in self.tasks.items()}
        residual, decay, unattributed = (
            None if kept is None else kept.index_select(0, rows)
            for kept in (self.residual, self.decay, self.unattributed)
        )
        return Memory(tasks, residual, decay, unattributed)

    def turned(self, into: Callable[[Tensor], Tensor]) -> Memory:
        """The same with this made of every tensor."""
        tasks = {task: into(kept) for task, kept in self.tasks.items()}
        residual, decay, unattributed = (
            None if kept is None else into(kept) for kept in (self.residual, self.decay, self.unattributed)
        )
        return dataclasses.replace(
            self, tasks=tasks, residual=residual, decay=decay, unattributed=unattributed, pack=None
        )

    def put(self, rows: Tensor, kept: Memory, like: Tensor) -> None:
        """Write these rows back; what begins with them is zero elsewhere, and of the shape of ``like``."""
        for task, values in kept.tasks.items():
            self.tasks[task] = _put(self.tasks.get(task), rows, values, like)
        for name in ("residual", "decay", "unattributed"):
            values = getattr(kept, name)
            if values is not None:
                setattr(self, name, _put(getattr(self, name), rows, values, like))

    def stamp(self, buffer: Tensor | None) -> None:
        self.buffer, self.version = (None, -1) if buffer is None else (weakref.ref(buffer), buffer._version)

    def current(self, buffer: Tensor | None) -> bool:
        """Whether nobody was seen to replace or write to the optimizer's buffer since the stamp.

        Fused steps write without a trace: after a step that was not recorded ``begin_burst`` is needed all the same.
        """
        if buffer is None or self.buffer is None:
            return buffer is None and self.buffer is None
        return self.buffer() is buffer and self.version == buffer._version

    def fade(self, step: Linear) -> None:
        """Let the unattributed momentum go once no trace of it is left in the number format."""
        if self.unattributed is not None and isinstance(step.carry, float):
            self.left *= step.carry
            if self.left < torch.finfo(self.unattributed.dtype).tiny:
                self.unattributed = None


def _put(whole: Tensor | None, rows: Tensor, values: Tensor, like: Tensor) -> Tensor:
    if whole is None:
        return spread(values, rows, like)
    return whole.index_copy_(0, rows, values)
