"""The additive split of torch.optim.LBFGS: each of its iterations is linear in the gradient that it starts from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.known import undecorated_step
from dominance.record.rules.lbfgs import two_loop
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.parts import Parts

FedParts = Mapping[Tensor, tuple[Tensor, Parts]]
"""By parameter, the whole gradient and its parts, which sum to it."""
_SAME_TO = 1e-3
"""Largest distance of a direction that is computed again from the one taken: float32 rounding of a long history."""


@dataclass
class _Evaluation:
    """What the closure left: the loss, and the gradients."""

    loss: float
    fed: FedParts


class LBFGSParts(OfOptimizer):
    """Splits a step, which is a sum of moves -t H g: one for each iteration, from the gradient where that one began.

    The inverse Hessian H of each iteration is made of the history of whole gradients, and stands, like the step length
    t that a line search found, where Adam's denominator does: the number that this step gave it. So -t H g^k is task
    k's part of a move, and the parts sum to the step. H and t are found by running torch's own step once more on a
    copy, which is told the losses and gradients that the closure gave. Gradients are no momentum: nothing is carried
    from one step to the next but the history, which scales.
    """

    remembers = False
    tried = True
    how = "by each iteration's inverse Hessian and step length"

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.linear = True
        self.reason = ""
        """Why the steps cannot be split additively."""
        self.eps = 0.0
        self._evaluations: list[_Evaluation] = []
        self._before: _Before | None = None

    def forget(self) -> None:
        """Nothing is remembered."""

    def give_up(self, reason: str) -> None:
        """Split no more."""
        self.linear, self.reason = False, reason

    def before_step(self) -> None:
        """Keep its state as it is before the step."""
        optimizer = self.optimizer
        self._evaluations = []
        self._before = None
        if self.linear:
            parameters: list[Tensor] = optimizer.param_groups[0]["params"]
            state = {name: _copied(value) for name, value in optimizer.state.get(parameters[0], {}).items()}
            copies = [p.detach().clone(memory_format=torch.contiguous_format) for p in parameters]
            self._before = _Before(copies, state, optimizer)

    def evaluated(self, loss: float, fed: FedParts) -> None:
        """The closure has returned this loss, with these gradients."""
        self._evaluations.append(_Evaluation(loss, {p: (whole.clone(), parts) for p, (whole, parts) in fed.items()}))

    @torch.no_grad()
    def after_step(self, fed: FedParts) -> dict[Tensor, Parts]:
        """The parts of the step just taken, by parameter: empty where an evaluation of the closure is not known.

        Args:
            fed: the gradients of the first evaluation, where no evaluation was told.
        """
        before, self._before = self._before, None
        known, self._evaluations = self._evaluations or [_Evaluation(0.0, fed)], []
        if before is None:
            return {}
        replica = before.replica()
        moves = replica.run(known)
        if moves is None:
            return {}
        parts: dict[Tensor, Parts] = {p: {} for p in replica.parameters}
        for move in moves:
            of_move = known[move.evaluation].fed
            names = dict.fromkeys(name for _, each in of_move.values() for name in each)
            for name in names:
                flat = replica.flat({p: each[name] for p, (_, each) in of_move.items() if name in each})
                replica.add(parts, name, of_move, move.of(flat))
        return parts


@dataclass
class _Move:
    """One iteration: the evaluation that it began from, its inverse Hessian, and its step length."""

    evaluation: int
    changes: list[Tensor]
    steps: list[Tensor]
    diagonal: Any
    length: Any

    def of(self, gradient: Tensor) -> Tensor:
        """The move that it makes from a part of its gradient."""
        return two_loop(gradient, self.changes, self.steps, self.diagonal).mul_(-self.length)


class _Unknown(Exception):
    """The copy asks for an evaluation that nobody has seen."""


class _Replica(torch.optim.LBFGS):
    """A copy that is told what the closure gave, and notes where it goes. Made by ``_Before.replica`` alone."""

    parameters: list[Tensor]
    """The originals, in order."""
    _params: list[Tensor]
    _history: _History
    _known: Sequence[_Evaluation]

    def run(self, known: Sequence[_Evaluation]) -> list[_Move] | None:
        """Take the step; its moves, or None where the evaluations that are known are not those that it asks for."""
        self._known = known
        self._at: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._searches = False
        self._moves: list[_Move] = []
        closure: Callable[[], float] = self._closure
        try:
            undecorated_step(torch.optim.LBFGS)(self, closure)
        except _Unknown:
            return None
        pairs = zip(self.parameters, self._params, strict=True)
        whole = len(self._at) == len(known) and all(bool(torch.isclose(p, c).all()) for p, c in pairs)
        return self._moves if whole else None

    def flat(self, gradients: Mapping[Tensor, Tensor]) -> Tensor:
        """One vector of what parts there are, zero elsewhere."""
        kind = self._params[0].dtype
        pieces = [
            gradients[p].reshape(-1).to(kind) if p in gradients else p.new_zeros(p.numel()) for p in self.parameters
        ]
        return torch.cat(pieces)

    def add(self, sums: Mapping[Tensor, Parts], name: Hashable, fed: FedParts, moved: Tensor) -> None:
        """Add what a part of the gradient moves to its part of the step, in every parameter."""
        for p, piece in zip(self.parameters, torch.split(moved, [p.numel() for p in self.parameters]), strict=True):
            part = piece.view(p.shape)
            sums[p][name] = sums[p][name] + part if name in sums[p] else part

    def _closure(self) -> float:
        if len(self._at) == len(self._known):
            raise _Unknown
        evaluation = self._known[len(self._at)]
        for p, c in zip(self.parameters, self._params, strict=True):
            c.grad = evaluation.fed[p][0].reshape(c.shape).to(c.dtype) if p in evaluation.fed else None
        self._at.append(self._place())
        self._gradients.append(self._gather_flat_grad())  # type: ignore[no-untyped-call]
        return evaluation.loss

    def _place(self) -> Tensor:
        return torch.cat([c.reshape(-1) for c in self._params])

    def _directional_evaluate(self, closure: Any, x: Any, t: Any, d: Any) -> Any:
        self._searches = True
        try:
            return super()._directional_evaluate(closure, x, t, d)  # type: ignore[no-untyped-call]
        finally:
            self._searches = False

    def _add_grad(self, step_size: Any, update: Tensor) -> None:
        if not self._searches:
            self._note(step_size, update)
        super()._add_grad(step_size, update)

    def _note(self, length: Any, direction: Tensor) -> None:
        """A move begins here. The history is kept as torch keeps it, and has to give torch's direction."""
        here = self._place()
        last = next((i for i in reversed(range(len(self._at))) if torch.equal(self._at[i], here)), None)
        if last is None:
            raise _Unknown
        gradient, history = self._gradients[last], self._history
        history.turn(gradient)
        move = _Move(last, list(history.changes), list(history.steps), history.diagonal, length)
        again = two_loop(gradient, move.changes, move.steps, move.diagonal).neg_()
        if not bool((again - direction).abs().max() <= _SAME_TO * direction.abs().max()):
            raise _Unknown
        history.last = (gradient, direction, length)
        self._moves.append(move)


