"""``dominance report``: figures of a run as files."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath
from typing import Annotated

import typer

from dominance.errors import BadOption
from dominance_cli import stderr
from dominance_cli.progress import counting
from dominance_cli.rundir import RUNS, expanded, opened, place
from dominance_cli.single_tasks import HELP, HIGHER, HIGHER_FLAGS, LOWER, LOWER_FLAGS, directions, singles

FORMATS = ("pdf", "png", "svg", "html")


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", parser=place, help=RUNS)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where the files go. [default: RUN/report; of a URL: NAME-report; of several runs side by side:"
            " runs-report]",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="pdf, png or svg; html: one file for a browser, of all runs."),
    ] = "pdf",
    html: Annotated[bool, typer.Option("--html", help="Short for --format html.")] = False,
    figures: Annotated[
        str, typer.Option(metavar="GLOB", help="Only the figures whose names match.", show_default=False)
    ] = "*",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    baseline: Annotated[
        list[str] | None, typer.Option(metavar="RUN", parser=place, help=HELP, show_default=False)
    ] = None,
    higher_is_better: Annotated[list[str] | None, typer.Option(*HIGHER_FLAGS, metavar="METRIC", help=HIGHER)] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(*LOWER_FLAGS, metavar="METRIC", help=LOWER)] = None,
) -> int:
    """Draw the figures of a run, and report.pdf with all of them; or, with --html, runs side by side for a browser.

    Example: dominance report runs/latest --figures 'rau*' --format png
    """
    kind = "html" if html else kind
    if kind not in FORMATS:
        raise BadOption(f"format {kind!r} is unknown", fix=f"choose from {', '.join(FORMATS)}")
    from dominance.reports import moving
    from dominance.reports.write import write_report, write_side_by_side

    runs = expanded(runs)
    alone, better = singles(baseline), directions(higher_is_better, lower_is_better)
    if kind == "html" and not moving.installed():
        stderr.note("without Plotly the drawings do not move; pip install 'dominance[html]'")
    named = [shlex.quote(str(run)) for run in runs]
    if kind == "html" and len(runs) > 1:
        trees = [opened(run) for run in runs]
        with counting(False, f"report of {len(runs)} runs") as tell:
            beside = output or Path("runs-report")
            print(
                write_side_by_side(trees, beside, overwrite=force, single=alone, higher_is_better=better, progress=tell)
            )
        stderr.line(f"dominance summary {' '.join(named)}")
        return 0
    folders = [_folder(run, output, several=len(runs) > 1) for run in runs]
    if len(set(folders)) < len(folders):
        raise BadOption("two of the runs have the same name", fix="report them one by one, each with its own -o")
    measured = True
    for run, folder in zip(runs, folders, strict=True):
        tree = opened(run)
        with counting(False, f"report of {PurePath(run).name}") as tell:
            written = write_report(
                tree,
                folder,
                format=kind,
                figures=figures,
                overwrite=force,
                single=alone,
                higher_is_better=better,
                progress=tell,
            )
        print("\n".join(map(str, written)))
        if written.verdict is not None:
            print("\n".join([*written.verdict.remarks, *(finding.text for finding in written.verdict)]))
        measured = measured and written.verdict is not None
        for reason in dict.fromkeys(written.missing.values()):
            names = [name for name, why in written.missing.items() if why == reason]
            stderr.note(f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not drawn: {reason}")
    stderr.line(f"dominance summary {' '.join(named)}" if measured else f"dominance info {named[0]}")
    return 0


def _folder(run: str, output: Path | None, *, several: bool) -> Path:
    name = PurePath(run).name if "://" in run else Path(run).resolve().name
    if output is None:
        return Path(f"{name}-report") if "://" in run else Path(run, "report")
    return output / name if several else output
