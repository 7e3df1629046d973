"""The gradients of several tasks by the same parameters: the matrix G of the papers, kept parameter by parameter.

Beside it stand what a task's gradient is taken of, and what is done with rows of gradients: sums, and the Gram matrix
G Gᵀ, block by block. No flat matrix of all gradients is ever built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

Matrix = npt.NDArray[np.float64]
Row = list[Tensor | None]
Weights = Sequence[float] | Matrix

BLOCK = 32_768
"""Numbers of a row that are multiplied in one product; products are summed in float64."""
ACCELERATOR_BLOCK = 1 << 20
SMALLEST = 1e-30
"""Squared norms below it have lost digits, or all, to the range of float32."""
FEW_ROWS = 8
"""Up to so many rows, large tensors are faster multiplied in pairs, where they lie, than copied side by side."""
SMALL = 8_192
"""Tensors of fewer numbers are copied side by side before they are summed: that is faster than a call for each."""

Piece = tuple[int, int, int]
"""A column, and from where to where of its tensors."""
Node = Any
"""``torch.autograd.graph.Node``: the C++ nodes are not instances of it, so the type says nothing to a checker."""
Edge = tuple[Node, int]
"""A node and which of its outputs."""


@dataclass(frozen=True)
class Start:
    """Scalar losses, or any places in the graph with the gradients that enter there; one task may have several.

    Attributes:
        outputs: tensors, or ``GradientEdge``.
        gradients: of each output's shape; None: the outputs are scalars, and these are ones.
        flat: whether it is known that nothing below is re-entrant checkpointing; else the graph is looked through.
    """

    outputs: Sequence[Any]
    gradients: Sequence[Tensor] | None = None
    flat: bool = False

    @property
    def edges(self) -> list[Edge]:
        """Of each output; the node of a leaf tensor is None."""
        return [(o.grad_fn if isinstance(o, Tensor) else o.node, o.output_nr) for o in self.outputs]


@dataclass(frozen=True)
class Placed:
    """One loss.

    Attributes:
        value: 0-dim, needs no gradient.
        start: where its gradient enters, and what enters there.
    """

    value: Tensor
    start: Start

    def detach(self) -> Tensor:
        """The value."""
        return self.value


Loss = Tensor | Placed
"""What ``backward`` of combiners and task-wise optimizers takes for each task."""


def start_of(loss: Loss, scale: float = 1.0) -> Start:
    """What the gradient of this loss times ``scale`` is taken of."""
    if isinstance(loss, Tensor):
        if scale != 1:
            with torch.enable_grad():
                loss = loss * scale
        return Start([loss])
    if scale == 1:
        return loss.start
    given = loss.start.gradients or [torch.ones_like(loss.value)] * len(loss.start.outputs)
    return replace(loss.start, gradients=[gradient * scale for gradient in given])


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


def finite(tensors: Iterable[Tensor | None]) -> bool:
    """Whether all numbers are finite; None is.

    Their sum tells, unless it overflows itself: then each number is looked at.
    """
    there = [tensor.detach() for tensor in tensors if tensor is not None and tensor.numel()]
    together: dict[Any, list[Tensor]] = {}
    for i, tensor in enumerate(there):
        key = (tensor.device, tensor.dtype) if tensor.numel() < SMALL else i
        together.setdefault(key, []).append(tensor)
    sums = [
        (_flatten_dense_tensors(some) if len(some) > 1 else some[0]).sum()  # type: ignore[no-untyped-call]
        for some in together.values()
    ]
    same = len({(one.device, one.dtype) for one in sums}) == 1
    values: list[float] = torch.stack(sums).tolist() if same else [float(one) for one in sums]
    return math.isfinite(sum(values)) or all(bool(tensor.isfinite().all()) for tensor in there)


def times(row: Sequence[Tensor | None], factor: float) -> list[Tensor | None]:
    """Each tensor times the factor, new tensors; None stays None."""
    there = [tensor for tensor in row if tensor is not None]
    made = iter(torch._foreach_mul(there, factor) if there else ())
    return [None if tensor is None else next(made) for tensor in row]


def gram_matrix(rows: Sequence[Sequence[Tensor | None]]) -> Matrix:
    """Inner products of rows of tensors, shape (K, K), float64; None is zero.

    Half precision is multiplied in float32, also within ``torch.autocast``. From each device one (K, K) matrix is
    brought to the host, no more; a second one if squares of the numbers are beyond the range of float32: then rows are
    divided by their largest number first.

    Args:
        rows: K lists over the same parameters; dense real tensors.

    Raises:
        ValueError: two tensors at one place have different shapes.
    """
    gram = _gram(rows)
    squares = np.diagonal(gram)
    if not (np.isfinite(squares) & (squares > SMALLEST)).all():
        largest = np.array([_largest(row) for row in rows])
        largest[~np.isfinite(largest) | (largest == 0)] = 1.0
        if (largest != 1).any():
            gram = _gram([_divided(row, by) for row, by in zip(rows, largest.tolist(), strict=True)])
            gram = gram * np.outer(largest, largest)
    return gram


def _largest(row: Sequence[Tensor | None]) -> float:
    """The largest absolute value."""
    return max((float(g.detach().abs().max()) for g in row if g is not None and g.numel()), default=0.0)


def _divided(row: Sequence[Tensor | None], by: float) -> list[Tensor | None]:
    if by == 1:
        return list(row)
    return [None if g is None else g.detach().to(_wide(g)) / by for g in row]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _gram(rows: Sequence[Sequence[Tensor | None]]) -> Matrix:
    by_device: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, column in enumerate(zip(*rows, strict=True)):
        tensor = next((g for g in column if g is not None), None)
        if tensor is None:
            continue
        shapes = {g.shape for g in column if g is not None}
        if len(shapes) > 1:
            raise ValueError(f"tensors of shapes {sorted(map(tuple, shapes))} have no inner product")
        if tensor.numel():
            by_device.setdefault((tensor.device, _wide(tensor)), []).append(i)
    gram = np.zeros((len(rows), len(rows)))
    for (device, dtype), columns in by_device.items():
        there = [[row[i] for i in columns] for row in rows]
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            gram += _on_host(there, dtype) if device.type == "cpu" else _copied(there, dtype, ACCELERATOR_BLOCK)
    return np.asarray(np.triu(gram) + np.triu(gram, 1).T)


def _on_host(rows: Sequence[list[Tensor | None]], dtype: torch.dtype) -> Matrix:
    large: list[int] = []
    small: list[int] = []
    for i, column in enumerate(zip(*rows, strict=True)):
        there = [g for g in column if g is not None]
        in_pairs = len(rows) <= FEW_ROWS and there[0].numel() >= BLOCK and there[0].dtype == dtype
        (large if in_pairs else small).append(i)
    gram = _copied([[row[i] for i in small] for row in rows], dtype, BLOCK) if small else np.zeros((len(rows),) * 2)
    for i in large:
        pieces = [(k, torch.split(g.reshape(-1), 2 * BLOCK)) for k, row in enumerate(rows) if (g := row[i]) is not None]
        for at, (k, left) in enumerate(pieces):
            for j, right in pieces[at:]:
                gram[k, j] += sum(torch.dot(a, b).item() for a, b in zip(left, right, strict=True))
    return gram


def _copied(rows: Sequence[list[Tensor | None]], dtype: torch.dtype, size: int) -> Matrix:
    """Block by block copied side by side and multiplied: K rows of ``size`` numbers at a time."""
    sizes = [next(g.numel() for g in column if g is not None) for column in zip(*rows, strict=True)]
    device = next(g.device for row in rows for g in row if g is not None)
    size = min(size, sum(sizes))
    block = torch.empty(len(rows), size, dtype=dtype, device=device)
    zeros = torch.zeros(min(size, max(sizes)), dtype=dtype, device=device)
    summed = torch.float32 if device.type == "mps" else torch.float64
    gram = torch.zeros(len(rows), len(rows), dtype=summed, device=device)
    for pieces, filled in _blocks(sizes, size):
        part = block[:, :filled]
        for row, to in zip(rows, part, strict=True):
            parts = [_piece(row[i], start, end, zeros) for i, start, end in pieces]
            to.copy_(_flatten_dense_tensors(parts))  # type: ignore[no-untyped-call]
        gram += part @ part.T
    return gram.double().cpu().numpy() if summed == torch.float64 else gram.cpu().double().numpy()


def _piece(gradient: Tensor | None, start: int, end: int, zeros: Tensor) -> Tensor:
    if gradient is None:
        return zeros[: end - start]
    return gradient if end - start == gradient.numel() else gradient.reshape(-1)[start:end]


def _blocks(sizes: Sequence[int], size: int) -> list[tuple[list[Piece], int]]:
    """Pieces of the columns that fill blocks of ``size`` one after the other, and how full each block is."""
    blocks: list[tuple[list[Piece], int]] = []
    pieces: list[Piece] = []
    filled = 0
    for i, length in enumerate(sizes):
        start = 0
        while start < length:
            end = min(length, start + size - filled)
            pieces.append((i, start, end))
            filled += end - start
            start = end
            if filled == size:
                blocks.append((pieces, filled))
                pieces, filled = [], 0
    return [*blocks, (pieces, filled)] if pieces else blocks