class _History:
    """Gradient changes y, steps s and H0 = sy / yy, as torch's step makes them."""

    def __init__(self, state: Mapping[str, Any], size: int) -> None:
        self.changes: list[Tensor] = list(state.get("old_dirs") or [])
        self.steps: list[Tensor] = list(state.get("old_stps") or [])
        self.diagonal: Any = state.get("H_diag") or 1
        self._size = size
        self.last: tuple[Tensor, Tensor, Any] | None = None
        """Gradient, direction and step length of the last iteration."""
        if state.get("prev_flat_grad") is not None:
            self.last = (state["prev_flat_grad"].clone(), state["d"], state["t"])

    def turn(self, gradient: Tensor) -> None:
        """Another iteration begins, from this gradient."""
        if self.last is None:
            return
        before, direction, length = self.last
        y, s = gradient - before, direction * length
        curvature = y.dot(s)
        if curvature <= 1e-10:
            return
        if len(self.changes) == self._size:
            del self.changes[0], self.steps[0]
        self.changes.append(y)
        self.steps.append(s)
        self.diagonal = curvature / y.dot(y)


@dataclass
class _Before:
    """What the step will overwrite."""

    copies: list[Tensor]
    state: dict[str, Any]
    optimizer: Optimizer

    def replica(self) -> _Replica:
        """A copy of the optimizer as it was then."""
        made: _Replica = object.__new__(_Replica)
        made.__dict__.update(self.optimizer.__dict__)
        group = self.optimizer.param_groups[0]
        made.parameters, made._params = group["params"], self.copies
        made.param_groups = [{**group, "params": self.copies}]
        made.state = defaultdict(dict, {self.copies[0]: self.state} if self.state else {})
        made._history = _History(self.state, group["history_size"])
        return made


def _copied(value: Any) -> Any:
    """A value of its state: lists are changed in place by the step, as is the last gradient; what they hold is not."""
    if isinstance(value, list):
        return list(value)
    return value.clone() if isinstance(value, Tensor) else value
