"""Trains a benchmark with a method from scratch, and records it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dominance.benchmarks.benchmark import Scores, Task
from dominance.benchmarks.train import checkpoint
from dominance.benchmarks.train.plan import Plan, TrainOptions, plan
from dominance.benchmarks.train.training import Callbacks, Progress, TrainingLoop
from dominance.config import RecordOptions
from dominance.errors import BadOption, RunExists
from dominance.schema import DATA_NAME


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves behind.

    Attributes:
        path: the run directory; of single-task trainings the directory of theirs, one for each task.
        plan: what was trained.
        scores: on "test" after the epoch that is chosen: the best on "val" with early stopping, else the last.
        epoch: that epoch, counted from 1; None for single-task trainings.
        steps: taken in all.
        done: nothing is left to do.
    """

    path: Path
    plan: Plan
    scores: Scores
    epoch: int | None
    steps: int
    done: bool = True

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What was trained, with the metrics and their directions."""
        return self.plan.tasks


def train(
    options: TrainOptions,
    path: str | Path,
    *,
    record: RecordOptions | None = RecordOptions(),  # noqa: B008  frozen
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train from scratch. The same options give the same weights, to the bit, on one machine with one torch.

    torch's global random numbers are as before afterwards. After every epoch the model is evaluated on "val" and
    "test", and the run gets the metrics: their splits are named so, and the scores that count come last, as "final".
    ``checkpoint.pt`` in the run directory is renewed every ten seconds, and at the end.

    Args:
        path: the run directory. Single-task learning makes one in it for each task, named after it.
        record: how the run is recorded; None: not at all, ``path`` then holds the checkpoint alone.
        overwrite: replace a run that is there.
        progress: is told of every step.
        stop: asked after every step; once it says True, a checkpoint is written and the training ends.

    Raises:
        BadOption: an option that cannot be used.
        MissingData, BadData: see ``Benchmark.load``.
        RunExists: ``path`` is there and ``overwrite`` is not given.
        TrainingFailed: a loss or gradient is not finite, or the method found no weights.
        Interrupted: ``stop`` said so.
    """
    made = plan(options)
    folder = Path(path)
    _claim(folder, record, overwrite=overwrite)
    with seeded(options):
        made.benchmark.load(options.seed)
        if made.method.alone:
            _clear(folder)
            return _train_alone(made, folder, record, Callbacks(progress, stop))
        training = TrainingLoop(made, folder, record, Callbacks(progress, stop))
        _clear(folder, keep_data=record is not None)
        training.run(overwrite=overwrite)
        return _result(training)


