"""Inner products of tensors over all their entries: in float64, or in float64 over blocks of float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record import answers

Float64s = npt.NDArray[np.float64]

TILE = 1 << 17
"""Coordinates of a large tensor handled at a time: what is worked out of them stays near, and there are few of them."""
_WIDE_TILE = 1 << 15
"""The same in float64."""
_DEVICE_TILE = 1 << 22
"""The same in float64 on a device with much room, where each operation is a launch."""
_BLOCK = 512
"""Products added up in float32: so few that the sum is as good as its summands."""
LEAST_SQUARE, _FEWEST = 1e-30, 4096
"""Mean squares below the first are too near to what float32 cannot hold; fewer numbers than the second are not worth
it."""


def inner_products(tensors: Sequence[Tensor]) -> Float64s:
    """Gram matrix G Gᵀ of equally shaped tensors over all their entries, summed in float64."""
    return np.asarray(_gram(tensors).cpu().numpy(), np.float64)


def _gram(tensors: Sequence[Tensor]) -> Tensor:
    """The same on their device, which is not waited for."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    size, device, wide = flat[0].numel(), flat[0].device, answers.widest(flat[0])
    room_for = _DEVICE_TILE if answers.waits(flat[0]) else _WIDE_TILE
    if size <= room_for:
        rows = torch.stack(flat).to(wide)
        return rows @ rows.T
    gram = torch.zeros((len(flat), len(flat)), dtype=wide, device=device)
    room = torch.empty((len(flat), room_for), dtype=wide, device=device)
    for start in range(0, size, room_for):
        tile = room[:, : min(room_for, size - start)]
        for row, tensor in zip(tile, flat, strict=True):
            row.copy_(tensor[start : start + room_for])
        gram.addmm_(tile, tile.T)
    return gram


def products_on_device(flat: Sequence[Tensor], squared: Sequence[Tensor]) -> Tensor:
    """The Gram matrix of some tensors, flat, and then the squares of others: numbers on their device."""
    wide = answers.widest(flat[0])
    squares = [torch.linalg.vector_norm(each.detach(), dtype=wide).square().reshape(1) for each in squared]
    return torch.cat([_gram(flat).reshape(-1), *squares])


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
        self._needed = 0
        """The most since ``trim``."""

    def trim(self) -> None:
        """Let the room go where no more than half of it was needed since the last call."""
        if len(self._room) > 2 * self._needed:
            self._room = torch.empty(0)
        self._needed = 0

    def of(self, flat: Sequence[Tensor], squared: Sequence[Tensor] = ()) -> tuple[Float64s, Float64s]:
        """Gram matrix of some tensors, and the sums of squares of others, to a few roundings of float32.

        Args:
            flat: of equal sizes.
            squared: the same; of these no products with others are needed.
        """
        if _quick((*flat, *squared)):
            flat, squared = ([each.detach().reshape(-1) for each in some] for some in (flat, squared))
            gram, squares = self._by_blocks(flat), _squares_by_blocks(squared)
            sizes = np.append(np.diagonal(gram), squares)
            if np.isfinite(sizes).all() and (sizes >= LEAST_SQUARE * len(flat[0])).all():
                return gram, squares
        return products_and_squares(flat, squared)

    def _by_blocks(self, flat: Sequence[Tensor]) -> Float64s:
        # A tile at a time, so that the room is that of a tile; the sum is of all blocks.
        tiles = zip(*(torch.split(each, TILE) for each in flat), strict=True)
        whole = torch.cat([self._of_blocks(tile) for tile in tiles])
        return np.asarray(whole.sum(0, dtype=torch.float64).numpy())

    def _of_blocks(self, flat: Sequence[Tensor]) -> Tensor:
        needed = len(flat) * flat[0].numel()
        self._needed = max(self._needed, needed)
        if len(self._room) < needed:
            self._room = torch.empty(needed)
        stacked = torch.stack(list(flat), out=self._room[:needed].view(len(flat), -1))
        blocks = stacked.view(len(flat), -1, _BLOCK).transpose(0, 1)
        return torch.bmm(blocks, blocks.transpose(1, 2))


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
