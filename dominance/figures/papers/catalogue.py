"""All figures and tables of the papers, by name."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from functools import cache

from dominance.errors import BadOption
from dominance.figures.papers.item import Item


@cache
def items() -> dict[str, Item]:
    """Every item, in the order of the papers."""
    from dominance.figures.papers import adatask

    return {item.name: item for paper in (adatask,) for item in paper.ITEMS}


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
