"""Who is told of the gradients and updates of each task: a recorder, while one is at work.

The optimizers here know what is usually to be found out from outside: which gradient the optimizer is fed on behalf of
each task, and which part of the step is each task's. With no listener nothing of this costs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from dominance.optim.engine.task_gradients import Loss, TaskGradients


class Listener(Protocol):
    """What is told, in this order, in each training step. Tensors are lent: whoever keeps one copies it.

    With a GradScaler, weights and gradients are told times its scale, like what lies in ``.grad``; losses are not.
    """

    def own_passes(self) -> AbstractContextManager[None]:
        """Autograd passes in this block are means to an end: they are no backward() of the training script."""

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """The tasks' losses; a plain backward() of a weighted sum of them follows."""

    def weighted(
        self,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
        beside: Mapping[str, float],
        trunk: Sequence[Tensor],
    ) -> Callable[[], None]:
        """The gradient of a weighted sum of the losses comes into ``.grad`` next; the graph is alive.

        ``weights`` hold for the parameters in ``trunk``, ``beside`` for all others. What is returned is called when
        the gradient is there.
        """

    def effective(self, gradients: TaskGradients, weights: Mapping[str, float] | None) -> None:
        """The sum of these task gradients has been added to ``.grad``, or is about to be fed to the optimizer.

        ``weights`` are the factors between them and the gradients of the losses; None where there is no single one.
        """

    def updates(self, optimizer: Optimizer, parameters: Sequence[Tensor], task: str, updates: Sequence[Tensor]) -> None:
        """What one task adds to these parameters (theta after minus theta before) in the step that is going on."""
