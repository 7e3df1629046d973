"""Light recording: of a large parameter's gradients and steps, what they are at the coordinates that are kept.

The tasks' momenta, and their parts of the steps, are worked out there alone, so that what they cost does not grow with
the parameter. Inner products of the tasks' gradients are known over all coordinates all the same, where one backward()
makes a step: they are taken when the gradients are, and scaled as these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record.split.products import LEAST_SQUARE, TILE, Products, inner_products, single_precision

Float64s = npt.NDArray[np.float64]

_NEAR = 1 << 15
"""Numbers that are multiplied while they are near."""
_OFF = 1e-5
"""Largest distance of a gradient from a multiple of what it was, relative to it, that is taken for rounding."""


@dataclass(frozen=True)
class TaskProducts:
    """What a pass tells of the tasks' gradients of one parameter.

    Attributes:
        kept: of each task, its gradient at the kept coordinates, (coordinate,).
        gram: inner products over all coordinates, (task, task).
    """

    kept: Mapping[str, Tensor]
    gram: Float64s

    def of(self, gradients: Mapping[str, Tensor]) -> Float64s | None:
        """Inner products of what has become of these gradients since; None where they are no multiples of them.

        Args:
            gradients: at the kept coordinates.
        """
        names = list(self.kept)
        if not gradients.keys() <= self.kept.keys():
            return None
        factors = []
        for name, now in gradients.items():
            before = self.kept[name].to(now.dtype)
            square = float(before.double().square().sum())
            factor = 1.0 if square == 0 else float(before.double() @ now.double()) / square
            if not float((now - factor * before).norm()) <= _OFF * float(now.norm()):
                return None
            factors.append(factor)
        at, scale = [names.index(name) for name in gradients], np.array(factors)
        return np.asarray(self.gram[np.ix_(at, at)] * np.outer(scale, scale))


def picked(tensor: Tensor, index: Tensor, size: int) -> Tensor:
    """The kept coordinates of a dense tensor of ``size`` entries, (coordinate,); one of these alone stays as it is."""
    if tensor.dim() == 1 and len(tensor) == len(index) != size:
        return tensor
    return tensor.detach().reshape(-1)[index]


def products_of(gradients: Mapping[str, Tensor], index: Tensor) -> TaskProducts:
    """Of dense gradients of one parameter, by task."""
    flat = [gradient.detach().reshape(-1) for gradient in gradients.values()]
    kept = {name: each[index] for name, each in zip(gradients, flat, strict=True)}
    return TaskProducts(kept, gram_of(flat))


def sample_all(
    taken: Mapping[str, dict[Tensor, Tensor]], sampled: Mapping[Tensor, Tensor], grams: Mapping[Tensor, Float64s]
) -> dict[Tensor, TaskProducts]:
    """Let all of the tasks' gradients go but their kept coordinates, of these parameters.

    Args:
        taken: by task, and by parameter; changed in place.
        sampled: the kept coordinates of each parameter.
        grams: of parameters whose gradients are of the kept coordinates already, the inner products of all tasks'.

    Returns:
        What is known of them.
    """
    found = {}
    for p, index in sampled.items():
        here = {task: gradients[p] for task, gradients in taken.items() if p in gradients}
        if p in grams:
            found[p] = TaskProducts(here, grams[p])
        elif here:
            found[p] = products_of(here, index)
            for task, kept in found[p].kept.items():
                taken[task][p] = kept
    return found


def gram_of(flat: Sequence[Tensor]) -> Float64s:
    """Inner products of flat tensors of one size, a tile at a time, (tensor, tensor)."""
    products, tiles = Products(), zip(*(torch.split(each, TILE) for each in flat), strict=True)
    return np.asarray(sum((products.of(tile)[0] for tile in tiles), np.zeros((len(flat), len(flat)))))


def whole_products(total: Tensor, before: Tensor, now: Tensor) -> Float64s:
    """Inner products, over all coordinates, of the gradient that a parameter was fed and of its step, (2, 2).

    Args:
        total: the gradient.
        before, now: the parameter, before and after the step.
    """
    wide = torch.float64 if now.dtype == torch.float64 else torch.float32
    room, sums = torch.empty(_NEAR, dtype=wide, device=now.device), []
    for fed, start, end in zip(
        *(torch.split(each.detach().reshape(-1), _NEAR) for each in (total, before, now)), strict=True
    ):
        step = torch.sub(end.to(wide), start.to(wide), out=room[: len(end)])
        fed = fed.to(wide)
        sums.append(torch.stack([fed.dot(fed), fed.dot(step), step.dot(step)]))
    found = torch.stack(sums).double().sum(0).cpu().numpy()
    if single_precision() and np.isfinite(found).all() and (found[[0, 2]] >= LEAST_SQUARE * now.numel()).all():
        return np.array([[found[0], found[1]], [found[1], found[2]]])
    return inner_products([total.reshape(-1).to(wide), (now.detach().to(wide) - before.to(wide)).reshape(-1)])
