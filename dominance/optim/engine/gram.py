"""Gram matrices of rows of tensors, block by block: no flat matrix of all gradients is ever built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

Matrix = npt.NDArray[np.float64]

BLOCK = 32_768
"""Numbers of a row that are multiplied in one product; products are summed in float64."""
ACCELERATOR_BLOCK = 1 << 20
SMALLEST = 1e-30
"""Squared norms below it have lost digits, or all, to the range of float32."""
FEW_ROWS = 8
"""Up to so many rows, large tensors are faster multiplied in pairs, where they lie, than copied side by side."""

Piece = tuple[int, int, int]
"""A column, and from where to where of its tensors."""


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
