"""``dominance try``: an unmodified script with several methods and seeds, and what came of each in one table."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.farm import Farm, JobFlags
from dominance_cli.grouped import grouped
from dominance_cli.single_tasks import HIGHER_FLAGS, LOWER_FLAGS, directions
from dominance_cli.trials_table import table

if TYPE_CHECKING:
    from dominance.analyse.study.trials import Trials
    from dominance.cure.choice import Choice
    from dominance.jobs.run import JobResults
    from dominance_cli.script_job import ScriptJob

DEFAULT = "uw,pcgrad,cagrad"
AS_IT_IS = "as it is"
HIGHER = "Of this metric more is better, where the script does not say so. May be repeated."


@grouped
def try_(
    *,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Script; with -m, module.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Its own arguments and options.")] = None,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Methods to try; options of one after colons, like weights:a=1:b=0.5. See `dominance train --list`.",
        ),
    ] = DEFAULT,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Runs of each, which differ in their seeds.")] = 3,
    seed_arg: Annotated[
        str | None,
        typer.Option(
            metavar="FLAG",
            help="The script's own option for a seed, like --seed. [default: move what the script seeds]",
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Also train each task alone, as what sharing must beat.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where runs, table and figure go.")
    ] = None,
    where: JobFlags,
    tasks: Annotated[str | None, typer.Option(metavar="A,B", help="As of record.")] = None,
    columns: Annotated[list[str] | None, typer.Option(metavar="MODULE[=A,B]", help="As of record.")] = None,
    groups: Annotated[str | None, typer.Option(metavar="KEY[:N]", help="As of record.")] = None,
    every: Annotated[str | None, typer.Option(metavar="N", help="As of record.")] = None,
    budget: Annotated[str, typer.Option(metavar="SIZE", help="Bytes that each run may take.")] = "100MB",
    higher: Annotated[list[str] | None, typer.Option(*HIGHER_FLAGS, metavar="METRIC", help=HIGHER)] = None,
    lower: Annotated[list[str] | None, typer.Option(*LOWER_FLAGS, metavar="METRIC", help="Less is better.")] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no hints.")] = False,
    module: Annotated[bool, typer.Option("-m", "--module", help="TARGET is a module, as in python -m.")] = False,
) -> int:
    """Try methods on a training script that needs no change, beside the script as it is.

    Each method is run once for each seed and recorded. What is done already is used again, also after Ctrl-C.
    Our options stand before TARGET; everything after TARGET goes to the script.

    Example: dominance try --methods pcgrad,adatask --seeds 3 train.py --epochs 5
    """
    from dominance.jobs.run import JobResults
    from dominance.record.launch import several
    from dominance.record.ranks.launchers import refuse_launcher
    from dominance.record.script.running import prepare
    from dominance_cli.script_job import share_cores

    chosen = read_methods(methods)
    if several():
        raise BadOption(
            "a launcher has started several processes, and each would try all methods",
            fix="start it by itself; methods combine gradients in one process only",
        )
    refuse_launcher(target, args or [], module=module)
    prepare(target, module=module)
    folder = output or Path("trials") / (target if module else Path(target).absolute().stem)
    script = (*(["-m"] if module else []), target, *(args or []))
    flags = _flags(tasks, columns, groups, every, budget)
    stamp = _stamp(target, module)
    planned = plan(chosen, script, flags, seeds, seed_arg, stamp=stamp)
    outcome, runs = JobResults(), folder / "runs"
    single: dict[str, list[ScriptJob]] = {}
    farm = Farm(where, quiet=quiet)
    try:
        with farm:
            if where.here:
                share_cores(farm.engine.workers)
            outcome.add(farm.run(planned, runs))
            if alone:
                single = _alone(planned, runs, outcome, script, flags, seeds, seed_arg, stamp=stamp)
                outcome.add(farm.run([job for held in single.values() for job in held], runs))
    except KeyboardInterrupt:
        farm.stopped(runs)
        return farm.code
    all_jobs = [*planned, *(job for held in single.values() for job in held)]
    for name, why in outcome.failed.items():
        stderr.error(f"{name}: {why.removeprefix('dominance: error: ')} (log: {runs / name}.log)")
    found = _compared(all_jobs, single, runs, outcome, directions(higher, lower))
    text = table(found, failed=_failed(all_jobs, outcome))
    print(text)
    (folder / "table.txt").write_text(text + "\n", encoding="utf-8")
    figure = _figure(found, folder)
    if not quiet:
        made = len(outcome.seconds.keys() - outcome.failed.keys())
        stderr.note(
            f"{made} run{'s' * (made != 1)} made, {len(outcome.reused)} used again; {folder / 'table.txt'}, {figure}"
        )
        other = next((job for job in planned if job.label != AS_IT_IS and job.name not in outcome.failed), None)
        if other is not None:
            stderr.line(shlex.join(["dominance", "compare", str(runs / planned[0].name), str(runs / other.name)]))
    return 1 if outcome.failed else 0


def read_methods(text: str) -> list[tuple[str, Choice]]:
    """What was typed -> the method and its options.

    Raises:
        BadOption: one that there is not.

    >>> [label for label, _ in read_methods("pcgrad,weights:a=1:b=0.5")]
    ['pcgrad', 'weights:a=1:b=0.5']
    """
    from dominance.cure.choice import choose

    found = []
    for typed in dict.fromkeys(part.strip() for part in text.split(",") if part.strip()):
        name, *options = typed.split(":")
        choice = choose(name, options)
        if not choice.as_it_is:
            found.append((typed, choice))
    if not found:
        raise BadOption("--methods names no method", fix="name some, like --methods pcgrad,adatask")
    return found


def plan(
    chosen: Sequence[tuple[str, Choice]],
    script: tuple[str, ...],
    flags: tuple[str, ...],
    seeds: int,
    seed_arg: str | None,
    *,
    stamp: str = "",
) -> list[ScriptJob]:
    """The runs: the script as it is, then each method, each once for each seed."""
    each: list[tuple[str, tuple[str, ...]]] = [(AS_IT_IS, ())]
    each += [(label, tuple(choice.words())) for label, choice in chosen]
    return [
        _job(label, (*flags, *words), script, seed, seed_arg, stamp) for label, words in each for seed in range(seeds)
    ]


def _job(
    label: str, flags: tuple[str, ...], script: tuple[str, ...], seed: int, seed_arg: str | None, stamp: str
) -> ScriptJob:
    from dominance_cli.script_job import ScriptJob

    if seed_arg is not None:
        script = (*script, *shlex.split(seed_arg), str(seed))
    elif seed:
        flags = (*flags, "--seed-run", str(seed))
    digest = hashlib.sha256(json.dumps([flags, script, stamp]).encode()).hexdigest()[:8]
    word = "".join(c if c.isalnum() or c in "+-=._" else "-" for c in label)
    return ScriptJob(f"{word}-s{seed}-{digest}", label, flags, script, seed)


def _alone(
    planned: Sequence[ScriptJob],
    runs: Path,
    outcome: JobResults,
    script: tuple[str, ...],
    flags: tuple[str, ...],
    seeds: int,
    seed_arg: str | None,
    *,
    stamp: str,
) -> dict[str, list[ScriptJob]]:
    """Runs of each task alone, of the tasks that the script as it is was found to have."""
    from dominance_cli.rundir import opened

    done = [job for job in planned if job.label == AS_IT_IS and job.name not in outcome.failed]
    if not done:
        return {}
    with opened(str(runs / done[0].name)) as run:
        names = [str(task) for task in run.attrs["tasks"]]
    found: dict[str, list[ScriptJob]] = {}
    for task in names:
        words = ("--method", "alone", "--method-option", f"task={task}")
        found[task] = [_job(f"{task} alone", (*flags, *words), script, seed, seed_arg, stamp) for seed in range(seeds)]
    return found


def _flags(
    tasks: str | None, columns: Sequence[str] | None, groups: str | None, every: str | None, budget: str
) -> tuple[str, ...]:
    named = [("--tasks", tasks), *(("--columns", each) for each in columns or []), ("--groups", groups)]
    named.append(("--every", every))
    return tuple(word for flag, value in [*named, ("--budget", budget)] if value is not None for word in (flag, value))


def _stamp(target: str, module: bool) -> str:
    """The script's text: changed, it is another one."""
    path = Path(target)
    return "" if module or not path.is_file() else hashlib.sha256(path.read_bytes()).hexdigest()


