"""``dominance train`` over several methods, seeds and settings: a run of each, and a table of means over the seeds."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from dominance.errors import BadData, BadOption, DominanceError
from dominance.train_command import words
from dominance_cli import stderr
from dominance_cli.farm import Farm, JobFlags
from dominance_cli.flags import TrainingFlags
from dominance_cli.text import aligned

if TYPE_CHECKING:
    from dominance.benchmarks.train.plan import TrainOptions
    from dominance.benchmarks.train.trainer import TrainResult
    from dominance.jobs.run import JobResults

_KINDS: Mapping[str, Any] = {
    "optimizer": str,
    "architecture": str,
    **dict.fromkeys(("epochs", "batch_size", "warmup", "patience", "last"), int),
    **dict.fromkeys(("lr", "decay", "lr_power", "weight_decay"), float),
}
"""Options of a training that a grid may vary; beside them settings of the benchmark and options of the methods."""


@dataclass(frozen=True)
class GridFlags:
    """What makes one command many trainings."""

    seeds: Annotated[
        str | None, typer.Option(metavar="N|A:B|A,B", help="A training of each: N of them, a range, or these.")
    ] = None
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V,V", help="Each of these values, of an option, setting or method; repeatable."),
    ] = None


@dataclass(frozen=True)
class GridJob:
    """One training of the grid.

    Attributes:
        row: its method and what is varied: all of its seeds stand in one row of the table.
        recording: options of how it is recorded.
    """

    options: TrainOptions
    row: tuple[str, ...]
    recording: tuple[str, ...]

    module: ClassVar[str] = "dominance"
    can_resume: ClassVar[bool] = True
    fresh: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What is varied, the seed, and all the rest as eight digits."""
        text = "-".join([*self.row, f"s{self.options.seed}"])
        digest = hashlib.sha256(json.dumps(self.command("")).encode()).hexdigest()[:8]
        return "".join(c if c.isalnum() or c in "+-=._" else "-" for c in f"{text}-{digest}")

    def command(self, folder: str) -> list[str]:
        """As one would type it for this training alone."""
        return [*words(self.options.to_plain())[1:], *self.recording, "--force", "-o", folder]


def is_grid(method: str, flags: GridFlags, where: JobFlags) -> bool:
    """Whether a command means more than one training, or one that is to run elsewhere."""
    return "," in method or flags.seeds is not None or bool(flags.grid) or where != JobFlags()


def train_grid(
    benchmark: str,
    method: str,
    training: TrainingFlags,
    flags: GridFlags,
    where: JobFlags,
    recording: Mapping[str, Any],
    output: Path | None,
    *,
    no_record: bool,
) -> int:
    """Train what is not trained yet, and print the table. Returns the exit code.

    Raises:
        BadOption: something of it cannot be used; nothing has begun then.
    """
    jobs = plan_grid(benchmark, method, training, flags, _recorded(recording, no_record=no_record))
    quiet, folder = bool(recording.get("quiet")), output or Path("grids") / benchmark
    farm = Farm(where, quiet=quiet)
    try:
        with farm:
            outcome = farm.run(jobs, folder)
    except KeyboardInterrupt:
        farm.stopped(folder)
        return farm.code
    for name, why in outcome.failed.items():
        stderr.error(f"{name}: {why.removeprefix('dominance: error: ')} (log: {folder / name}.log)")
    text = grid_table(jobs, results(jobs, folder, outcome))
    print(text)
    (folder / "table.txt").write_text(text + "\n", encoding="utf-8")
    if not quiet:
        made = len(outcome.seconds.keys() - outcome.failed.keys())
        stderr.note(f"{made} run{'s' * (made != 1)} made, {len(outcome.reused)} used again; {folder / 'table.txt'}")
        if len(outcome.failed) < len(jobs) and not no_record:
            stderr.line(shlex.join(["dominance", "study", str(folder)]))
    return 1 if outcome.failed else 0


