"""A large parameter's step a tile at a time: what is worked out of a tile is still in cache when it is used next."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.linear import Linear
from dominance.record.split.momentum import Memory
from dominance.record.split.products import TILE
from dominance.record.split.splits import GradientSplit


@dataclass(frozen=True)
class Tile:
    """Some coordinates of a parameter: views of everything that its step is split by."""

    place: slice
    theta: Tensor
    """Before the step."""
    now: Tensor
    """After it."""
    linear: Linear
    memory: Memory
    gradient: GradientSplit


def can_be_cut(parameter: Tensor, linear: Linear, memory: Memory, gradient: GradientSplit) -> bool:
    """Whether everything that a step is split by lies in memory as the parameter does, and is there: a memory that
    begins with this step is not."""
    of_step = [each for each in (linear.scale, linear.carry, linear.intake) if isinstance(each, Tensor)]
    held = [*gradient.tasks.values(), gradient.residual, *memory.tasks.values()]
    held += [memory.residual, memory.decay, memory.unattributed]
    whole = [each for each in of_step if each.numel() > 1] + [each for each in held if each is not None]
    if any(not is_flat(each) or each.shape != parameter.shape for each in (parameter, *whole)):
        return False
    begins = not gradient.tasks.keys() <= memory.tasks.keys()
    begins |= gradient.residual is not None and memory.residual is None
    begins |= linear.coupled != 0 and memory.decay is None
    return linear.carry is None or not begins


def is_flat(tensor: Tensor) -> bool:
    """Whether it can be laid flat without a copy."""
    return tensor.layout == torch.strided and tensor.is_contiguous()


def tiles(parameter: Tensor, theta: Tensor, linear: Linear, memory: Memory, gradient: GradientSplit) -> Iterator[Tile]:
    """Everything that one step of a parameter is split by, cut into tiles; the memories are written to in place."""
    thetas, nows = cut(theta), cut(parameter)
    scales, carries, intakes = _factors(linear.scale), _factors(linear.carry), _factors(linear.intake)
    tasks, residuals = _by_tile(gradient.tasks), _parts(gradient.residual)
    memories, of_residual = _by_tile(memory.tasks), _parts(memory.residual)
    of_decay, unattributed = _parts(memory.decay), _parts(memory.unattributed)
    start = 0
    for each, now in zip(thetas, nows, strict=True):
        step = dataclasses.replace(linear, scale=next(scales), carry=next(carries), intake=next(intakes))
        kept = Memory(next(memories), next(of_residual), next(of_decay), next(unattributed))
        place = slice(start, start + each.numel())
        yield Tile(place, each, now, step, kept, GradientSplit(next(tasks), next(residuals)))
        start = place.stop


def cut(tensor: Tensor) -> Sequence[Tensor]:
    """Its tiles, flat."""
    return torch.split(tensor.detach().view(-1), TILE)


def _parts(tensor: Tensor | None) -> Iterator[Tensor | None]:
    return repeat(None) if tensor is None else iter(cut(tensor))


def _factors(factor: Any) -> Iterator[Any]:
    """Of one number for each coordinate its tiles; of one for all, that."""
    return iter(cut(factor)) if isinstance(factor, Tensor) and factor.numel() > 1 else repeat(factor)


def _by_tile(named: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    if not named:
        return ({} for _ in repeat(None))
    return (dict(zip(named, each, strict=True)) for each in zip(*map(cut, named.values()), strict=True))
