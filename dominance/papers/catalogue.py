"""All figures and tables of the papers, by name."""

from __future__ import annotations

import difflib
import re
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module

from dominance.errors import BadOption
from dominance.papers.item import Item

PAPERS = ("AdaTask", "MoCoGrad", "PUB")


MODULES = (
    *("adatask.buckets", "adatask.tables", "adatask.learning", "adatask.real_data"),
    *("mocograd.methods", "mocograd.conflict", "mocograd.tables"),
    *("pub.toy", "pub.statistics", "pub.scores", "pub.cost"),
)
"""Under ``dominance.papers``; each has ``ITEMS``."""


@cache
def items() -> dict[str, Item]:
    """Every item, in the order of the papers."""
    known: list[Item] = [item for name in MODULES for item in import_module(f"dominance.papers.{name}").ITEMS]
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
