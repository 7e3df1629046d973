"""The gradients of several tasks by the same parameters: the matrix G of the papers, kept parameter by parameter."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from dominance.optim.engine.gram import Matrix as Matrix
from dominance.optim.engine.gram import gram_matrix as gram_matrix

Row = list[Tensor | None]
Weights = Sequence[float] | Matrix


@dataclass
class TaskGradients:
    """G, K rows of gradients that are never put into one flat matrix.

    Attributes:
        tasks: K names.
        parameters: leaf tensors.
        rows: for each task, one tensor of the parameter's shape for each parameter; None where the task does not
            reach it, which is the same as zero.
        losses: the tasks' losses, detached 0-dim tensors.
        shared: for each parameter, whether it is shared: what combiners mix, and what the Gram matrix is made of.
    """

    tasks: tuple[str, ...]
    parameters: tuple[Tensor, ...]
    rows: list[Row]
    losses: tuple[Tensor, ...]
    shared: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(task, str) for task in self.tasks):
            raise TypeError(f"tasks are named by strings, not {self.tasks}")
        if not (len(self.tasks) == len(self.rows) == len(self.losses)):
            raise ValueError(f"{len(self.tasks)} tasks, {len(self.rows)} rows and {len(self.losses)} losses")
        if any(len(row) != len(self.parameters) for row in self.rows) or len(self.shared) != len(self.parameters):
            raise ValueError(f"rows and shared must have one entry for each of the {len(self.parameters)} parameters")

    def loss_values(self) -> Matrix:
        """The losses, shape (K,), float64."""
        return values_of(self.losses)

    def gram(self) -> Matrix:
        """G Gᵀ over the shared parameters, shape (K, K), float64."""
        return gram_matrix([[g for g, s in zip(row, self.shared, strict=True) if s] for row in self.rows])

    def mixed(self, matrix: Matrix, heads: Weights | None = None) -> TaskGradients:
        """C G on the shared parameters: row k of the result is the sum over j of C[k, j] times row j.

        Where all factors are 0, it is zeros where the task reaches the parameter, and None elsewhere.

        Args:
            matrix: C, shape (K, K).
            heads: factor on each task's gradient of the parameters that are not shared, shape (K,); None: 1.
        """
        full, rest = self._full()
        rows: list[Row] = [[None] * len(self.parameters) for _ in self.tasks]
        for k, mixed in enumerate(rows):
            for i, made in zip(full, weighted_sums(self._of(full), matrix[k]), strict=True):
                mixed[i] = made
            for i in rest:
                if self.shared[i]:
                    mixed[i] = weighted_sum([row[i] for row in self.rows], matrix[k])
                else:
                    mixed[i] = weighted_sum([self.rows[k][i]], (1.0 if heads is None else float(heads[k]),))
            _zeros_where(self.rows[k], mixed)
        return TaskGradients(self.tasks, self.parameters, rows, self.losses, self.shared)

    def total(self, weights: Weights | None = None, heads: Weights | None = None) -> Row:
        """The sum over the tasks, one tensor for each parameter, None where no task reaches it.

        Args:
            weights: factor on each task's gradient of the shared parameters, shape (K,); None: 1.
            heads: the same for the others.
        """
        ones = np.ones(len(self.tasks))
        on_shared, on_heads = (ones if w is None else np.asarray(w, float) for w in (weights, heads))
        full, rest = self._full()
        total: Row = [None] * len(self.parameters)
        for i, made in zip(full, weighted_sums(self._of(full), on_shared), strict=True):
            total[i] = made
        for i in rest:
            total[i] = weighted_sum([row[i] for row in self.rows], on_shared if self.shared[i] else on_heads)
        for row in self.rows:
            _zeros_where(row, total)
        return total

    def _full(self) -> tuple[list[int], list[int]]:
        """Positions of the shared parameters that all tasks reach, and of the others."""
        full: list[int] = []
        rest: list[int] = []
        for i, (shared, *column) in enumerate(zip(self.shared, *self.rows, strict=True)):
            (full if shared and all(g is not None for g in column) else rest).append(i)
        return full, rest

    def _of(self, positions: Sequence[int]) -> list[list[Tensor]]:
        return [[g for i in positions if (g := row[i]) is not None] for row in self.rows]

    def add(self, other: TaskGradients) -> TaskGradients:
        """The sum with the gradients of another micro-batch, losses too; a task that one of them lacks is zero there.

        Raises:
            ValueError: the other one has other parameters.
        """
        if len(self.parameters) != len(other.parameters) or any(
            a is not b for a, b in zip(self.parameters, other.parameters, strict=True)
        ):
            raise ValueError("gradients of different parameters cannot be added")
        rows = dict(zip(self.tasks, self.rows, strict=True))
        losses = dict(zip(self.tasks, self.losses, strict=True))
        for task, row, loss in zip(other.tasks, other.rows, other.losses, strict=True):
            if task in rows:
                rows[task] = [weighted_sum(pair, (1.0, 1.0)) for pair in zip(rows[task], row, strict=True)]
                losses[task] = losses[task] + loss
            else:
                rows[task], losses[task] = row, loss
        shared = tuple(a or b for a, b in zip(self.shared, other.shared, strict=True))
        return TaskGradients(tuple(rows), self.parameters, list(rows.values()), tuple(losses.values()), shared)


class Sharing:
    """Remembers which tasks ever reached each parameter: one that two of them reached is shared for good.

    So a parameter of the trunk counts as shared also in a batch in which only one task has labels.
    """

    def __init__(self) -> None:
        # by identity: == of tensors is elementwise
        self._reach: MutableMapping[Tensor, set[str]] = WeakTensorKeyDictionary()
        self._restored: list[list[str]] | None = None
        self._given: list[weakref.ref[Tensor]] = []
        self._last: list[tuple[weakref.ref[Tensor], set[str]]] = []

    def shared(
        self,
        tasks: Sequence[str],
        parameters: Sequence[Tensor],
        rows: Sequence[Row],
        given: Sequence[Tensor] | None = None,
    ) -> tuple[bool, ...]:
        """For each parameter, whether two or more tasks have reached it by now.

        Args:
            given: all parameters, with those that need no gradient now; ``state`` goes by their order. None: no others.

        Raises:
            ValueError: a restored state is of another number of parameters.
        """
        found = []
        for reach, *column in zip(self._reaches(parameters, given or parameters), *rows, strict=True):
            if len(reach) < len(tasks) or not reach.issuperset(tasks):
                reach.update(task for task, gradient in zip(tasks, column, strict=True) if gradient is not None)
            found.append(len(reach) > 1)
        return tuple(found)

    def _reaches(self, parameters: Sequence[Tensor], given: Sequence[Tensor]) -> list[set[str]]:
        """The tasks that have reached each parameter; looked up once for parameters that come again in each step."""
        if len(self._given) != len(given) or any(r() is not p for r, p in zip(self._given, given, strict=True)):
            self._arrange(given)
        if len(self._last) != len(parameters) or any(
            r() is not p for (r, _), p in zip(self._last, parameters, strict=True)
        ):
            self._last = [(weakref.ref(p), self._reach[p]) for p in parameters]
        return [reach for _, reach in self._last]

    def _arrange(self, given: Sequence[Tensor]) -> None:
        """Take up these parameters, in this order; a restored state is theirs."""
        if self._restored is not None and len(self._restored) != len(given):
            raise ValueError(
                f"the state is of {len(self._restored)} parameters, and {len(given)} are given; give the same ones in "
                "the same order, also those that need no gradient now"
            )
        for p, restored in zip(given, self._restored or [[]] * len(given), strict=True):
            self._reach.setdefault(p, set()).update(restored)
        self._restored = None
        self._given = [weakref.ref(p) for p in given]
        self._last = []

    def state(self) -> list[list[str]]:
        """The tasks that reached each of the parameters that were given last, in their order; then those of others."""
        if self._restored is not None:
            return [list(reached) for reached in self._restored]
        alive = [p for known in self._given if (p := known()) is not None]
        ids = {id(p) for p in alive}
        return [sorted(self._reach[p]) for p in (*alive, *(p for p in self._reach if id(p) not in ids))]

    def restore(self, state: list[list[str]]) -> None:
        """Take over what ``state`` returned; it holds for the parameters of the next call, in their order."""
        self._reach.clear()
        self._given, self._last = [], []
        self._restored = [list(reached) for reached in state] or None

    def __getstate__(self) -> list[list[str]]:
        return self.state()

    def __setstate__(self, state: list[list[str]]) -> None:
        self.__init__()  # type: ignore[misc]
        self.restore(state)


def _zeros_where(reached: Row, found: Row) -> None:
    """Zeros for None, where a gradient is there that was multiplied by 0."""
    for i, (gradient, made) in enumerate(zip(reached, found, strict=True)):
        if made is None and gradient is not None:
            found[i] = torch.zeros_like(gradient)


def weighted_sum(tensors: Iterable[Tensor | None], weights: Iterable[float]) -> Tensor | None:
    """The sum of ``weights[k] * tensors[k]``, a new tensor or, for one of weight 1 alone, that tensor; None is zero."""
    found: Tensor | None = None
    owned = False
    for tensor, weight in zip(tensors, weights, strict=True):
        if tensor is None or weight == 0:
            continue
        if found is None:
            found, owned = (tensor, False) if weight == 1 else (tensor * float(weight), True)
        elif owned:
            found.add_(tensor, alpha=float(weight))
        else:
            found, owned = torch.add(found, tensor, alpha=float(weight)), True
    return found


def weighted_sums(columns: Sequence[list[Tensor]], weights: Iterable[float]) -> Row:
    """``weighted_sum`` at each position of K lists of tensors, in a few calls for all of them."""
    found: list[Tensor] | tuple[Tensor, ...] | None = None
    owned = False
    for tensors, weight in zip(columns, weights, strict=True):
        if weight == 0 or not tensors:
            continue
        if found is None:
            found, owned = (tensors, False) if weight == 1 else (torch._foreach_mul(tensors, float(weight)), True)
        elif owned:
            torch._foreach_add_(found, tensors, alpha=float(weight))
        else:
            found, owned = torch._foreach_add(found, tensors, alpha=float(weight)), True
    return [None] * len(columns[0]) if found is None else list(found)


def values_of(scalars: Sequence[Tensor]) -> Matrix:
    """Tensors of one element each, as numbers, shape (K,), float64; they leave their device together."""
    if len({(scalar.device, scalar.dtype) for scalar in scalars}) == 1:
        return np.array(torch.stack([scalar.detach().reshape(()) for scalar in scalars]).tolist(), dtype=np.float64)
    return np.array([float(scalar.detach()) for scalar in scalars])


def named(tasks: Sequence[str], weights: Matrix) -> dict[str, float]:
    """Task -> its weight."""
    return {task: float(weight) for task, weight in zip(tasks, weights, strict=True)}
