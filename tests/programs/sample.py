"""A small sample of the programs: every value of every axis, and as many pairs of values as go in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from programs.compose import AXES, program

SAMPLE: tuple[int, ...] = (
    0,
    6,
    9,
    12,
    35,
    38,
    55,
    66,
    72,
    77,
    88,
    92,
    140,
    144,
    152,
    153,
    160,
    177,
    194,
    220,
    225,
    228,
    245,
    248,
    267,
    285,
    289,
    293,
    294,
    295,
    297,
    326,
    356,
    425,
    445,
    453,
    464,
    485,
    492,
    525,
    579,
    633,
    636,
    642,
    680,
    713,
    729,
    745,
    755,
    759,
    781,
    794,
    803,
    814,
    826,
    832,
    856,
    867,
    868,
    883,
    896,
    902,
    913,
    919,
    962,
    987,
    1010,
    1012,
    1060,
    1068,
    1128,
    1231,
    1244,
    1302,
    1308,
    1325,
    1377,
    1398,
    1405,
    1431,
    1449,
    1473,
    1491,
    1549,
    1550,
    1623,
    1636,
    1669,
    1674,
    1689,
    1726,
    1750,
    1752,
    1760,
    1774,
    1831,
    1881,
    1882,
    1997,
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
