"""REPRODUCTION.md: every claim of the papers that was tested, its criterion, what came out, and the command."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from dominance.errors import BadData
from dominance.papers.item import Item, Outcome

NAME = "REPRODUCTION.md"
_HEAD = """\
# Reproduction

What the papers claim, and what came out when it was run again by `dominance reproduce`. Each criterion was fixed before
the run, or says what was changed after one. "Partly" says which part holds; "cannot be tested" says what is missing. A
method is called better than another where their difference, paired by seed, is sure over five seeds or more. Below
stand controls, which are ours and no claims of the papers: equal weighting at K times the learning rate, K the number
of tasks, is what a method has to beat that takes a step for each task. Figures and tables, with their data, seeds and
settings, lie beside this file, in the `.md` of their names; what was run is said below, too.

What an outcome says of the paper's claim stands beside it: it "holds", or "holds on a stand-in", where the paper's data
cannot be shipped and other data was taken. Where it did not come out, that may be for the "scale", the training having
been shorter than the paper's; for the "stand-in"; or for "unstated settings", where the data is the paper's and the
text leaves open how it was trained. With none of these it "does not hold". Seeds are those of each training, none of a
timing; where they are fewer than a criterion asks for, nothing is called sure.
"""
_COLUMNS = ("paper", "claim", "criterion", "seeds", "outcome", "that is", "found", "command")
_WAITING = ("paper", "claim", "criterion", "command")


def write_reproduction(known: Mapping[str, Item], folder: Path) -> Path | None:
    """Write the claims of the items made in ``folder``, now or earlier, in the order of ``known``; and those of the
    others, which were not trained yet.

    Returns:
        the file; None where no claim was judged.

    Raises:
        BadData: the record of an item, ``<name>.json``, cannot be read.
    """
    items = [one for name in known for one in _records(folder / f"{name}.json")]
    claims = [(one, claim) for one in items for claim in one["claims"]]
    if not claims:
        return None
    theirs = [(one, claim) for one, claim in claims if not claim.get("ours")]
    ours = [(one, claim) for one, claim in claims if claim.get("ours")]
    lines = [_HEAD, *_table(theirs, "claim")]
    lines += ["", "## Our controls", "", *_table(ours, "control")] if ours else []
    made = {one["item"] for one in items}
    lines += _not_run([item for name, item in known.items() if name not in made])
    lines += ["", "## What was run", ""]
    lines += [f"- **{one['paper']}, {one['place']}** (`{one['item']}`): {one['ran']}" for one in items]
    versions = sorted({one["versions"] for one in items})  # a timing names fewer packages
    versions = [each for each, after in pairwise([*versions, ""]) if each and not after.startswith(each)]
    lines += ["", f"Versions: {'; '.join(versions)}."] if versions else []
    path = folder / NAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(claims: Sequence[tuple[dict[str, Any], dict[str, Any]]], what: str) -> list[str]:
    """How many came out how, and a row for each."""
    counted = Counter(claim["outcome"] for _, claim in claims)
    said = ", ".join(f"{counted[outcome]} {outcome}" for outcome in get_args(Outcome) if counted[outcome])
    lines = [
        f"{len(claims)} {what}{'s' * (len(claims) != 1)}: {said}.",
        "",
        _row(_COLUMNS),
        _row(["---"] * len(_COLUMNS)),
    ]
    for item, claim in claims:
        cells = [
            f"{item['paper']}, {item['place']}",
            claim["says"],
            claim["criterion"],
            item.get("seeds") or "–",
            f"**{claim['outcome']}**",
            claim.get("kind") or "–",
            claim["evidence"],
            f"`{item['command']}`",
        ]
        lines.append(_row(cells))
    return lines


def _not_run(items: Sequence[Item]) -> list[str]:
    """The claims of these, and what they wait for."""
    rows = [
        _row((f"{item.paper}, {item.place}", claim.says, claim.criterion, f"`dominance reproduce {item.name}`"))
        for item in items
        for claim in item.claims
        if not claim.ours
    ]
    if not rows:
        return []
    said = f"{len(rows)} claims were not looked at: what they need was not trained in this folder."
    return ["", "## Not run", "", said, "", _row(_WAITING), _row(["---"] * len(_WAITING)), *rows]


def _records(path: Path) -> list[dict[str, Any]]:
    """What ``write.make`` left there; nothing if it was not made."""
    if not path.exists():
        return []
    try:
        return [json.loads(path.read_text(encoding="utf-8"))]
    except ValueError as error:
        raise BadData(f"{path} cannot be read: {error}", fix="delete it, and reproduce that figure again") from None


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