def _failed(jobs: Sequence[ScriptJob], outcome: JobResults) -> dict[str, int]:
    """Method -> how many of its runs failed."""
    labels = [job.label for job in jobs if job.name in outcome.failed]
    return {label: labels.count(label) for label in labels}


def _compared(
    jobs: Sequence[ScriptJob],
    single: dict[str, list[ScriptJob]],
    runs: Path,
    outcome: JobResults,
    higher_is_better: Any,
) -> Trials:
    from dominance.analyse.study.trials import trials
    from dominance_cli.rundir import opened

    named = {}
    for job in jobs:
        if job.name in outcome.failed:
            continue
        try:
            named[job.name] = opened(str(runs / job.name))
        except DominanceError as error:
            outcome.failed[job.name] = str(error)
            stderr.error(f"{job.name}: left no run (log: {runs / job.name}.log)")
    return trials(
        named,
        {job.name: job.label for job in jobs},
        reference=AS_IT_IS,
        seeds={job.name: job.seed for job in jobs},
        single={task: [job.name for job in held] for task, held in single.items()},
        higher_is_better=higher_is_better,
    )


def _figure(found: Trials, where: Path) -> Path:
    from dominance.plots.scores import plot_scores

    path = where / "scores.pdf"
    plot_scores(found.scores).savefig(path)
    return path
