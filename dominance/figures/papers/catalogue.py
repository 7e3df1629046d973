"""All figures and tables of the papers, by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache

from dominance.errors import BadOption
from dominance.figures.papers.item import Item

PAPERS = ("AdaTask", "MoCoGrad", "PUB")


@cache
def items() -> dict[str, Item]:
    """Every item, in the order of the papers."""
    from dominance.figures.papers import (
        adatask,
        adatask_elsewhere,
        adatask_learning,
        adatask_tables,
        mocograd,
        mocograd_conflict,
        mocograd_tables,
        pub_cost,
        pub_scores,
        pub_statistics,
        pub_toy,
    )

    parts: tuple[Sequence[Item], ...] = (
        adatask.ITEMS,
        adatask_tables.ITEMS,
        adatask_learning.ITEMS,
        adatask_elsewhere.ITEMS,
        mocograd.ITEMS,
        mocograd_conflict.ITEMS,
        mocograd_tables.ITEMS,
        pub_toy.ITEMS,
        pub_statistics.ITEMS,
        pub_scores.ITEMS,
        pub_cost.ITEMS,
    )
    known = [item for part in parts for item in part]
    return {item.name: item for item in sorted(known, key=_place)}


def _place(item: Item) -> tuple[int, bool, int, str]:
    """Paper, figures before tables, number, part."""
    kind, number, part = re.fullmatch(r"\w+-(fig|table)(\d+)(-\w+)?", item.name).groups()  # type: ignore[union-attr]
    return PAPERS.index(item.paper), kind == "table", int(number), part or ""


def find(pattern: str) -> list[Item]:
    """The items that fit a name or a glob; "all" is every one.

    Raises:
        BadOption: none does.
    """
    known = items()
    if pattern == "all":
        return list(known.values())
    found = [item for name, item in known.items() if fnmatchcase(name, pattern)]
    if not found:
        close = difflib.get_close_matches(pattern, known, n=1)
        raise BadOption(
            f"no figure or table is called {pattern!r}",
            fix=f"did you mean {close[0]}?" if close else "see `dominance figures list`",
        )
    return found
