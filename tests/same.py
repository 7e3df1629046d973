"""Equal to the bit: tensors, arrays and what they lie in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def differences(one: Any, two: Any, where: str = "") -> Iterator[str]:
    """Every place where the two differ, as "path: how". NaN equals NaN of the same bits; -0.0 does not equal 0.0."""
    if type(one) is not type(two):
        yield f"{where}: {type(one).__name__} became {type(two).__name__}"
    elif isinstance(one, torch.Tensor):
        yield from _tensors(one, two, where)
    elif isinstance(one, np.ndarray):
        if one.dtype != two.dtype or one.shape != two.shape or one.tobytes() != two.tobytes():
            yield f"{where}: array changed"
    elif isinstance(one, dict):
        if list(one) != list(two):
            yield f"{where}: keys {list(one)} became {list(two)}"
        for key in one.keys() & two.keys():
            yield from differences(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            yield f"{where}: {len(one)} items became {len(two)}"
        for index, (a, b) in enumerate(zip(one, two, strict=False)):
            yield from differences(a, b, f"{where}/{index}")
    elif isinstance(one, float):
        if struct.pack("d", one) != struct.pack("d", two):
            yield f"{where}: {one!r} became {two!r}"
    elif one != two:
        yield f"{where}: {one!r} became {two!r}"


def _tensors(one: torch.Tensor, two: torch.Tensor, where: str) -> Iterator[str]:
    for property_ in ("dtype", "layout", "shape", "requires_grad"):
        a, b = getattr(one, property_), getattr(two, property_)
        if a != b:
            yield f"{where}: {property_} {a} became {b}"
            return
    if one.layout == torch.sparse_coo:
        if one.is_coalesced() != two.is_coalesced():
            yield f"{where}: coalesced or not"
        yield from differences(one._indices(), two._indices(), f"{where}/indices")
        yield from differences(one._values(), two._values(), f"{where}/values")
        return
    if one.stride() != two.stride() or one.storage_offset() != two.storage_offset():
        yield f"{where}: strides {one.stride()} became {two.stride()}"
    if not torch.equal(_bits(one), _bits(two)):
        yield f"{where}: {_count(one, two)} of {one.numel()} values changed"


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _count(one: torch.Tensor, two: torch.Tensor) -> int:
    size = one.element_size()
    return int((_bits(one).reshape(-1, size) != _bits(two).reshape(-1, size)).any(1).sum())
