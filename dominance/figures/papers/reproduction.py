"""REPRODUCTION.md: every claim of the papers that was tested, its criterion, what came out, and the command."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dominance.errors import BadData

NAME = "REPRODUCTION.md"
_HEAD = """\
# Reproduction

What the papers claim, and what came out when it was run again by `dominance reproduce`. Each criterion was fixed before
the run. "Partly" says which part holds; "cannot be tested" says what is missing. Figures and tables, with their data,
seeds and settings, lie beside this file, in the `.md` of their names.
"""
_COLUMNS = ("paper", "claim", "criterion", "outcome", "found", "command")


def write_reproduction(names: Iterable[str], folder: Path) -> Path | None:
    """Write the claims of the items made in ``folder``, now or earlier, in the order of ``names``.

    Returns:
        the file; None where no claim was judged.

    Raises:
        BadData: the record of an item, ``<name>.json``, cannot be read.
    """
    claims = [(one, claim) for name in names for one in _records(folder / f"{name}.json") for claim in one["claims"]]
    if not claims:
        return None
    counted = Counter(claim["outcome"] for _, claim in claims)
    lines = [_HEAD, f"{len(claims)} claims: " + ", ".join(f"{n} {outcome}" for outcome, n in counted.items()) + ".", ""]
    lines += [_row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
    for item, claim in claims:
        cells = [
            f"{item['paper']}, {item['place']}",
            claim["says"],
            claim["criterion"],
            f"**{claim['outcome']}**",
            claim["evidence"],
            f"`{item['command']}`",
        ]
        lines.append(_row(cell.replace("|", "\\|").replace("\n", " ") for cell in cells))
    path = folder / NAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _records(path: Path) -> list[dict[str, Any]]:
    """What ``write.make`` left there; nothing if it was not made."""
    if not path.exists():
        return []
    try:
        return [json.loads(path.read_text(encoding="utf-8"))]
    except ValueError as error:
        raise BadData(f"{path} cannot be read: {error}", fix="delete it, and reproduce that figure again") from None


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
