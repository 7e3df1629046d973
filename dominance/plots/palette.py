"""Colours that can be told apart by colour-blind readers and on a grey printout.

``DIVERGING`` runs from "others own it" (dark blue) over neutral to "this task owns it" (vermilion). The five
lightnesses (CIE L*: 17, 57, 91, 75, 40) fall away from the middle on both sides and differ pairwise by at least 15, so
no two buckets have the same grey. ``TASKS`` is the palette of Okabe and Ito (2008) without its yellow.
"""

from __future__ import annotations

import numpy as np

INK = "#222222"
GREY = "#8a8a8a"

DIVERGING = ("#08265c", "#5a8cc4", "#e8e4d8", "#f0ab5c", "#a83a0c")
SEQUENTIAL = ("#f4f1e8", "#f0ab5c", "#a83a0c", "#4a1503")
TASKS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#555555")
HATCHES = ("", "////", "....")


def diverging(count: int) -> list[str]:
    """``count`` colours along ``DIVERGING``, its own five when count is 5."""
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in DIVERGING], dtype=float)
    places = np.linspace(0, len(anchors) - 1, count) if count > 1 else np.array([len(anchors) - 1.0])
    mixed = np.stack([np.interp(places, np.arange(len(anchors)), anchors[:, i]) for i in range(3)], axis=1)
    return ["#" + "".join(f"{round(v):02x}" for v in row) for row in mixed]


def of_tasks(count: int) -> tuple[list[str], list[str]]:
    """Colours and hatches for ``count`` tasks: the hatch changes when the colours begin again."""
    colours = [TASKS[i % len(TASKS)] for i in range(count)]
    return colours, [HATCHES[i // len(TASKS) % len(HATCHES)] for i in range(count)]
