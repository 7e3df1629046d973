"""``dominance figures``: the figures and tables of the papers, by name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dominance.errors import BadOption
from dominance_cli import stderr
from dominance_cli.text import aligned, print_json

FORMATS = ("pdf", "png", "svg")

figures = typer.Typer(
    name="figures",
    help="List the papers' figures and tables; make one from runs.",
    rich_markup_mode=None,
    add_completion=False,
)


@figures.command("list")
def list_figures(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Name every figure and table of the papers.

    Example: dominance figures list
    """
    from dominance.papers.catalogue import items
    from dominance.papers.item import SCALES, Wish

    known = items()
    if as_json:
        rows = [
            {
                "name": each.name,
                "paper": each.paper,
                "place": each.place,
                "title": each.title,
                "stands_for": each.stands_for,
                "claims": [{"name": c.name, "says": c.says, "criterion": c.criterion} for c in each.claims],
                "trainings": {scale: len(each.needs(Wish(scale))) for scale in SCALES},
            }
            for each in known.values()
        ]
        print_json({"figures": rows})
        return 0
    rows_of_text = [
        (each.name, f"{each.paper}, {each.place}", each.title + (" *" if each.stands_for else ""))
        for each in known.values()
    ]
    print(aligned(rows_of_text, right=[False, False, False]))
    if any(each.stands_for for each in known.values()):
        print(
            "\n* on data that can be had; the paper's own is used where `dominance reproduce --data` names its folder"
        )
    stderr.line(f"dominance reproduce {next(iter(known))}")
    return 0


@figures.command("make")
def make_figure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Figure or table; see `dominance figures list`.")],
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Runs that `dominance train` made.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the files go.", show_default="figures")
    ] = Path("figures"),
    kind: Annotated[str, typer.Option("--format", metavar="FORMAT", help="pdf, png or svg.")] = "pdf",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    """Make one figure or table of a paper from runs that are there.

    Example: dominance figures make adatask-fig2 runs/equal runs/adatask
    """
    if kind not in FORMATS:
        raise BadOption(f"format {kind!r} is unknown", fix=f"choose from {', '.join(FORMATS)}")
    from dominance.papers.catalogue import find
    from dominance.papers.material import Material
    from dominance.papers.write import make

    found = find(name)
    if len(found) > 1:
        raise BadOption(f"{name} are {len(found)} figures", fix=f"name one, such as {found[0].name}")
    made = make(found[0], Material(runs), output, format=kind, overwrite=force)
    print("\n".join(map(str, made.files)))
    for claim, judged in made.judged:
        print(f"{judged.outcome}: {claim.says} ({judged.evidence})")
    stderr.line(f"dominance reproduce {shlex.quote(found[0].name)}")
    return 0
