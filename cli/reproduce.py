"""``dominance reproduce``: train what a figure or table of a paper needs, then make it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.farm import Farm, JobFlags, TimeIsUp, duration
from dominance_cli.grouped import grouped

if TYPE_CHECKING:
    from dominance.jobs.job import Job
    from dominance.papers.item import Item, Scale

FORMATS = ("pdf", "png", "svg")
_WORTH_SAYING = 120.0
"""Seconds."""


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
    if not quiet:
        _say_how_long(every, runs, where)
    again = f" --scale {scale}" if scale != "quick" else ""
    for flag, texts in (("--data", data), ("--set", settings)):
        again += "".join(f" {flag} {shlex.quote(text)}" for text in texts or [])
    make = _Making(wanted, runs, output, kind, again, scale)
    farm = Farm(where, quiet=quiet, minutes=minutes)
    try:
        with farm:
            outcome = farm.run(every, runs)
    except KeyboardInterrupt as error:
        over = isinstance(error, TimeIsUp)
        if over:
            make.ready(items)
        farm.stopped(runs, "time is up" if over else "interrupted")
        stderr.line(f"dominance reproduce {shlex.quote(name)}{again}{where.again()} -o {shlex.quote(str(output))}")
        return 0 if over else farm.code
    for failed, why in outcome.failed.items():
        stderr.error(f"{failed}: {why.removeprefix('dominance: error: ')}")
    missing = make(items, outcome.failed)
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
    from dominance.papers.item import Wish

    folders = {benchmark: folder.absolute() for benchmark, folder in data.items()}
    wish = Wish(cast("Scale", scale), folders, settings)
    return {item.name: list(item.needs(wish)) for item in items}


def _used(wanted: dict[str, list[Job]], folders: dict[str, Path]) -> set[str]:
    """The benchmarks among ``folders`` whose data a job reads."""
    words = {word for jobs in wanted.values() for job in jobs for word in job.command("")}
    return {benchmark for benchmark in folders if benchmark in words}


@dataclass(frozen=True)
class _Making:
    """Makes items of what was trained, and the report.

    Attributes:
        wanted: item -> its jobs.
        again: options with which the command makes the same again.
    """

    wanted: Mapping[str, Sequence[Job]]
    runs: Path
    output: Path
    format: str
    again: str
    scale: Scale

    def __call__(self, items: Sequence[Item], failed: Mapping[str, str]) -> dict[str, str]:
        """Why some were not made."""
        from dominance.papers.material import Material
        from dominance.papers.write import make

        made, missing = 0, {}
        for item in items:
            names = [job.name for job in self.wanted[item.name]]
            material = Material([self.runs / job for job in names if job not in failed])
            command = f"dominance reproduce {shlex.quote(item.name)}{self.again}"
            its = {job: why for job, why in failed.items() if job in names}
            how: dict[str, Any] = {"command": command, "scale": self.scale, "missing": its, "overwrite": True}
            try:
                done = make(item, material, self.output, format=self.format, **how)
            except DominanceError as error:
                missing[item.name] = str(error)
                continue
            made += 1
            print("\n".join(map(str, done.files)))
            for claim, judged in done.judged:
                print(f"  {judged.outcome}: {claim.says} ({judged.evidence})")
        if made:
            _report(self.output)
        return missing

    def ready(self, items: Sequence[Item]) -> None:
        """Those of which everything was trained."""
        from dominance.jobs.job import is_done

        there = [item for item in items if all(is_done(self.runs / job.name) for job in self.wanted[item.name])]
        for item, why in self(there, {}).items():
            stderr.error(f"{item} was not made: {why}")


def _say_how_long(jobs: Sequence[Job], runs: Path, where: JobFlags) -> None:
    """Where it is more than two minutes."""
    from dominance.jobs.job import is_done
    from dominance.papers.estimate import together

    left = [job for job in jobs if not is_done(runs / job.name)]
    seconds, unknown = together(left)
    at_once = where.jobs or os.cpu_count() or 1
    if not where.here or seconds / at_once < _WORTH_SAYING:
        return
    said = f"{len(left)} jobs to run, about {duration(seconds / at_once)} with {at_once} at a time"
    stderr.note(said + (f"; of {unknown} of them it is not known" if unknown else ""))


def _report(output: Path) -> None:
    from dominance.papers.catalogue import items
    from dominance.papers.reproduction import write_reproduction

    path = write_reproduction(items(), output)
    if path is not None:
        print(path)
