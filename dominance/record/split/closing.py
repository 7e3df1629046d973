"""What a parameter was fed, beside the tasks' gradients of it: what these leave is rounding, or is none of theirs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import nonzero
from dominance.record.split.products import TILE
from dominance.record.split.tiles import cut, is_flat

_FEW = 0.5
"""Share of the coordinates up to which a list of them is quicker than a pass over all."""


class Closing:
    """One parameter's gradient, which is about to be closed: split so that the parts add up to it.

    What the tasks leave is rounding most of the time. It is not dropped, but goes to the largest task that has a
    gradient there: an optimizer that divides by the size of a gradient makes whole steps of one that holds nothing
    else.

    Args:
        parameter: the parameter.
        total: what it was fed.
        tasks: the gradient of each task that reaches it.
    """

    def __init__(self, parameter: Tensor, total: Tensor, tasks: Mapping[str, Tensor]) -> None:
        self.parameter, self.total, self.tasks = parameter, total, tasks
        self._left: Tensor | None = None
        if answers.waits(total):
            known = answers.kept((total, *tasks.values()))
            self._left = _left(total, tasks.values()) if known is None else known
        self.found: dict[str, Tensor] | None = None
        """The tasks' gradients that add up to the total, where somebody has closed it."""
        self.reaching: list[str] | None = None
        """The tasks whose gradients are other than zero then."""

    def asked(self) -> Iterator[answers.Asked]:
        """What ``close`` is going to ask, and who wants to know then which tasks reach the parameter."""
        if self._left is None:
            return
        for tensor in (self.total, self._left, *self.tasks.values()):
            yield answers.NORM, tensor
            yield answers.NONZERO, tensor
        for gradient in self.tasks.values():
            yield answers.BEYOND, self._left, gradient
        if len(self.tasks) > 1:
            yield answers.about(answers.BEYOND, [self._left, *self.tasks.values()])

    def asked_early(self) -> Iterator[answers.Asked]:
        """The same before anybody knows whether this is what is to be closed: who closes it has all that it takes."""
        if self._left is not None:
            answers.keep(self._left, (self.total, *self.tasks.values()))
        yield from self.asked()

    def close(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """The tasks' gradients, and the part of the total that belongs to none of them; None where there is none."""
        if self.found is not None:
            return dict(self.found), None
        left, (whole, off, *each) = self._measured()
        sizes = dict(zip(self.tasks, each, strict=True))
        held = dict(self.tasks)
        if not held or not off <= rounding_of(self.parameter) * (whole + sum(each)):
            return held, left
        order = sorted(sizes, key=sizes.__getitem__, reverse=True)
        if (zero := _add_where_not_zero(left, held[order[0]])) is not None:
            held[order[0]] = left
            return held, zero.handed_on(held, order[1:])
        if (told := answers.of(answers.BEYOND, left, *self.tasks.values())) is not None:
            left = _spread(left, held, order)
            return held, left if told[0] else None
        for name in order:
            if not nonzero(left):
                break
            here = held[name] != 0
            beyond = None if here.all() else left.masked_fill(here, 0)
            if beyond is None or not nonzero(beyond):
                held[name] = left.add_(held[name])
                return held, None
            held[name] = torch.where(here, held[name] + left, held[name])
            left = beyond
        return held, left if nonzero(left) else None

    def _measured(self) -> tuple[Tensor, list[float]]:
        """What the tasks leave; and the norms of the total, of what is left, and of each task's gradient."""
        return measured(self.total, list(self.tasks.values()), self._left)


def measured(total: Tensor, tasks: Sequence[Tensor], left: Tensor | None = None) -> tuple[Tensor, list[float]]:
    """What the tasks leave of a gradient, a new tensor; and the norms of it whole, of what is left, and of each task's.

    Args:
        total: the gradient.
        tasks: the tasks' gradients.
        left: what they leave, where that is known.
    """
    if left is None and tasks and total.numel() > TILE and _alike((total, *tasks)):
        return _left_in_tiles(total, tasks)
    left = _left(total, tasks) if left is None else left
    return left, [answers.norm(tensor) for tensor in (total, left, *tasks)]


def closed(parameter: Tensor, total: Tensor, tasks: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """The tasks' gradients of a parameter, and the part of its gradient that is none of theirs: see ``Closing``."""
    return Closing(parameter, total, tasks).close()


def rest(parameter: Tensor, total: Tensor, tasks: Iterable[Tensor]) -> Tensor | None:
    """The part of the gradient that belongs to none of these; None where it is rounding."""
    tasks = list(tasks)
    left = _left(total, tasks)
    size = answers.norm(total) + sum(map(answers.norm, tasks))
    return None if tasks and answers.norm(left) <= rounding_of(parameter) * size else left


def _left(total: Tensor, tasks: Iterable[Tensor]) -> Tensor:
    left = total.clone()
    for gradient in tasks:
        left -= gradient
    return left


def rounding_of(parameter: Tensor) -> float:
    """What the tasks may leave of a gradient, beside its size and theirs, that is rounding."""
    return 4 * torch.finfo(parameter.dtype).eps


def _alike(tensors: Sequence[Tensor]) -> bool:
    """Whether they can be laid flat side by side, in one number format."""
    return all(is_flat(each) and each.dtype == tensors[0].dtype for each in tensors)


def _left_in_tiles(total: Tensor, tasks: Sequence[Tensor]) -> tuple[Tensor, list[float]]:
    """What the tasks leave of a large gradient; and the norms of it whole, of what is left, and of each task's."""
    left = torch.empty_like(total)
    squares = [0.0] * (len(tasks) + 2)
    for piece, off, first, *others in zip(*map(cut, (total, left, *tasks)), strict=True):
        torch.sub(piece, first, out=off)
        for gradient in others:
            off -= gradient
        for i, tensor in enumerate((piece, off, first, *others)):
            norm = float(torch.linalg.vector_norm(tensor))
            squares[i] += norm * norm
    return left, [math.sqrt(square) for square in squares]


def _spread(left: Tensor, held: dict[str, Tensor], order: Sequence[str]) -> Tensor:
    """Add to each gradient in turn, where it is not zero, what is left there; no device is waited for.

    Returns:
        What is left where all are zero.
    """
    for name in order:
        here = held[name] != 0
        reaches = answers.of(answers.NONZERO, held[name])
        held[name], left = torch.where(here, held[name] + left, held[name]), left.masked_fill(here, 0)
        if reaches is not None:
            answers.tell(answers.NONZERO, [held[name]], *reaches)
    return left


@dataclass
class _Beyond:
    """What is left of a large gradient where that of one task is zero: numbers of few coordinates, laid flat."""

    shape: torch.Size
    index: Tensor
    values: Tensor

    def handed_on(self, held: dict[str, Tensor], names: Sequence[str]) -> Tensor | None:
        """Add each number to the first of these tasks that has a gradient there.

        Returns:
            What is left where all are zero; None where nothing is.
        """
        for name in names:
            if not len(self.index):
                return None
            gradient = held[name].reshape(-1)
            there = gradient[self.index]
            here = there != 0
            if bool(here.any()):
                changed = gradient.clone()
                changed[self.index[here]] = there[here] + self.values[here]
                held[name] = changed.view(self.shape)
                self.index, self.values = self.index[~here], self.values[~here]
        if not len(self.index):
            return None
        left = self.values.new_zeros(self.shape)
        left.view(-1)[self.index] = self.values
        return left


def _add_where_not_zero(left: Tensor, gradient: Tensor) -> _Beyond | None:
    """Add a large gradient to what is left, but for what is left where the gradient is zero, which is returned.

    None where it is quicker to ask otherwise; ``left`` is as it was then. The comparison goes into floats: into
    booleans it takes several times as long.
    """
    nowhere = _Beyond(left.shape, torch.zeros(0, dtype=torch.long, device=left.device), left.new_zeros(0))
    if (told := answers.of(answers.BEYOND, left, gradient)) is not None:
        if told[0]:
            return None
        reaches = answers.of(answers.NONZERO, gradient)
        left += gradient
        if reaches is not None:
            answers.tell(answers.NONZERO, [left], *reaches)
        return nowhere
    if left.numel() <= TILE or not _alike((left, gradient)):
        return None
    pairs = list(zip(cut(left), cut(gradient), strict=True))
    found, start, count = [], 0, 0
    for off, held in pairs:
        beyond = torch.eq(held, 0, out=torch.empty_like(off)).mul_(off)
        low, high = (float(each) for each in torch.aminmax(beyond))
        if low != 0 or high != 0:
            found.append(torch.nonzero(beyond).flatten() + start)
            count += len(found[-1])
            if not math.isfinite(low + high) or count > _FEW * left.numel():
                return None
        start += len(off)
    if found:
        nowhere.index = torch.cat(found)
        nowhere.values = left.view(-1)[nowhere.index]
        left.view(-1)[nowhere.index] = 0
    for off, held in pairs:
        off += held
    return nowhere
