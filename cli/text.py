"""Numbers, sizes and JSON as a person or a program reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from dominance.visible import visible

JSON_VERSION = 1
"""Of every document of ``--json``, as docs/json.md has it: raised where a key goes, or means something else."""


def size(count: int) -> str:
    """Bytes in decimal units.

    >>> size(999), size(12_345_678), size(2_000_000_000)
    ('999 B', '12.3 MB', '2 GB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def plain(value: Any) -> Any:
    """The value in the types that JSON has: numbers that are not finite become None, keys become strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_json(document: dict[str, Any]) -> None:
    """One document on stdout, NaN as null."""
    print(json.dumps(plain({"json_version": JSON_VERSION, **document}), indent=2, allow_nan=False))


def aligned(rows: Iterable[Sequence[str]], *, right: Sequence[bool], gap: int = 2) -> str:
    """Rows as text in columns with ``gap`` spaces between; ``right`` says which columns are flush right.

    >>> print(aligned([["a", "1"], ["bcd", "20"]], right=[False, True]))
    a     1
    bcd  20
    """
    table = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        (" " * gap)
        .join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        )
        .rstrip()
        for row in table
    )
