"""The common form of nearly every step in torch.optim: linear in its gradient inputs, given its own denominator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record import answers
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.pool import Pool

Group = Mapping[str, Any]


@dataclass(frozen=True)
class Linear:
    """One parameter's step as a linear map of its inputs; every part of the gradient goes through the same map.

    With the gradient g, the parameter before the step theta, and the memory m (the optimizer's momentum buffer)::

        u       = sign * g + coupled * theta
        m      <- carry * m + intake * u                                         (carry None: no memory)
        delta   = scale * (momentum_weight * m + gradient_weight * u) - decoupled * theta

    ``scale``, ``carry`` and ``intake`` are numbers or tensors that broadcast to the parameter; ``scale`` holds the
    optimizer's own denominator and learning rate and is negative for a descent.
    """

    scale: Tensor | float
    carry: Tensor | float | None = None
    intake: Tensor | float = 1.0
    momentum_weight: float = 0.0
    gradient_weight: float = 1.0
    sign: float = 1.0
    coupled: float = 0.0
    decoupled: float = 0.0

    def respond(
        self, memory: Tensor | None, gradient: Tensor | None, factor: float, room: Pool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Feed the input ``factor * gradient`` to one part; None stands for exactly zero throughout.

        Args:
            memory: the part's memory before the step; written in place.
            gradient: of the parameter's shape and the memory's dtype; only read.
            room: where the share is written.

        Returns:
            The part's memory after the step, and its share of the step.
        """
        if self.carry is None:
            if gradient is None:
                return memory, None
            share = torch.mul(gradient, self.scale, out=room.take(gradient))
            weight = factor * self.gradient_weight
            return memory, share if weight == 1 else share.mul_(weight)
        memory = self._remember(memory, gradient, factor)
        if memory is None:
            return None, None
        if isinstance(self.scale, Tensor):
            if self.gradient_weight == 0 or gradient is None:
                share = torch.mul(memory, self.scale, out=room.take(memory))
                return memory, share if self.momentum_weight == 1 else share.mul_(self.momentum_weight)
            share = torch.mul(memory, self.momentum_weight, out=room.take(memory))
            return memory, share.add_(gradient, alpha=factor * self.gradient_weight).mul_(self.scale)
        share = torch.mul(memory, self.scale * self.momentum_weight, out=room.take(memory))
        if self.gradient_weight != 0 and gradient is not None:
            share.add_(gradient, alpha=self.scale * self.gradient_weight * factor)
        return memory, share

    def _remember(self, memory: Tensor | None, gradient: Tensor | None, factor: float) -> Tensor | None:
        """carry * memory + intake * factor * gradient, in place where there is a memory."""
        carry, intake = self.carry, self.intake
        assert carry is not None
        if gradient is None:
            return None if memory is None else memory.mul_(carry)
        if memory is None:
            return gradient * (intake * factor)
        if isinstance(intake, Tensor):
            return memory.mul_(carry).addcmul_(gradient, intake, value=factor)
        if factor == 1 and isinstance(carry, float) and abs(carry + intake - 1) < 1e-12:
            return memory.lerp_(gradient, intake)
        return memory.mul_(carry).add_(gradient, alpha=intake * factor)


class Rule(OfOptimizer):
    """How the step of one optimizer class becomes a ``Linear``. Reads the optimizer, never writes to it."""

    picks: ClassVar[bool] = False
    """Whether ``linear`` can be asked of some coordinates of a parameter laid flat: all that it reads of the
    optimizer's state, one for each coordinate, are roots."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.fed: Tensor | None = None
        """The whole gradient that the step at hand was fed: the step may have written to ``.grad``, or dropped it."""
        self.rows: Tensor | None = None
        """The rows of the parameter that ``linear`` is asked of, where these are all that moves; None: all of it."""
        self.index: Tensor | None = None
        """The coordinates of the parameter laid flat that it is asked of; None: all, or the rows."""
        self.room = Pool()
        """For what ``linear`` computes: overwritten by the next parameter's."""

    def remembers(self, group: Group) -> bool:
        """Whether the parameters of ``group`` carry a memory of earlier gradients into their steps."""
        return False

    def moves_rows(self, group: Group) -> bool:
        """Whether a sparse gradient moves the rows that it holds alone, and ``linear`` can be asked of these."""
        return False

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        """The optimizer's own gradient memory of the parameter as it stands, not a copy; None: nothing remembered."""
        return None

    def before(self, parameter: Tensor, group: Group) -> Any:
        """What the step will overwrite and ``linear`` needs; called before the step."""
        return None

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        """The step just taken.

        Args:
            parameter: after the step; what its gradient was is in ``fed``.
            theta: the parameter before the step; the rows that are asked for.
            before: what ``before`` returned.
        """
        raise NotImplementedError

    def several(self, asked: Sequence[tuple[Tensor, Group]]) -> list[Linear] | None:
        """``linear`` of several small parameters, with the group of each, at once; None: to be asked one by one.

        To be asked where ``fed`` and ``rows`` say nothing, of a step that needs neither these nor the parameters.
        """
        return None

    def root(self, moment: Tensor) -> Tensor:
        """The square root of a second moment, in ``room``."""
        if self.index is not None:
            moment = moment.reshape(-1)[self.index]
        moment = full(moment if self.rows is None else moment.index_select(0, self.rows))
        return torch.sqrt(moment, out=self.room.take(moment))

    def state(self, parameter: Tensor) -> Mapping[str, Any]:
        """The optimizer's state of the parameter; empty where there is none (and none is made)."""
        state: Mapping[str, Any] = self.optimizer.state.get(parameter, {})
        return state


def full(tensor: Tensor) -> Tensor:
    """The tensor, dense and in at least single precision."""
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def sign(group: Group) -> float:
    return -1.0 if group.get("maximize", False) else 1.0


def learning_rate(group: Group) -> Any:
    """lr as the step's arithmetic sees it: a number, or a 0-dim tensor (fused kernels read a tensor's number)."""
    lr = group["lr"]
    if isinstance(lr, Tensor):
        return answers.value(lr) if group.get("fused", False) else lr.squeeze()
    return lr


def steps_taken(state: Mapping[str, Any], *, as_tensor: bool) -> Any:
    """Steps taken, this one included: a tensor where the optimizer computes bias corrections on tensors.

    Early in training, powers on a float32 tensor differ from those on a Python number by 1e-5: the split uses the same.
    """
    step = state["step"]
    if as_tensor and isinstance(step, Tensor):
        return step
    return answers.value(step) if isinstance(step, Tensor) else step
