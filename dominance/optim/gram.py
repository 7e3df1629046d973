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
FEW_ROWS = 8
"""Up to so many rows, large tensors are faster multiplied in pairs, where they lie, than copied side by side."""

Piece = tuple[int, int, int]
"""A column, and from where to where of its tensors."""


def gram_matrix(rows: Sequence[Sequence[Tensor | None]]) -> Matrix:
    """Inner products of rows of tensors, shape (K, K), float64; None is zero.

    Half precision is multiplied in float32. From each device one (K, K) matrix is brought to the host, no more.

    Args:
        rows: K lists over the same parameters; dense real tensors.
    """
    by_device: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, column in enumerate(zip(*rows, strict=True)):
        tensor = next((g for g in column if g is not None), None)
        if tensor is not None and tensor.numel():
            wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
            by_device.setdefault((tensor.device, wide), []).append(i)
    gram = np.zeros((len(rows), len(rows)))
    for (device, dtype), columns in by_device.items():
        there = [[row[i] for i in columns] for row in rows]
        with torch.no_grad():
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
