"""One training from its first step to its last: the loop, its record and its checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dominance.benchmarks.benchmark import Batch, Benchmark, Scores
from dominance.benchmarks.data.splits import derived_generator
from dominance.benchmarks.models.base import Architecture, Representation
from dominance.benchmarks.train import checkpoint, methods
from dominance.benchmarks.train.evaluation import evaluate, mean_of, standing
from dominance.benchmarks.train.plan import Plan
from dominance.config import RecordOptions
from dominance.errors import BadOption, DominanceError, TrainingFailed
from dominance.record.recorder import Recorder

EVALUATED = ("val", "test")
SAVE_EVERY = 10.0
"""Seconds between two checkpoints."""
FINAL = "final"
"""The split under which a run holds the scores that count: those on "test" after the epoch that is chosen."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        epoch: counted from 0, of ``epochs``.
        batch: batches of this epoch that are done, of ``batches``; None before the first epoch is over.
        step: steps taken since the start.
        losses: task -> loss of the last batch.
        alone: the task, where each is trained alone.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int | None
    step: int
    losses: Mapping[str, float]
    alone: str | None = None


@dataclass(frozen=True)
class Callbacks:
    """Who looks on while it trains: is told of every step, and asked after it whether to stop."""

    progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] = lambda: False


class Interrupted(KeyboardInterrupt):
    """The training was asked to stop, and can be resumed."""

    def __init__(self, path: Path, step: int) -> None:
        super().__init__(f"stopped after step {step}; resume({str(path)!r}) goes on")
        self.path = path
        self.step = step


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        epoch, batch: what comes next, both counted from 0.
        batches: of an epoch, once one is over.
        step: steps taken.
        best, best_epoch: standing on "val" and epoch of the best so far.
        scores: on "test" after the epoch that is chosen so far; or the mean over the last epochs.
        recent: on "test" after each of the last epochs, as many as ``last`` says.
        done: nothing is left to do.
    """

    epoch: int = 0
    batch: int = 0
    batches: int | None = None
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    scores: Scores = field(default_factory=dict)
    recent: list[Scores] = field(default_factory=list)
    done: bool = False


class TrainingLoop:
    """Makes the model and the method of a plan whose data is loaded; ``run`` trains.

    Torch's global generator is used, for the first weights and for dropout: the caller seeds it, or ``restore`` does.
    """

    def __init__(self, plan: Plan, path: Path, record: RecordOptions | None, callbacks: Callbacks) -> None:
        self.plan = plan
        self.path = path
        self.place = Position()
        self.model = plan.benchmark.model(plan.architecture, plan.names).to(plan.options.device)
        if plan.representation and not (hasattr(self.model, "encode") and hasattr(self.model, "decode")):
            why, fix = f"{plan.options.benchmark} has no shared representation", "leave --representation out"
            if plan.method.representation:
                why, fix = f"{why}, and {plan.method.name} works on its gradients", "take --method mgda"
            raise BadOption(why, fix=fix)
        self.method_step = methods.build(
            plan.method,
            self.model,
            plan.names,
            optimizer=plan.optimizer,
            lr=plan.lr,
            weight_decay=plan.options.weight_decay,
            seed=plan.options.seed,
            options=plan.options.options,
        )
        self._record = record
        self._recorder: Recorder | None = None
        self._watcher = callbacks
        self._batches = derived_generator(plan.options.seed, "batches")
        self._epoch_began = self._batches.get_state()
        self._saved = time.monotonic()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.method_step.load_state_dict(state["method"])
        self._batches.set_state(state["batches"])
        self._epoch_began = state["batches"]
        torch.set_rng_state(state["torch"])
        self.place = Position(**state["place"])

    def run(self, *, overwrite: bool = False, resume: bool = False) -> None:
        """Train until the end.

        Raises:
            BadOption: see ``_check_patience``.
            TrainingFailed: a loss or gradient is not finite, or the method found no weights.
            Interrupted: the callbacks said so; there is a checkpoint.
        """
        self._check_patience()
        with self._recording(overwrite=overwrite, resume=resume):
            while not self.place.done:
                self._epoch()
            self._log(FINAL, self.place.scores)
        self._save()  # it is over only once the recording is complete

    def _check_patience(self) -> None:
        """
        Raises:
            BadOption: the training is to stop by a validation set, and the data has none.
        """
        benchmark = self.plan.benchmark
        if self.plan.patience and next(iter(benchmark.batches("val", 1)), None) is None:
            raise BadOption(
                f"{self.plan.options.benchmark} has no validation set here, and --patience needs one",
                fix="hold some of the data out, or leave --patience out",
            )

    def _recording(self, *, overwrite: bool, resume: bool) -> AbstractContextManager[object]:
        if self._record is None:
            return nullcontext()
        options = self._record
        self._recorder = Recorder(
            self.path,
            self.model,
            self.method_step.optimizer,
            tasks=self.plan.names if len(self.plan.names) == 1 else None,  # one is what was asked for
            every=options.every,
            burst=options.burst,
            params=options.params,
            budget=options.budget,
            averages=options.keeps_averages,
            exact=options.exact,
            light=options.light,
            attribution=options.attribution,
            overwrite=overwrite,
            resume=resume,
            attrs=self.plan.attributes(),
            first_step=self.place.step,
            quiet=options.quiet,
        )
        return self._recorder

    def _epoch(self) -> None:
        """What is left of the present epoch.

        Whatever ends the training early waits for the next batch or the epoch's evaluation: there is always a step to
        come before the next evaluation, so that a resumed recording has begun when its metrics come.
        """
        place, plan = self.place, self.plan
        if self._recorder is not None:
            self._recorder.epoch(place.epoch)
        self.model.train()
        done, stop = place.batch, False
        for index, batch in enumerate(plan.benchmark.batches("train", plan.batch_size, self._batches)):
            if index < done:  # drawn again, so that the generator is where it was
                continue
            if index > done:
                self._pause(stop)
            place.batch = index + 1
            self._step(batch.to(plan.options.device))
            stop = self._watcher.stop()
        self.method_step.epoch()
        self._assess()
        place.batches, place.batch, place.epoch = place.batch, 0, place.epoch + 1
        waited = place.epoch - place.best_epoch
        place.done = place.epoch >= plan.epochs or 0 < plan.patience <= waited
        self._epoch_began = self._batches.get_state()
        if not place.done:
            self._pause(stop)

    def _pause(self, stop: bool) -> None:
        """Between two steps: write a checkpoint if it is time to, and end if that was asked for."""
        if stop or time.monotonic() - self._saved >= SAVE_EVERY:
            if self._recorder is not None and self._recorder.failure is None:
                self._recorder.flush()  # no checkpoint without the record of what came before it
            self._save()
        if stop:
            raise Interrupted(self.path, self.place.step)

    def _step(self, batch: Batch) -> None:
        outputs, representation = self._forward(batch)
        losses = self._losses(batch, outputs)
        values = {task: float(loss.detach()) for task, loss in losses.items() if loss is not None}
        if not values:
            return
        for task, value in values.items():
            if not math.isfinite(value):
                raise self._failed(f"the loss of {task} is {value}")
        self.method_step.set_learning_rate(self.plan.learning_rate(self.place.epoch, self.place.step))
        try:
            self.method_step.step(losses, representation)
            self.method_step.look_back(lambda: self._losses(batch, self.plan.benchmark.outputs(self.model, batch)))
        except DominanceError:
            raise
        except (ValueError, ArithmeticError) as error:
            raise self._failed(str(error)) from error
        self.place.step += 1
        if self._watcher.progress is not None:
            self._watcher.progress(self._progress(values))

    def _forward(self, batch: Batch) -> tuple[dict[str, Tensor], Representation | None]:
        """The outputs, and the representation where the method works on its gradients."""
        if not self.plan.representation:
            return self.plan.benchmark.outputs(self.model, batch), None
        model = cast(Architecture, self.model)
        representation = model.encode(batch.inputs)
        return model.decode(representation), representation

    def _losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
        """Each task's loss; None for one that has no label in this batch."""
        loss, targets = self.plan.benchmark.loss, batch.targets
        return {
            task: loss(task, outputs[task], targets[task]) if task in outputs and task in targets else None
            for task in self.plan.names
        }

    def _progress(self, losses: Mapping[str, float]) -> Progress:
        place = self.place
        alone = self.plan.names[0] if self.plan.method.alone else None
        return Progress(place.epoch, self.plan.epochs, place.batch, place.batches, place.step, losses, alone)

    def _failed(self, why: str) -> TrainingFailed:
        where = f"{self.plan.method.name} failed at step {self.place.step}"
        return TrainingFailed(f"{where}: {why}", fix="try a smaller --lr, or another method")

    def _assess(self) -> None:
        """Evaluate, and choose the epoch whose scores count."""
        place, plan = self.place, self.plan
        found = {split: self._evaluate(plan.benchmark, split) for split in EVALUATED}
        for split, scores in found.items():
            self._log(split, scores)
        now = standing(found["val"], plan.tasks)
        better = now > place.best
        if better or place.best_epoch == 0:
            place.best, place.best_epoch = now, place.epoch + 1
        place.recent = [*place.recent, found["test"]][-plan.options.last :]
        if better or not plan.patience or not place.scores:
            place.scores = mean_of(place.recent)

    def _evaluate(self, benchmark: Benchmark, split: str) -> Scores:
        plan = self.plan
        return evaluate(
            benchmark, self.model, split, tasks=plan.names, batch_size=plan.batch_size, device=plan.options.device
        )

    def _log(self, split: str, scores: Scores) -> None:
        if self._recorder is None or self._recorder.failure is not None:
            return
        for task, metrics in scores.items():
            self._recorder.log_metrics(task=task, split=split, **metrics)

    def _save(self) -> None:
        self._saved = time.monotonic()
        checkpoint.save(
            self.path,
            {
                "options": self.plan.resolved.to_plain(),
                "given": list(self.plan.given),
                "record": None if self._record is None else asdict(self._record),
                "place": asdict(self.place),
                "model": self.model.state_dict(),
                "method": self.method_step.state_dict(),
                "batches": self._epoch_began,
                "torch": torch.get_rng_state(),
            },
        )
