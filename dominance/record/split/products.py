"""Inner products of tensors over all their entries: in float64, or in float64 over blocks of float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Float64s = npt.NDArray[np.float64]

TILE = 1 << 17
"""Coordinates of a large tensor handled at a time: what is worked out of them stays near, and there are few of them."""
_WIDE_TILE = 1 << 15
"""The same in float64."""
_BLOCK = 512
"""Products added up in float32: so few that the sum is as good as its summands."""
_LEAST_SQUARE, _FEWEST = 1e-30, 4096
"""Mean squares below the first are too near to what float32 cannot hold; fewer numbers than the second are not worth
it."""


def inner_products(tensors: Sequence[Tensor]) -> Float64s:
    """Gram matrix G Gᵀ of equally shaped tensors over all their entries, summed in float64."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    size, device = flat[0].numel(), flat[0].device
    if size <= _WIDE_TILE:
        return _exact(flat)
    gram = torch.zeros((len(flat), len(flat)), dtype=torch.float64, device=device)
    room = torch.empty((len(flat), _WIDE_TILE), dtype=torch.float64, device=device)
    for start in range(0, size, _WIDE_TILE):
        tile = room[:, : min(_WIDE_TILE, size - start)]
        for row, tensor in zip(tile, flat, strict=True):
            row.copy_(tensor[start : start + _WIDE_TILE])
        gram.addmm_(tile, tile.T)
    return np.asarray(gram.cpu().numpy())


def _exact(flat: Sequence[Tensor]) -> Float64s:
    if all(tensor.dtype == flat[0].dtype for tensor in flat):
        wide = torch.stack(list(flat)).double()
    else:
        wide = torch.stack([tensor.double() for tensor in flat])
    return np.asarray((wide @ wide.T).cpu().numpy())


def single_precision() -> bool:
    """Whether products of float32 matrices on the CPU are such: a script may have asked for less of all of them."""
    asked = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    return asked in ("none", "ieee") and not torch.is_autocast_enabled("cpu")


def products_and_squares(flat: Sequence[Tensor], squared: Sequence[Tensor]) -> tuple[Float64s, Float64s]:
    """Gram matrix of some tensors, and the sums of squares of others, exactly."""
    products = inner_products((*flat, *squared))
    return products[: len(flat), : len(flat)], np.diagonal(products)[len(flat) :]


class Products:
    """Inner products and squares of large tensors, a tile at a time; in room of its own, which is used again."""

    def __init__(self) -> None:
        self._room = torch.empty(0)

    def of(self, flat: Sequence[Tensor], squared: Sequence[Tensor] = ()) -> tuple[Float64s, Float64s]:
        """Gram matrix of some tensors, and the sums of squares of others, to a few roundings of float32.

        Args:
            flat: of equal sizes, as many as ``TILE`` at most where they are quick.
            squared: the same; of these no products with others are needed.
        """
        if _quick((*flat, *squared)):
            flat, squared = ([each.detach().reshape(-1) for each in some] for some in (flat, squared))
            gram, squares = self._by_blocks(flat), _squares_by_blocks(squared)
            sizes = np.append(np.diagonal(gram), squares)
            if np.isfinite(sizes).all() and (sizes >= _LEAST_SQUARE * len(flat[0])).all():
                return gram, squares
        return products_and_squares(flat, squared)

    def _by_blocks(self, flat: Sequence[Tensor]) -> Float64s:
        needed = len(flat) * flat[0].numel()
        if len(self._room) < needed:
            self._room = torch.empty(needed)
        stacked = torch.stack(list(flat), out=self._room[:needed].view(len(flat), -1))
        blocks = stacked.view(len(flat), -1, _BLOCK).transpose(0, 1)
        return np.asarray(torch.bmm(blocks, blocks.transpose(1, 2)).sum(0, dtype=torch.float64).numpy())


def _quick(flat: Sequence[Tensor]) -> bool:
    size = flat[0].numel()
    if size < _FEWEST or size % _BLOCK or not single_precision():
        return False
    return all(each.dtype == torch.float32 and each.device.type == "cpu" for each in flat)


def _squares_by_blocks(flat: Sequence[Tensor]) -> Float64s:
    if not flat:
        return np.zeros(0)
    norms = [torch.linalg.vector_norm(each.view(-1, _BLOCK), dim=1).numpy() for each in flat]
    return np.asarray(np.square(norms, dtype=np.float64).sum(1))
