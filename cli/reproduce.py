"""``dominance reproduce``: train what a figure or table of a paper needs, then make it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.farm import Farm, JobFlags, TimeIsUp
from dominance_cli.grouped import grouped

if TYPE_CHECKING:
    from dominance.jobs.job import Job
    from dominance.jobs.run import JobResults
    from dominance.papers.item import Item
    from dominance.papers.write import Made

FORMATS = ("pdf", "png", "svg")


@grouped
def reproduce(
    *,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Figure or table, a glob, or all; see `dominance figures list`.")
    ],
    scale: Annotated[str, typer.Option(metavar="SCALE", help="quick, long, or full: as long as the paper.")] = "quick",
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where runs and figures go.")] = Path(
        "reproduction"
    ),
    where: JobFlags,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK=DIR", help="Where the data of a benchmark lies, in the documented layout; repeatable."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="BENCHMARK:KEY=VALUE", help="A setting in the place of ours; repeatable."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="N", help="Stop after N minutes; the same command goes on then.")
    ] = None,
    kind: Annotated[str, typer.Option("--format", metavar="FORMAT", help="pdf, png or svg.")] = "pdf",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no hints.")] = False,
) -> int:
    """Train what a paper's figure or table needs, and make it.

    What is trained already is used again, also after Ctrl-C or SIGTERM. REPRODUCTION.md in the output folder says of
    each claim whether it holds.

    Example: dominance reproduce adatask-fig2
    """
    from dominance.papers.item import SCALES

    if scale not in SCALES:
        raise BadOption(f"scale {scale!r} is unknown", fix=f"choose from {', '.join(SCALES)}")
    if kind not in FORMATS:
        raise BadOption(f"format {kind!r} is unknown", fix=f"choose from {', '.join(FORMATS)}")
    from dominance.papers.catalogue import find

    items = find(name)
    folders = _folders(data or [])
    wanted = _needs(items, scale, folders, _settings(settings or []))
    if not quiet:
        for benchmark in folders.keys() - _used(wanted, folders):
            stderr.note(f"nothing that is asked for is made from {benchmark}: --data {benchmark}=... is not used")
    every = list({job.name: job for needed in wanted.values() for job in needed}.values())
    runs = output / "runs"
    again = f" --scale {scale}" if scale != "quick" else ""
    for flag, texts in (("--data", data), ("--set", settings)):
        again += "".join(f" {flag} {shlex.quote(text)}" for text in texts or [])
    farm = Farm(where, quiet=quiet, minutes=minutes)
    try:
        with farm:
            outcome = farm.run(every, runs)
    except KeyboardInterrupt as error:
        over = isinstance(error, TimeIsUp)
        farm.stopped(runs, "time is up" if over else "interrupted")
        stderr.line(f"dominance reproduce {shlex.quote(name)}{again}{where.again()} -o {shlex.quote(str(output))}")
        return 0 if over else farm.code
    for failed, why in outcome.failed.items():
        stderr.error(f"{failed}: {why.removeprefix('dominance: error: ')}")
    made, missing = _make(items, wanted, outcome, runs, output, kind, again)
    if made:
        _report(output)
    for item, why in missing.items():
        stderr.error(f"{item} was not made: {why}")
    if not quiet:
        stderr.note(f"{len(outcome.seconds)} jobs run, {len(outcome.reused)} used again")
    return 1 if missing else 0


def _folders(texts: Sequence[str]) -> dict[str, Path]:
    """Data folders by benchmark."""
    found = {}
    for text in texts:
        benchmark, equals, folder = text.partition("=")
        if not equals or not folder:
            raise BadOption(f"--data {text!r} is no BENCHMARK=DIR", fix="write it like --data nyuv2=/data/nyuv2")
        from dominance.benchmarks.problems.registry import benchmark_class

        benchmark_class(benchmark)  # refuses a name that there is not
        found[benchmark] = Path(folder)
    return found


def _settings(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Benchmark -> its settings."""
    from dominance.benchmarks.arguments import pairs
    from dominance.benchmarks.problems.registry import benchmark_class

    found: dict[str, list[str]] = {}
    for text in texts:
        benchmark, colon, rest = text.partition(":")
        if not colon:
            raise BadOption(f"--set {text!r} is no BENCHMARK:KEY=VALUE", fix="write it like --set census:width=32")
        benchmark_class(benchmark)  # refuses a name that there is not
        found.setdefault(benchmark, []).append(rest)
    return {benchmark: pairs(rest, "--set") for benchmark, rest in found.items()}


def _needs(
    items: Sequence[Item], scale: str, data: dict[str, Path], settings: dict[str, dict[str, str]]
) -> dict[str, list[Job]]:
    from dominance.papers.item import Scale, Wish

    folders = {benchmark: folder.absolute() for benchmark, folder in data.items()}
    wish = Wish(cast("Scale", scale), folders, settings)
    return {item.name: list(item.needs(wish)) for item in items}


def _used(wanted: dict[str, list[Job]], folders: dict[str, Path]) -> set[str]:
    """The benchmarks among ``folders`` whose data a job reads."""
    words = {word for jobs in wanted.values() for job in jobs for word in job.command("")}
    return {benchmark for benchmark in folders if benchmark in words}


def _make(
    items: Sequence[Item],
    wanted: dict[str, list[Job]],
    outcome: JobResults,
    runs: Path,
    output: Path,
    kind: str,
    again: str,
) -> tuple[list[Made], dict[str, str]]:
    """The items that can be made, and why the others were not.

    Args:
        again: options with which the command makes the same again.
    """
    from dominance.papers.material import Material
    from dominance.papers.write import make

    made, missing = [], {}
    for item in items:
        names = [job.name for job in wanted[item.name]]
        material = Material([runs / job for job in names if job not in outcome.failed])
        command = f"dominance reproduce {shlex.quote(item.name)}{again}"
        failed = {job: why for job, why in outcome.failed.items() if job in names}
        try:
            done = make(item, material, output, format=kind, overwrite=True, command=command, missing=failed)
        except DominanceError as error:
            missing[item.name] = str(error)
            continue
        made.append(done)
        print("\n".join(map(str, done.files)))
        for claim, judged in done.judged:
            print(f"  {judged.outcome}: {claim.says} ({judged.evidence})")
    return made, missing


def _report(output: Path) -> None:
    from dominance.papers.catalogue import items
    from dominance.papers.reproduction import write_reproduction

    path = write_reproduction(items(), output)
    if path is not None:
        print(path)
