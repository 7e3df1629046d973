"""Small parameters' steps, split all at once: what an operation costs by itself is paid once for all of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record.rules.linear import Linear
from dominance.record.split.momentum import Memory
from dominance.record.split.splits import GradientSplit

SMALL = 4096
"""Numbers of a parameter up to which it is packed: working on larger ones costs more than calling for it."""

Floats = npt.NDArray[np.float32]
_FACTORS = ("scale", "carry", "intake")
_SCALARS = ("momentum_weight", "gradient_weight", "sign", "coupled", "decoupled")


@dataclass
class Member:
    """One parameter's step, before it is split."""

    parameter: Tensor
    theta: Tensor
    """Before the step."""
    linear: Linear
    memory: Memory
    gradient: GradientSplit


def can_be_packed(parameter: Tensor, theta: Tensor, gradient: GradientSplit | None) -> bool:
    """Whether it is small, and everything of it are plain tensors in single precision."""
    if gradient is None or gradient.total is None or not 0 < parameter.numel() <= SMALL:
        return False
    parts = (theta, gradient.total, gradient.residual, gradient.unexplained, *gradient.tasks.values())
    return all(
        each.dtype is torch.float32 and each.layout is torch.strided and each.device == parameter.device
        for each in (parameter, *parts)
        if each is not None
    )


def form_of(linear: Linear) -> Hashable | None:
    """What steps have in common that can be split together; None where one cannot."""
    form: list[Hashable] = [getattr(linear, name) for name in _SCALARS]
    for name in _FACTORS:
        factor: Any = getattr(linear, name)
        if isinstance(factor, Tensor):
            if factor.dtype is not torch.float32 or factor.dim() == 0:
                return None
            factor = Tensor
        form.append(factor)
    return tuple(form)


