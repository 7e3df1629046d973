"""Colours that can be told apart by colour-blind readers and on a grey printout, and what stands beside colour.

``DIVERGING`` runs from "others own it" (dark blue) over neutral to "this task owns it" (vermilion). The five
lightnesses (CIE L*: 17, 57, 91, 75, 40) fall away from the middle on both sides and differ pairwise by at least 15, so
no two buckets have the same grey. ``TASKS`` is the palette of Okabe and Ito (2008) with a dark purple for its yellow
and its black. The first four differ in lightness (46, 71, 58, 26); no seven colours do that as lines on white, so lines
of tasks are dashed as well, points have shapes, and areas from the fifth on are hatched.
"""

from __future__ import annotations

import numpy as np

INK = "#222222"
GREY = "#8a8a8a"

DIVERGING = ("#08265c", "#5a8cc4", "#e8e4d8", "#f0ab5c", "#a83a0c")
SEQUENTIAL = ("#f4f1e8", "#f0ab5c", "#a83a0c", "#4a1503")
TIME = ("#f0ab5c", "#e08a4a", "#c96457", "#a84370", "#7d2b7e", "#4b1a78")
"""From orange, where something begins, to purple: darker all the way, also on a grey printout."""
TASKS = ("#0072b2", "#e69f00", "#009e73", "#6a1b5d", "#cc79a7", "#56b4e9", "#d55e00")
PLAIN = 4
"""So many of ``TASKS``, from the first, have greys of their own."""
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "++++")
DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D")


def diverging(count: int) -> list[str]:
    """``count`` colours along ``DIVERGING``, its own five when count is 5."""
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in DIVERGING], dtype=float)
    places = np.linspace(0, len(anchors) - 1, count) if count > 1 else np.array([len(anchors) - 1.0])
    mixed = np.stack([np.interp(places, np.arange(len(anchors)), anchors[:, i]) for i in range(3)], axis=1)
    return ["#" + "".join(f"{round(v):02x}" for v in row) for row in mixed]


OTHERS = ("#4a4f57", "#8c9199", "#c3c6ca", "#ecebe6")
"""rAU buckets of what a task does not own, from "nearly all is the others'" on: beside them stands its own colour."""


def buckets_of(colour: str, other: str = "") -> list[str]:
    """Colours of the five rAU buckets of a task that has ``colour`` everywhere: the last is what it owns.

    Args:
        other: the colour of the only other task, which owns what lies in the first.

    >>> buckets_of("#0072b2")[-1], buckets_of("#e69f00", "#0072b2")[::4]
    ('#0072b2', ['#0072b2', '#e69f00'])
    """
    if not other:
        return [*OTHERS, colour]
    return [other, mixed(other, "#ffffff", 0.5), OTHERS[-1], mixed(colour, "#ffffff", 0.5), colour]


def mixed(colour: str, with_: str, share: float) -> str:
    """A colour of which ``share`` is another one.

    >>> mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = [(int(colour[i : i + 2], 16), int(with_[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * one + share * other):02x}" for one, other in pairs)


def of_tasks(count: int) -> tuple[list[str], list[str]]:
    """Colours and hatches of the areas of ``count`` tasks: no two are alike in grey, up to 21."""
    colours = [_colour(i) for i in range(count)]
    turns = [2 * (i // len(TASKS)) + (i % len(TASKS) >= PLAIN) for i in range(count)]
    return colours, [HATCHES[turn % len(HATCHES)] for turn in turns]


def lines_of(count: int) -> list[tuple[str, str]]:
    """Colours and dashes of the lines of ``count`` tasks.

    >>> lines_of(2)
    [('#0072b2', '-'), ('#e69f00', '--')]
    """
    return [(_colour(i), DASHES[_turn(i) % len(DASHES)]) for i in range(count)]


def points_of(count: int) -> list[tuple[str, str]]:
    """Colours and shapes of the points of ``count`` tasks.

    >>> points_of(2)
    [('#0072b2', 'o'), ('#e69f00', 's')]
    """
    return [(_colour(i), MARKS[_turn(i) % len(MARKS)]) for i in range(count)]


def _colour(i: int) -> str:
    """Of the i-th task: the palette, then its darker and its lighter shades."""
    colour, turn = TASKS[i % len(TASKS)], i // len(TASKS) % 3
    return colour if not turn else mixed(colour, "#000000" if turn == 1 else "#ffffff", 0.35)


def _turn(i: int) -> int:
    """So turned, no two of the seven colours that are near each other in grey have the same dash."""
    return i - i % len(TASKS) // PLAIN
