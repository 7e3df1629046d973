"""A small sample of the programs: every value of every axis, and as many pairs of values as go in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from programs.compose import AXES, program

SAMPLE: tuple[int, ...] = (
    0,
    7,
    9,
    20,
    24,
    26,
    39,
    42,
    97,
    106,
    156,
    170,
    194,
    207,
    213,
    217,
    261,
    269,
    271,
    282,
    297,
    304,
    309,
    336,
    348,
    349,
    354,
    376,
    377,
    401,
    410,
    456,
    459,
    478,
    484,
    563,
    576,
    583,
    611,
    640,
    663,
    680,
    683,
    693,
    694,
    717,
    718,
    730,
    804,
    853,
    921,
    958,
    986,
    991,
    997,
    1018,
    1039,
    1088,
    1098,
    1115,
    1124,
    1159,
    1173,
    1202,
    1217,
    1226,
    1247,
    1270,
    1315,
    1322,
    1346,
    1360,
    1437,
    1452,
    1453,
    1461,
    1477,
    1492,
    1500,
    1510,
    1526,
    1559,
    1647,
    1699,
    1731,
    1752,
    1764,
    1798,
    1814,
    1833,
    1877,
    1882,
    1884,
    1916,
    1978,
)
"""What ``choose(range(2000))`` has chosen: written down, because to choose takes a while."""


Value = tuple[str, str]


def choose(numbers: Iterable[int]) -> tuple[int, ...]:
    """Numbers of programs that hold every value; the next is always the one with most that is new."""
    held = {number: list(program(number).axes.items()) for number in numbers}
    values = {(axis, value) for axis in AXES for value in AXES[axis]}
    pairs: set[tuple[Value, ...]] = set()
    chosen = []
    while values:
        news = {n: (len(values & set(items)), len(_pairs(items) - pairs)) for n, items in held.items()}
        best = max(news, key=news.__getitem__)
        if not news[best][0]:
            raise ValueError(f"no program holds {values}")
        items = held.pop(best)
        values -= set(items)
        pairs |= _pairs(items)
        chosen.append(best)
    return tuple(sorted(chosen))


def _pairs(items: list[Value]) -> set[tuple[Value, ...]]:
    return set(itertools.combinations(items, 2))
