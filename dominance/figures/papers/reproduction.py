"""REPRODUCTION.md: every claim of the papers that was tested, its criterion, what came out, and the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dominance.figures.papers.write import Made

NAME = "REPRODUCTION.md"
_HEAD = """\
# Reproduction

What the papers claim, and what came out when it was run again by `dominance reproduce`. Each criterion was fixed before
the run. "Partly" says which part holds; "cannot be tested" says what is missing. Figures and tables, with their data,
seeds and settings, lie beside this file, in the `.md` of their names.
"""


def write_reproduction(made: Sequence[Made], folder: Path) -> Path | None:
    """Write the claims of these items into ``folder``; None where there is no claim."""
    claims = [(one.item, claim, found) for one in made for claim, found in one.judged]
    if not claims:
        return None
    counted = Counter(found.outcome for _, _, found in claims)
    lines = [_HEAD, ", ".join(f"{number} {outcome}" for outcome, number in counted.items()) + ".", ""]
    lines += ["| paper | claim | criterion | outcome | found | command |", "| --- | --- | --- | --- | --- | --- |"]
    for item, claim, found in claims:
        cells = [
            f"{item.paper}, {item.place}",
            claim.says,
            claim.criterion,
            f"**{found.outcome}**",
            found.evidence,
            f"`dominance reproduce {item.name}`",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    path = folder / NAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