def plan_grid(
    benchmark: str, method: str, training: TrainingFlags, flags: GridFlags, recording: tuple[str, ...]
) -> list[GridJob]:
    """Every combination, each checked as a training of its own is: seeds last, so that a row is whole early.

    Raises:
        BadOption: a method, key, value or seed cannot be used.
    """
    from dominance.benchmarks.arguments import read
    from dominance.benchmarks.train.methods import option_types
    from dominance.benchmarks.train.plan import plan

    methods = [name for name in dict.fromkeys(part.strip() for part in method.split(",")) if name]
    if not methods:
        raise BadOption("no method is named", fix="give --method equal-weight,pcgrad, or others of --list")
    seeds = [training.seed] if flags.seeds is None else read_seeds(flags.seeds)
    if flags.seeds is not None and training.seed:
        raise BadOption("--seed and --seeds both say which seeds", fix="give one of them")
    varied = _varied(flags.grid or [])
    found = []
    for name, values in itertools.product(methods, itertools.product(*varied.values())):
        given = _given(training, benchmark, name, dict(zip(varied, values, strict=True)))
        made = plan(given)
        read(given.options, option_types(made.method, made.optimizer), "--option", name)
        row = (name, *(f"{key}={value}" for key, value in zip(varied, values, strict=True)))
        found += [GridJob(replace(given, seed=seed), row, recording) for seed in seeds]
    return found


def read_seeds(text: str) -> list[int]:
    """
    Raises:
        BadOption: it is none of the three forms.

    >>> read_seeds("3"), read_seeds("2:5"), read_seeds("0,7")
    ([0, 1, 2], [2, 3, 4], [0, 7])
    """
    try:
        first, colon, end = text.partition(":")
        if colon:
            found = list(range(int(first or 0), int(end)))
        else:
            found = [int(part) for part in text.split(",")] if "," in text else list(range(int(text)))
    except ValueError:
        found = []
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise BadOption(f"--seeds {text!r} names no seeds", fix="write 5, 0:5 or 0,3,7")
    return found


def _varied(texts: Sequence[str]) -> dict[str, list[str]]:
    from dominance.benchmarks.arguments import pairs

    found = {key: [part.strip() for part in text.split(",")] for key, text in pairs(texts, "--grid").items()}
    for key, values in found.items():
        if not all(values) or len(set(values)) < len(values):
            raise BadOption(f"--grid {key}={','.join(values)} cannot be used", fix="name each value once")
    return found


def _given(training: TrainingFlags, benchmark: str, method: str, point: Mapping[str, str]) -> TrainOptions:
    """The options at one point of the grid: each key goes where one would type it for one training."""
    from dominance.benchmarks.arguments import arguments
    from dominance.benchmarks.problems.registry import benchmark_class

    settings, options, plain = list(training.settings or []), list(training.method_options or []), {}
    known = arguments(benchmark_class(benchmark))
    for key, value in point.items():
        if key in _KINDS:
            try:
                plain[key] = _KINDS[key](value)
            except ValueError:
                kind = "a whole number" if _KINDS[key] is int else "a number"
                raise BadOption(f"--grid {key}={value}: {key} is {kind}", fix="give such a value") from None
        elif key in known:
            settings.append(f"{key}={value}")
        elif key in _options_of(method, training.optimizer):
            options.append(f"{key}={value}")
        else:
            close = difflib.get_close_matches(key, [*_KINDS, *known, *_options_of(method, training.optimizer)], n=1)
            fix = f"did you mean {close[0]}?" if close else f"see `dominance train {benchmark} --describe`"
            raise BadOption(f"--grid: neither {benchmark} nor {method} has {key}", fix=fix)
    return replace(training, settings=settings, method_options=options, **plain).options(benchmark, method)


def _options_of(method: str, optimizer: str | None) -> Mapping[str, Any]:
    from dominance.benchmarks.train import methods

    return methods.option_types(methods.method(method), optimizer or "adam")


