"""An item made from runs, as files: the figure or table, and beside it the caption and what became of the claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dominance.errors import NothingRecorded
from dominance.figures.papers.caption import caption
from dominance.figures.papers.item import Claim, Item, Judgement
from dominance.figures.papers.material import Material
from dominance.figures.papers.table import Table


@dataclass(frozen=True)
class Made:
    """What became of an item.

    Attributes:
        files: written, the figure or table first.
        judged: its claims, with how they came out.
    """

    item: Item
    files: list[Path]
    judged: list[tuple[Claim, Judgement]]


def make(
    item: Item, material: Material, folder: Path, *, format: str = "pdf", overwrite: bool = False, backend: Any = None
) -> Made:
    """Draw an item into ``folder`` as ``<name>.<format>``, with ``<name>.md``: caption, numbers, claims.

    Args:
        format: "pdf", "png" or "svg".

    Raises:
        NothingRecorded: a run that it needs is not there; says which.
        RunExists: a file is there and ``overwrite`` is False.
        BadOption: an unknown format.
    """
    result = item.make(material, backend or "matplotlib")
    folder.mkdir(parents=True, exist_ok=True)
    files = result.savefig(folder / f"{item.name}.{format}", overwrite=overwrite)
    judged = [(claim, judge(claim, material)) for claim in item.claims]
    words = [f"# {item.paper}, {item.place}: {item.title}", caption(item, material), result.note]
    if isinstance(result, Table):
        words.append(result.markdown())
        files += result.savefig(folder / f"{item.name}.csv", overwrite=overwrite)
    for claim, found in judged:
        words.append(f"**{found.outcome}**: {claim.says}\n\nCriterion: {claim.criterion}\n\nFound: {found.evidence}")
    text = folder / f"{item.name}.md"
    text.write_text("\n\n".join(part for part in words if part) + "\n", encoding="utf-8")
    return Made(item, [*files, text], judged)


def judge(claim: Claim, material: Material) -> Judgement:
    """How a claim came out; "cannot be tested" where the runs that it needs are not there."""
    try:
        return claim.judge(material)
    except NothingRecorded as error:
        return Judgement("cannot be tested", str(error))
