"""An item made from runs, as files: the figure or table; beside it the caption, and what became of the claims.

``<name>.json`` holds the claims with how they came out: ``reproduction.write_reproduction`` collects them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dominance.errors import NothingRecorded, RunExists
from dominance.papers.caption import caption, ran, versions
from dominance.papers.item import Claim, Item, Judgement, Kind, Scale
from dominance.papers.material import Material
from dominance.papers.outcomes import kind
from dominance.papers.table import Table


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
    item: Item,
    material: Material,
    folder: Path,
    *,
    format: str = "pdf",
    overwrite: bool = False,
    backend: Any = None,
    command: str = "",
    scale: Scale | None = None,
    missing: Mapping[str, str] | None = None,
) -> Made:
    """Draw an item into ``folder`` as ``<name>.<format>``, with ``<name>.md`` and ``.json``: caption, numbers, claims.

    A form that is read more easily than the paper's, if it has one, stands in a file of its own: ``<name>-lines.pdf``.

    Of an item that cannot be made, or not from the data that there is (it asks for no job), only these two are written,
    and its claims cannot be tested.

    Args:
        format: "pdf", "png" or "svg".
        command: what makes it again; default ``dominance reproduce NAME``.
        scale: at which the runs were trained, if that is known.
        missing: jobs that it needs and that failed, with what they said: they stand below the caption.

    Raises:
        NothingRecorded: a run that it needs is not there; says which.
        RunExists: a file is there and ``overwrite`` is False.
        BadOption: an unknown format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text, record = folder / f"{item.name}.md", folder / f"{item.name}.json"
    for path in (text, record):
        if path.exists() and not overwrite:
            raise RunExists(f"{path}: is already there", fix="choose another folder or pass overwrite=True")
    files: list[Path] = []
    words = [f"# {item.paper}, {item.place}: {item.title}"]
    if item.make is None or not (material.paths or missing):
        words.append(item.stands_for)
        told = {"ran": item.stands_for, "versions": ""}
        judged = [(claim, Judgement("cannot be tested", item.stands_for)) for claim in item.claims]
    else:
        result = item.make(material, backend or "matplotlib")
        files += result.savefig(folder / f"{item.name}.{format}", overwrite=overwrite)
        judged = [(claim, judge(claim, material)) for claim in item.claims]
        words += [caption(item, material), result.note]
        told = {"ran": ran(item, material), "versions": versions(material)}
        if item.beside is not None:
            other = item.beside.make(material, backend or "matplotlib")
            path = folder / f"{item.name}-{item.beside.name}.{format}"
            files += other.savefig(path, overwrite=overwrite)
            words.append(
                f"{item.name}.{format} has the form of the paper's. {path.name}: {item.beside.says} {other.note}"
            )
        words += [f"Not there: {job}, which failed: {why}" for job, why in (missing or {}).items()]
        if isinstance(result, Table):
            words.append(result.markdown())
            files += result.savefig(folder / f"{item.name}.csv", overwrite=overwrite)
    for claim, found in judged:
        words.append(f"**{found.outcome}**: {claim.says}\n\nCriterion: {claim.criterion}\n\nFound: {found.evidence}")
    text.write_text("\n\n".join(part for part in words if part) + "\n", encoding="utf-8")
    command = command or f"dominance reproduce {item.name}"
    kinds = [kind(found.outcome, item, claim, material, scale) for claim, found in judged]
    plain = _plain(item, judged, kinds, command) | {"seeds": seeds(material)}
    record.write_text(json.dumps(plain | told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Made(item, [*files, text, record], judged)


def judge(claim: Claim, material: Material) -> Judgement:
    """How a claim came out; "cannot be tested" where the runs that it needs are not there."""
    try:
        return claim.judge(material)
    except NothingRecorded as error:
        return Judgement("cannot be tested", str(error))


def seeds(material: Material) -> str:
    """How many seeds there are of each training: "5", or "1 to 3"; "" without a training."""
    found: dict[str, set[int]] = {}
    for run in material.runs:
        training = dict(run.attrs.get("training", {}))
        seed = int(training.pop("seed", 0))
        found.setdefault(json.dumps([run.attrs.get("method"), training], sort_keys=True, default=str), set()).add(seed)
    counts = sorted({len(each) for each in found.values()})
    return " to ".join(map(str, dict.fromkeys(counts[:1] + counts[-1:])))


def _plain(item: Item, judged: list[tuple[Claim, Judgement]], kinds: list[Kind], command: str) -> dict[str, Any]:
    claims = [
        {
            "name": claim.name,
            "says": claim.says,
            "criterion": claim.criterion,
            "outcome": found.outcome,
            "kind": of_kind,
            "evidence": found.evidence,
            "ours": claim.ours,
        }
        for (claim, found), of_kind in zip(judged, kinds, strict=True)
    ]
    return {"item": item.name, "paper": item.paper, "place": item.place, "command": command, "claims": claims}