def resume(
    path: str | Path,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Go on with a training that was interrupted or killed: it ends with the weights that it would have had.

    Of one that is over, the result is returned again.

    Args:
        progress, stop: as in ``train``.

    Raises:
        NotARun, CorruptRun: there is no checkpoint at ``path``, or it cannot be read.
        BadOption, MissingData, BadData, TrainingFailed, Interrupted: as in ``train``.
    """
    folder = Path(path)
    state = checkpoint.load(folder)
    made = plan(TrainOptions.from_plain(state["options"]), state.get("given"))
    record = _record_options(state["record"])
    callbacks = Callbacks(progress, stop)
    with seeded(made.options):
        made.benchmark.load(made.options.seed)
        if "model" not in state:
            return _train_alone(made, folder, record, callbacks)
        return _result(_resumed(made, folder, record, callbacks, state))


def result(path: str | Path) -> TrainResult:
    """What a training left behind, finished or not: the scores after its last epoch, or none.

    Raises:
        NotARun, CorruptRun: there is no checkpoint at ``path``, or it cannot be read.
    """
    folder = Path(path)
    state = checkpoint.load(folder)
    made = plan(TrainOptions.from_plain(state["options"]), state.get("given"))
    if "model" not in state:
        return _together(made, folder, [result(folder / task) for task in made.names if (folder / task).exists()])
    place = state["place"]
    chosen = _chosen(made, place["epoch"], place["best_epoch"])
    return TrainResult(folder, made, place["scores"], chosen, place["step"], place["done"])


def _train_alone(made: Plan, folder: Path, record: RecordOptions | None, callbacks: Callbacks) -> TrainResult:
    """A model for each task, from the same seed. What is there of them already is kept, and gone on with."""
    checkpoint.save(folder, _head(made, record))
    found = []
    for task in made.names:
        alone, path = made.alone(task), folder / task
        torch.manual_seed(made.options.seed)
        if checkpoint.there(path):
            training = _resumed(alone, path, record, callbacks, checkpoint.load(path))
        else:
            training = TrainingLoop(alone, path, record, callbacks)
            training.run(overwrite=path.exists())  # a kill may have come before the first checkpoint
        found.append(_result(training))
    return _together(made, folder, found)


def _resumed(
    made: Plan, folder: Path, record: RecordOptions | None, callbacks: Callbacks, state: dict[str, Any]
) -> TrainingLoop:
    training = TrainingLoop(made, folder, record, callbacks)
    training.restore(state)
    if not training.place.done:
        training.run(resume=True)
    return training


def _result(training: TrainingLoop) -> TrainResult:
    place = training.place
    epoch = _chosen(training.plan, place.epoch, place.best_epoch)
    return TrainResult(training.path, training.plan, place.scores, epoch, place.step)


def _chosen(made: Plan, epoch: int, best: int) -> int:
    return best if made.patience else epoch


def _together(made: Plan, folder: Path, results: list[TrainResult]) -> TrainResult:
    scores = {task: metrics for each in results for task, metrics in each.scores.items()}
    done = len(results) == len(made.names) and all(each.done for each in results)
    return TrainResult(folder, made, scores, None, sum(each.steps for each in results), done)


def _head(made: Plan, record: RecordOptions | None) -> dict[str, Any]:
    """The checkpoint of single-task trainings as a whole: how they are made. Each has one of its own."""
    plain = None if record is None else asdict(record)
    return {"options": made.resolved.to_plain(), "given": list(made.given), "record": plain}


def _record_options(plain: dict[str, Any] | None) -> RecordOptions | None:
    if plain is None:
        return None
    tasks = None if plain["tasks"] is None else tuple(plain["tasks"])
    return RecordOptions(**{**plain, "tasks": tasks, "probe": tuple(plain.get("probe", ()))})


def _claim(folder: Path, record: RecordOptions | None, *, overwrite: bool) -> None:
    """See whether a run may be made there; nothing is changed."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise RunExists(f"{folder} exists", fix="give --force to replace it, or another -o")
    recorded = (folder / DATA_NAME).exists()
    foreign = not folder.is_dir() or any(not _ours(child) for child in folder.iterdir())
    if foreign and not recorded and (record is not None or not checkpoint.there(folder)):
        raise RunExists(f"{folder} holds something that is no dominance run", fix="give another -o")


def _ours(child: Path) -> bool:
    return child.name in (DATA_NAME, checkpoint.NAME) or (child.is_dir() and checkpoint.there(child))


def _clear(folder: Path, *, keep_data: bool = False) -> None:
    """Take away the run that is there, and those of single tasks in it; files of others stay.

    Args:
        keep_data: leave what was recorded: the recorder replaces it when it has something in its place.
    """
    if not folder.exists():
        return
    for task in [child for child in folder.iterdir() if child.is_dir() and checkpoint.there(child)]:
        _clear(task)
        if not any(task.iterdir()):
            task.rmdir()
    checkpoint.remove(folder)
    if (folder / DATA_NAME).exists() and not keep_data:
        shutil.rmtree(folder / DATA_NAME)


@contextmanager
def seeded(options: TrainOptions) -> Iterator[None]:
    """torch's global generators start from the seed, and are put back in the end; so is the number of its threads."""
    if options.threads < 1:
        raise BadOption(f"--threads {options.threads} is no number of threads", fix="give 1 or more")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    devices = [torch.device(options.device)] if options.device.startswith("cuda") else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(options.seed)
            yield
    finally:
        torch.set_num_threads(threads)
