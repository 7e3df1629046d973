"""``dominance train``: a run from scratch with one command."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import BadOption, DominanceError, TrainingFailed
from dominance.schema import DATA_NAME
from dominance.train_command import command
from dominance_cli import stderr
from dominance_cli.baselines import comparable
from dominance_cli.farm import JobFlags
from dominance_cli.flags import RecordingFlags, TrainingFlags
from dominance_cli.grouped import grouped
from dominance_cli.rundir import Latest, default_folder
from dominance_cli.train_grid import GridFlags, is_grid, train_grid

if TYPE_CHECKING:
    from dominance.benchmarks.train.plan import TrainOptions
    from dominance.benchmarks.train.trainer import TrainResult

_WITH_RESUME = ("resume", "baseline", "probe", "quiet")


@grouped
def train(
    context: typer.Context,
    *,
    benchmark: Annotated[
        str | None, typer.Argument(metavar="BENCHMARK", help="What to train on; see --list.", show_default=False)
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="M[,M]", help="How to weigh the tasks; see --list.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List benchmarks and methods, and exit.")] = False,
    describe: Annotated[
        bool,
        typer.Option("--describe", help="Say what BENCHMARK, or with --method M, is and what can be set, and exit."),
    ] = False,
    training: TrainingFlags,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Compare with this earlier run, such as one of stl; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Run directory; of several grids/<benchmark>. [default: runs/<name>-<UTC time>-<pid>]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the run directory.")] = False,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted training, as it was begun.")
    ] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Train only; no figures can be drawn.")] = False,
    recording: RecordingFlags,
    grid: GridFlags,
    where: JobFlags,
) -> int:
    """Train a benchmark from scratch with a method, and record it.

    What is not given is as the benchmark has it. Ctrl-C and SIGTERM keep a checkpoint; --resume goes on with it.
    Several methods, --seeds or --grid make a run of each below -o, once, and a table of means over the seeds.

    Example: dominance train adatask-synthetic --method adatask --seed 1
    """
    if listing:
        _list()
        return 0
    if resume is not None:
        _alone(context)
        return _go_on(resume, baseline or [], recording.probe, quiet=bool(recording.quiet))
    if describe and method is not None:
        from dominance.benchmarks.train.methods import described as method_described

        print(method_described(method))
        stderr.line(f"dominance train {shlex.quote(benchmark or 'adatask-synthetic')} --method {shlex.quote(method)}")
        return 0
    if benchmark is None:
        raise BadOption("no benchmark is named", fix="see `dominance train --list`")
    if describe:
        from dominance.benchmarks.problems.registry import describe as described

        print(described(benchmark))
        stderr.line(f"dominance train {shlex.quote(benchmark)} --method equal-weight")
        return 0
    if method is None:
        raise BadOption("no method is named", fix="give --method equal-weight, or another of `dominance train --list`")
    if is_grid(method, grid, where):
        if baseline or force:
            raise BadOption(
                f"{'--baseline' if baseline else '--force'} is for one training", fix="leave it out, or train one"
            )
        return train_grid(benchmark, method, training, grid, where, vars(recording), output, no_record=no_record)
    chosen = training.options(benchmark, method)
    return _train(chosen, vars(recording), output, baseline or [], force=force, no_record=no_record)


def _train(
    options: TrainOptions,
    recording: Mapping[str, Any],
    output: Path | None,
    baselines: list[Path],
    *,
    force: bool,
    no_record: bool,
) -> int:
    from dominance.benchmarks.train.plan import plan
    from dominance.benchmarks.train.trainer import result, train
    from dominance.config import record_options

    made = plan(options)
    if recording["probe"] is not None and (no_record or made.method.alone):
        why = "what is not recorded" if no_record else "tasks that are trained alone"
        raise BadOption(f"--probe cannot probe {why}", fix="leave it out, or train the tasks together and recorded")
    asked = record_options(recording, defaults={"every": made.benchmark.settings.every})
    record, quiet = None if no_record else asked, asked.quiet
    earlier = comparable(made, [result(path) for path in baselines], quiet=quiet)
    path = output or default_folder(f"{options.benchmark}-{made.method.name}", module=True)
    latest = Latest(path) if output is None else None
    if latest is not None and (message := latest.point()) and not quiet:
        stderr.note(message)
    signals: list[signal.Signals] = []
    try:
        with _watching(quiet, signals) as progress:
            done = train(options, path, record=record, overwrite=force, progress=progress, stop=lambda: bool(signals))
    except (KeyboardInterrupt, TrainingFailed) as error:
        return _ended(path, error, signals, quiet=quiet)
    finally:
        if latest is not None and not path.exists():
            latest.restore()
    if asked.probe and not no_record:
        _probe(done, quiet=quiet)
    _show(done, earlier, quiet=quiet)
    return 0


def _go_on(path: Path, baselines: list[Path], probe: str | None, *, quiet: bool) -> int:
    from dominance.benchmarks.train.noise_probes import probes_wanted
    from dominance.benchmarks.train.trainer import result, resume
    from dominance.config import RecordOptions

    wanted = probes_wanted(path) if probe is None else RecordOptions(probe=(probe,)).probe

    earlier = comparable(result(path).plan, [result(baseline) for baseline in baselines], quiet=quiet)
    signals: list[signal.Signals] = []
    try:
        with _watching(quiet, signals) as progress:
            done = resume(path, progress=progress, stop=lambda: bool(signals))
    except (KeyboardInterrupt, TrainingFailed) as error:
        return _ended(path, error, signals, quiet=quiet)
    if wanted:
        _probe(done, quiet=quiet)
    _show(done, earlier, quiet=quiet)
    return 0


def _probe(done: TrainResult, *, quiet: bool) -> None:
    """The noise probe of a training that is over; what keeps it from being made is said, and changes nothing else."""
    from dominance.benchmarks.train.noise_probes import noise_probe
    from dominance_cli.probe import noise

    if not (done.path / DATA_NAME).exists():
        stderr.error("no noise probe: nothing was recorded of tasks that share parameters")
        return
    try:
        with noise_probe(done.path) as probe:
            noise(done.path, lambda: probe, quiet=quiet)
    except DominanceError as error:
        stderr.error(f"no noise probe: {error}")


def _alone(context: typer.Context) -> None:
    """Refuse what would change a training that is resumed.

    Raises:
        BadOption: another option than those in ``_WITH_RESUME`` is given.
    """
    given = [
        parameter.opts[-1] if parameter.opts[0].startswith("-") else parameter.metavar or parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _WITH_RESUME and _typed(context, parameter.name)
    ]
    if given:
        raise BadOption(
            "--resume goes on with a training as it was begun", fix=f"give --resume RUN without {', '.join(given)}"
        )


def _typed(context: typer.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


def _ended(path: Path, error: KeyboardInterrupt | TrainingFailed, signals: list[signal.Signals], *, quiet: bool) -> int:
    """Say how it ended before its end, and how to go on; returns the exit code."""
    if isinstance(error, TrainingFailed):
        stderr.error(str(error))
        return 1
    from dominance.benchmarks.train.checkpoint import there

    if not there(path):
        stderr.error(f"interrupted before there was anything to resume in {path}")
    elif not quiet:
        stderr.note(f"interrupted; {path} holds what was trained so far")
        stderr.line(f"dominance train --resume {shlex.quote(str(path))}")
    return 128 + (signals[-1] if signals else signal.SIGINT)


def _show(done: TrainResult, earlier: list[TrainResult], *, quiet: bool) -> None:
    from dominance_cli.scores import comparison, table

    print(table(done))
    for baseline in earlier:
        print(f"\n{comparison(done, baseline)}")
    if quiet:
        return
    path = shlex.quote(str(done.path))
    if done.plan.method.alone:
        again = {**done.plan.options.to_plain(), "method": "equal-weight", "options": {}}
        stderr.line(f"{command(again)} --baseline {path}")
    elif (done.path / DATA_NAME).exists():
        stderr.line(f"dominance {'report' if len(done.tasks) > 1 else 'info'} {path}")


@contextmanager
def _watching(quiet: bool, came: list[signal.Signals]) -> Iterator[Any]:
    """A progress bar on a terminal; Ctrl-C and SIGTERM go to ``came`` and wait for the end of the step.

    The second one does not wait.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: object) -> None:
        came.append(signal.Signals(number))
        restore()

    for number in before:
        signal.signal(number, interrupt)
    try:
        from dominance_cli.progress import training_progress

        with training_progress(quiet) as progress:
            yield progress
    finally:
        restore()


def _list() -> None:
    from dominance.benchmarks.problems.registry import BENCHMARKS, benchmark_class
    from dominance.benchmarks.train.methods import METHODS
    from dominance_cli.text import aligned

    print("Benchmarks")
    print(aligned([(f"  {name}", benchmark_class(name).title) for name in BENCHMARKS], right=[False, False]))
    print("\nMethods")
    print(aligned([(f"  {each.name}", each.title) for each in METHODS.values()], right=[False, False]))
    stderr.line("dominance train adatask-synthetic --describe")