class Pack:
    """Rows of numbers of several parameters, one after the other in each: their gradients and steps, and their parts.

    Of the K tasks, and then the residual, the unattributed momentum and the weight decay, there is a row each of what
    was fed, of what is remembered, and of what it makes of the step. A part that a parameter lacks is zeros there.

    Args:
        members: the parameters.
        names: of the tasks.
    """

    def __init__(self, members: Sequence[Tensor], names: Sequence[str]) -> None:
        self.members = tuple(members)
        self.names = tuple(names)
        sizes = [p.numel() for p in members]
        self.starts = np.array([0, *accumulate(sizes)])
        """Where each parameter begins; and the end."""
        k, size = len(names), sum(sizes)
        self.parts = k + 3
        rows = torch.zeros((3 + 2 * self.parts, size), device=members[0].device)
        self._rows = rows
        self._fed, self._step, self._input = rows[0], rows[1], rows[2 : 2 + self.parts]
        self._unexplained, self._share = rows[2 + self.parts], rows[3 + self.parts :]
        self._memory = torch.zeros((self.parts, size), device=rows.device)
        self._theta, self._now = torch.empty(size, device=rows.device), torch.empty(size, device=rows.device)
        self._factors = {name: torch.empty(size, device=rows.device) for name in _FACTORS}
        self._place = {name: position for position, name in enumerate(names)}
        self._views: dict[int, list[list[Tensor]]] = {}
        self._lacking: set[tuple[int, int]] = set()
        self._form: list[Hashable] = []
        self._into: list[Tensor] = []
        """Where what is given of members of this form goes."""

    def _of(self, rows: Tensor, member: int) -> list[Tensor]:
        """A member's part of each of some rows, in its shape."""
        views = self._views.setdefault(id(rows), [])
        if not views:
            whole = rows if rows.dim() == 2 else rows[None]
            flat = [whole[:, a:b] for a, b in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)]
            views += [[row.view(p.shape) for row in part.unbind()] for p, part in zip(self.members, flat, strict=True)]
        return views[member]

    def split(self, members: Sequence[Member]) -> Packed:
        """Split the steps of all members; their memories are of this pack then."""
        self._take_in(members)
        linear = self._common(members)
        torch.sub(self._now, self._theta, out=self._step)
        decay = self._input[-1]
        if linear.coupled != 0:
            torch.mul(self._theta, linear.coupled * linear.sign, out=decay)
        share = self._respond(linear)
        if linear.decoupled != 0:
            share[-1].add_(self._theta, alpha=-linear.decoupled)
        for i, member in enumerate(members):
            self._give_memory(i, member, linear)
        lacking = [(row, i) for row, i in self._lacking if not self._has(row, members[i].memory, linear)]
        return Packed(self, self._rows, self._theta, lacking)

    def _has(self, row: int, memory: Memory, linear: Linear) -> bool:
        """Whether a part of a step that was not fed comes of what is remembered, or of decay."""
        if row < len(self.names):
            return self.names[row] in memory.tasks
        beside = (
            memory.residual is not None,
            memory.unattributed is not None,
            bool(linear.coupled or linear.decoupled),
        )
        return beside[row - len(self.names)]

    def _take_in(self, members: Sequence[Member]) -> None:
        given: list[Tensor] = []
        form: list[Hashable] = []
        for i, member in enumerate(members):
            gradient, linear, memory = member.gradient, member.linear, member.memory
            if memory.pack is not self:
                self._take_memory(i, memory)
            assert gradient.total is not None
            beside = (gradient.residual, gradient.unexplained)
            factors = (linear.scale, linear.carry, linear.intake)
            given += (gradient.total, member.theta, member.parameter.detach(), *gradient.tasks.values())
            given += [each for each in (*beside, *factors) if isinstance(each, Tensor)]
            form += (*gradient.tasks, *[isinstance(each, Tensor) for each in (*beside, *factors)], linear.coupled != 0)
        if form != self._form:
            self._lay_out(members)
            self._form = form
        torch._foreach_copy_(self._into, given)

    def _lay_out(self, members: Sequence[Member]) -> None:
        """Where what is given of these members goes."""
        self._into.clear()
        lacking = {(row, i) for row in range(self.parts) for i in range(len(members))}
        k = len(self.names)
        for i, member in enumerate(members):
            gradient, inputs = member.gradient, self._of(self._input, i)
            self._into += [self._of(rows, i)[0] for rows in (self._fed, self._theta, self._now)]
            places = [self._place[name] for name in gradient.tasks]
            places += [] if gradient.residual is None else [k]
            self._into += [inputs[place] for place in places]
            lacking -= {(place, i) for place in places}
            if gradient.unexplained is not None:
                self._into.append(self._of(self._unexplained, i)[0])
            for name in _FACTORS:
                if isinstance(getattr(member.linear, name), Tensor):
                    self._into.append(self._of(self._factors[name], i)[0])
        # What is given now is written to; all else is zeros.
        self._input.zero_()
        self._unexplained.zero_()
        self._lacking = lacking

    def _take_memory(self, i: int, memory: Memory) -> None:
        """Copy what is remembered of a member in here, and have it remembered here."""
        rows = self._of(self._memory, i)
        known = [*(memory.tasks.get(name) for name in self.names), memory.residual, memory.unattributed, memory.decay]
        for row, tensor in zip(rows, known, strict=True):
            if tensor is None:
                row.zero_()
            else:
                row.copy_(tensor)
        memory.tasks = {name: rows[self._place[name]] for name in memory.tasks}
        memory.residual, memory.unattributed, memory.decay = (
            None if tensor is None else row
            for tensor, row in zip(known[len(self.names) :], rows[len(self.names) :], strict=True)
        )
        memory.pack = self

    def _common(self, members: Sequence[Member]) -> Linear:
        """The step of all members: factors of one number for each coordinate are laid side by side."""
        found = dict(vars(members[0].linear))
        for name in _FACTORS:
            if isinstance(found[name], Tensor):
                found[name] = self._factors[name]
        return Linear(**found)

    def _respond(self, linear: Linear) -> Tensor:
        """``Linear.respond``, of all parts at once."""
        given, share = self._input, self._share
        if linear.carry is None:
            torch.mul(given, linear.scale, out=share)
            weight = linear.sign * linear.gradient_weight
            return share if weight == 1 else share.mul_(weight)
        memory, intake = self._memory, linear.intake
        if isinstance(intake, Tensor):
            memory.mul_(linear.carry).addcmul_(given, intake, value=linear.sign)
        elif linear.sign == 1 and isinstance(linear.carry, float) and abs(linear.carry + intake - 1) < 1e-12:
            memory.lerp_(given, intake)
        else:
            memory.mul_(linear.carry).add_(given, alpha=intake * linear.sign)
        torch.mul(memory, linear.momentum_weight, out=share)
        if linear.gradient_weight != 0:
            share.add_(given, alpha=linear.sign * linear.gradient_weight)
        return share.mul_(linear.scale)

    def _give_memory(self, i: int, member: Member, linear: Linear) -> None:
        if linear.carry is None:
            return
        rows, memory = self._of(self._memory, i), member.memory
        for name in member.gradient.tasks:
            if name not in memory.tasks:
                memory.tasks[name] = rows[self._place[name]]
        if member.gradient.residual is not None:
            memory.residual = rows[len(self.names)]
        if linear.coupled != 0:
            memory.decay = rows[-1]


