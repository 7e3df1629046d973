"""One training step, whichever kind of method takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.optim.engine.combiner import Combiner

Representation = Tensor | Mapping[str, Tensor]
Losses = Mapping[str, Tensor | None]


class TaskWise(Protocol):
    """An optimizer that makes a step from the tasks' gradients."""

    def backward(self, losses: Losses, combiner: Combiner | None = None) -> None:
        """Take the tasks' gradients of these losses; ``step`` comes next."""


class MethodStep:
    """Takes the steps of a training: ``combiner`` and ``optimizer``, and how they go together.

    Args:
        model: what is trained.
        combiner: None: the tasks' gradients are not manipulated.
        optimizer: one of torch's, or a task-wise one.
        task_wise: which of the two.
    """

    def __init__(self, model: nn.Module, combiner: Combiner | None, optimizer: Optimizer, *, task_wise: bool) -> None:
        self.combiner = combiner
        self.optimizer = optimizer
        self.task_wise = task_wise
        self._parameters = list(model.parameters())

    @property
    def looks_back(self) -> bool:
        """Whether the method wants to know what the losses of the same batch are after the step."""
        return self.combiner is not None and type(self.combiner).after_step is not Combiner.after_step

    def step(self, losses: Losses, representation: Representation | None = None) -> None:
        """From the losses to new parameters."""
        self.optimizer.zero_grad()
        if self.task_wise:
            cast(TaskWise, self.optimizer).backward(losses, self.combiner)
        else:
            assert self.combiner is not None
            self.combiner.backward(losses, self._parameters, representation=representation)
        self.optimizer.step()

    def look_back(self, losses: Callable[[], Losses]) -> None:
        """After the step, for the methods that want it: the losses of the same batch are worked out again."""
        if self.combiner is not None and self.looks_back:
            self.combiner.after_step(losses())

    def epoch(self) -> None:
        """An epoch is over."""
        if self.combiner is not None:
            self.combiner.epoch()

    def set_learning_rate(self, lr: float) -> None:
        """For all parameters, learnt weights included."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer and the combiner."""
        combiner = None if self.combiner is None else self.combiner.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "combiner": combiner}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.combiner is not None:
            self.combiner.load_state_dict(state["combiner"])
