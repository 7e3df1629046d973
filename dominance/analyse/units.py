"""Units: parts of a layer, or of several: experts, attention heads, neurons, rows of an embedding.

A unit is a labelled set of scalars of the model's parameters. Every kind of unit is told by the same thing: a pattern
for the names of parameters, and, where a unit is a part of a parameter, the axis along which it lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dominance.errors import BadOption
from dominance.schema import Parameter


@dataclass(frozen=True)
class Units:
    """Units by a pattern for the names of parameters, and by an axis of theirs. For ``by`` of the analysers.

    Args:
        pattern: of the names of parameters, or of the modules that own them. ``*`` is anything, and what a name in
            braces stands for tells the units: ``"experts.{expert}.*"`` makes the units "expert 0", "expert 1"; a value
            that is no number is the label itself: ``"{block}.attn.*"`` makes "encoder.0", "encoder.1".
        axis: cut the parameters along this axis, too; None: a unit has all of a parameter. Parameters that are too flat
            to have it, as the bias of a layer has one axis, are in no unit.
        count: into how many equal parts; None: every place on the axis is a part.
        stacks: how many matrices lie one behind the other along the axis, of which each is cut: 3 of a projection to
            queries, keys and values.
        name: what a part is called; "head" makes "encoder.0.attn, head 3". "": ``layer[3]``.

    Raises:
        BadOption: a count or number of stacks below 1, or of no axis; or no pattern.

    >>> Units("experts.{expert}.*").label("experts.3.0.weight", "experts.3.0")
    'expert 3'
    >>> Units("levels.{level}.own.{task}.{expert}.*").label("levels.0.own.price.1.weight", "levels.0.own.price.1")
    'level 0, price, expert 1'
    """

    pattern: str
    axis: int | None = None
    count: int | None = None
    stacks: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if not self.pattern:
            raise BadOption("Units: the pattern is empty", fix='give one, as "experts.{expert}.*"')
        for what, value in (("count", self.count), ("stacks", self.stacks)):
            if value is not None and value < 1:
                raise BadOption(f"Units: {what}={value}", fix="give 1 or more")
        if self.axis is None and (self.count is not None or self.stacks != 1):
            raise BadOption("Units: count and stacks are of an axis", fix="say which, as axis=0")

    def label(self, parameter: str, layer: str) -> str | None:
        """What the pattern says of a parameter; "" where it tells nothing apart, None where it does not fit."""
        expression, names = _expression(self.pattern)
        found = expression.fullmatch(parameter) or expression.fullmatch(layer)
        if found is None:
            return None
        return ", ".join(f"{name} {v}" if v.isdecimal() else v for name, v in zip(names, found.groups(), strict=True))

    def parts(self, shape: Sequence[int], index: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """(coord,) which part each flat index of a parameter is in; None where it has no such axis.

        Raises:
            BadOption: the axis is not as long as so many equal parts are.
        """
        if self.axis is None:
            return np.zeros(len(index), dtype=np.int64)
        if not -len(shape) <= self.axis < len(shape):
            return None
        length = shape[self.axis]
        count = self.count or max(length // self.stacks, 1)
        width, rest = divmod(length, self.stacks * count)
        if rest or not width:
            raise BadOption(
                f"Units({self.pattern!r}): an axis of {length} does not have {self.stacks} x {count} equal parts",
                fix="give another axis, count or number of stacks",
            )
        place = np.unravel_index(index, tuple(shape))[self.axis]
        return np.asarray(place % (width * count) // width, dtype=np.int64)


@lru_cache(maxsize=256)
def _expression(pattern: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    pieces = re.split(r"(\{\w+\}|\*)", pattern)
    names = tuple(piece[1:-1] for piece in pieces if piece.startswith("{"))
    said = ["(.+?)" if piece.startswith("{") else ".*" if piece == "*" else re.escape(piece) for piece in pieces]
    return re.compile("".join(said)), names


@dataclass(frozen=True)
class Partition:
    """Which unit each coordinate is in.

    Attributes:
        labels: of the units, in the order of the parameters and of their parts.
        code: (coord,) unit of each, -1 for none.
        around: (coord,) how many scalars of its parameter are in its unit, kept or not; 0 where it is in none.
        sizes: (unit,) how many scalars it has in all.
    """

    labels: list[str]
    code: NDArray[np.int64]
    around: NDArray[np.int64]
    sizes: NDArray[np.int64]


def partition(
    told: Sequence[Units], parameters: Sequence[Parameter], names: NDArray[np.str_], index: NDArray[np.int64]
) -> Partition:
    """The units of coordinates.

    Args:
        told: the first whose pattern fits a parameter, and which has an axis to cut it along, is the one that counts.
        parameters: those that may be in a unit.
        names, index: (coord,) parameter, and flat index inside it. Coordinates of other parameters are in no unit.

    Raises:
        BadOption: no parameter is in a unit, or a parameter cannot be cut as is asked.

    >>> layer = Parameter("fc.weight", "fc", (2, 3))
    >>> found = partition([Units("*", axis=0)], [layer], np.array(["fc.weight"] * 2), np.array([2, 3]))
    >>> found.labels, found.code, found.sizes
    (['fc[0]', 'fc[1]'], array([0, 1]), array([3, 3]))
    """
    order, known = pd.factorize(names)
    place = {str(name): i for i, name in enumerate(known)}
    labels: dict[str, int] = {}
    sizes: list[int] = []
    code, around = np.full(len(names), -1, dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    for parameter in parameters:
        found = _cut(told, parameter)
        if found is None:
            continue
        units, called, each = found
        numbers = np.empty(len(called), dtype=np.int64)
        for part, name in enumerate(called):
            numbers[part] = labels.setdefault(name, len(labels))
            if numbers[part] == len(sizes):
                sizes.append(0)
            sizes[numbers[part]] += each
        inside = np.flatnonzero(order == place[parameter.name]) if parameter.name in place else np.empty(0, np.int64)
        parts = units.parts(parameter.shape, index[inside])
        if parts is not None:
            code[inside], around[inside] = numbers[parts], each
    if not labels:
        patterns = ", ".join(repr(units.pattern) for units in told)
        flat = [p.name for p in parameters if any(units.label(p.name, p.layer) is not None for units in told)]
        if flat:
            raise BadOption(f"by: no shared parameter that fits {patterns} has the axis", fix=f"{flat[0]} has fewer")
        raise BadOption(f"by: no shared parameter fits {patterns}", fix='names are in run["parameter"]')
    return Partition(list(labels), code, around, np.array(sizes, dtype=np.int64))


def labelled(told: Sequence[Units], parameters: Sequence[Parameter]) -> Iterator[tuple[str, Parameter]]:
    """The label of every unit that a parameter is in or has a part in, with the parameter."""
    for parameter in parameters:
        found = _cut(told, parameter)
        yield from ((label, parameter) for label in (found[1] if found else ()))


def _cut(told: Sequence[Units], parameter: Parameter) -> tuple[Units, list[str], int] | None:
    """What tells the units of a parameter, their labels, and how many of its scalars each has."""
    size = int(np.prod(parameter.shape, dtype=np.int64))
    for units in told:
        label = units.label(parameter.name, parameter.layer)
        if label is None or not size or units.parts(parameter.shape, np.array([size - 1])) is None:
            continue
        count = 1 if units.axis is None else units.count or parameter.shape[units.axis] // units.stacks
        return units, [_called(units, label, parameter.layer, part) for part in range(count)], size // count
    return None


def _called(units: Units, label: str, layer: str, part: int) -> str:
    if units.axis is None:
        return label or layer
    if units.name:
        return ", ".join(filter(None, (label, f"{units.name} {part}")))
    return f"{label or layer}[{part}]"