@dataclass
class Packed:
    """What the steps of a pack's parameters come to; valid until the pack splits the next."""

    pack: Pack
    rows: Tensor
    thetas: Tensor
    _lacking: Sequence[tuple[int, int]]
    """Parts that a member lacks."""
    _read: tuple[Floats, Floats] | None = None

    @property
    def numbers(self) -> Floats:
        """Rows: the gradient that was fed, the step, what each part was fed (the last but one is zero, the last decay),
        the unexplained gradient, what each part makes of the step."""
        return self._both()[0]

    @property
    def theta(self) -> Floats:
        """Of all parameters, before the step."""
        return self._both()[1]

    def _both(self) -> tuple[Floats, Floats]:
        if self._read is None:
            # Host memory is written to again in the next step; a copy from a device is new.
            self.read(self.rows.cpu().numpy(), self.thetas.cpu().numpy())
        assert self._read is not None
        return self._read

    def read(self, numbers: Floats, theta: Floats) -> None:
        """What ``rows`` and ``thetas`` hold, where somebody has read them already."""
        self._read = numbers, theta
        shares = self.shares
        if not np.isfinite(shares).all():
            for row, i in self._lacking:
                # Zeros, which a step may make infinitely much of.
                shares[row, self.pack.starts[i] : self.pack.starts[i + 1]] = 0

    @property
    def gradients(self) -> Floats:
        """Of each task, and the residual."""
        return self.numbers[2 : 3 + len(self.pack.names)]

    @property
    def unexplained(self) -> Floats:
        """Of the gradients."""
        row: Floats = self.numbers[2 + self.pack.parts]
        return row

    @property
    def shares(self) -> Floats:
        """Of the step: of each task, the residual, the unattributed momentum, the weight decay."""
        return self.numbers[3 + self.pack.parts :]

    def closures(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each parameter, as ``Sizes.closure`` has them."""
        step, eps = self.numbers[1], float(np.finfo(np.float32).eps)
        off = -step
        with np.errstate(invalid="ignore"):  # of a step that is not finite
            for share in self.shares:  # in this order: what was left by rounding was found in it
                off += share
        sizes = np.abs(np.stack([step, off, self.theta]))
        largest, error, theta = np.maximum.reduceat(sizes, self.pack.starts[:-1], axis=1).astype(np.float64)
        spacing = theta * eps
        with np.errstate(divide="ignore", invalid="ignore"):
            closure, rounding = error / largest, spacing / largest
        still = largest == 0
        closure[still] = np.where(error[still] <= spacing[still], 0.0, math.inf)
        rounding[still] = np.where((closure[still] == 0) & (spacing[still] == 0), 0.0, math.inf)
        return closure, rounding


class Packs:
    """The packs of one optimizer's parameters: each is there for as long as the same ones step together."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Pack] = {}

    def split(self, members: Sequence[Member]) -> Iterator[tuple[list[Member], Packed]]:
        """Split the steps of these, those together that can be; there are none of those that cannot be."""
        groups: dict[Hashable, list[Member]] = {}
        for member in members:
            form = form_of(member.linear)
            if form is not None:
                groups.setdefault((member.parameter.device, form), []).append(member)
        used: dict[Hashable, Pack] = {}
        for together in groups.values():
            names = dict.fromkeys(name for m in together for name in (*m.memory.tasks, *m.gradient.tasks))
            key = (tuple(id(m.parameter) for m in together), tuple(names))
            pack = self._known.get(key) or Pack([m.parameter for m in together], list(names))
            used[key] = pack
            yield together, pack.split(together)
        self._known = used