def _recorded(recording: Mapping[str, Any], *, no_record: bool) -> tuple[str, ...]:
    """What ``RecordingFlags`` holds, as it is typed."""
    if no_record and recording.get("probe") is not None:
        raise BadOption("--probe cannot probe what is not recorded", fix="leave it out, or record")
    found = ["--no-record"] * no_record
    for name, value in recording.items():
        if value is not None and name != "quiet":
            found += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return tuple(found)


def results(jobs: Sequence[GridJob], folder: Path, outcome: JobResults) -> dict[str, TrainResult]:
    """What each training that went well has left, by name; what cannot be read counts as failed, and is named."""
    from dominance.benchmarks.train.trainer import result

    found = {}
    for job in jobs:
        if job.name in outcome.failed:
            continue
        try:
            found[job.name] = result(folder / job.name)
        except DominanceError as error:
            outcome.failed[job.name] = str(error)
            again = f"delete {folder / job.name}.done, and the same command trains it again"
            stderr.error(f"{job.name}: {error.message}; {again}")
    return found


def grid_table(jobs: Sequence[GridJob], found: Mapping[str, TrainResult]) -> str:
    """A line for each method and setting: n seeds, each metric's mean and half of its interval, and Δp."""
    from dominance_cli.scores import ARROWS
    from dominance_cli.trials_table import NOTE_WIDTH, estimate, percent

    whole = list(found.values())
    named = ((t.name, m.name, ARROWS[m.higher_is_better]) for r in whole for t in r.tasks for m in t.metrics)
    metrics = list(dict.fromkeys(named))
    by_row: dict[tuple[str, ...], list[GridJob]] = {}
    for job in jobs:
        by_row.setdefault(job.row, []).append(job)
    reference = jobs[0].row[0]
    several = len({row[0] for row in by_row}) > 1
    table = [
        ["", "n", *(f"{task} {metric} {arrow}" for task, metric, arrow in metrics), *(["Δp ↑"] if several else [])]
    ]
    failed = []
    for row, held in by_row.items():
        there = [job for job in held if job.name in found]
        scores = [found[job.name].scores for job in there]
        cells = [estimate(_mean([s[t][m] for s in scores if m in s.get(t, {})])) for t, m, _ in metrics]
        table.append([" ".join(row), str(len(there)), *cells])
        if several:
            base = {job.options.seed: job.name for job in by_row[(reference, *row[1:])]}
            table[-1].append(percent(_mean(_changes(there, base, found)) if row[0] != reference else (math.nan, 0.0)))
        failed += [f"{' '.join(row)}: {len(held) - len(there)} of its runs failed."] * (len(there) < len(held))
    lines = [aligned(table, right=[False, *(True for _ in table[0][1:])]), ""]
    lines.append("Scores on the test data: mean over n seeds ± half of the 95 % interval (Student's t).")
    if several:
        lines.append(f"Δp: mean relative change for the better against {reference} with the same seed and settings.")
    return "\n".join([*lines[:2], *(fill(line, NOTE_WIDTH) for line in lines[2:] + failed)])


def _changes(jobs: Sequence[GridJob], base: Mapping[int, str], found: Mapping[str, TrainResult]) -> list[float]:
    """AdaTask's Δp of each training against the reference's of the same seed, where both have all scores."""
    from dominance.benchmarks.benchmark import directions
    from dominance.deltas import delta_p

    values = []
    for job in jobs:
        ours, theirs = found[job.name], found.get(base[job.options.seed])
        if theirs is not None:
            try:
                values.append(delta_p(ours.scores, theirs.scores, directions(ours.tasks)))
            except BadData:
                continue  # a score is missing, or the reference's is 0: there is no relative change
    return values


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Of those that are numbers."""
    import numpy as np

    from dominance.analyse.study.trials import mean_of

    return mean_of(np.array([value for value in values if math.isfinite(value)]))
