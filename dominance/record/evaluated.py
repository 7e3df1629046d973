"""Losses that the script computes without gradients, on the data that it evaluates, become metrics of the run.

An evaluation is what lies between two training steps. A value counts where it is known whose loss it is, by the place,
the name or the text that made it (``LossSources``), where the model that trains was called before it, and where what it
was called with is no batch of the training: a value of which any of that is not certain is no metric.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dominance.record.fail_safe import harmless
from dominance.record.guest import torch_internals as internals
from dominance.record.guest.loaders import DataPass, Loaders, split_in
from dominance.record.guest.unseen import unseen
from dominance.record.guest.without_grad import WithoutGrad
from dominance.record.sharded_models import leaf_of
from dominance.record.tasks.naming import nearest_frames
from dominance.record.tasks.same_loss import DEPTH, Item, LossSources, SameLoss, calls_of
from dominance.schema import EVALUATED_LOSS

if TYPE_CHECKING:
    from types import FrameType

    from dominance.record.recording import Recording
    from dominance.record.step_recorder import StepRecorder

_MOST_WAITING = 10_000
"""Metrics kept until the run is laid out."""
_MOST_STACKS = 10_000
"""Calls around values that are remembered."""

_MOST_LYING = 256
"""Single values that are left on an accelerator: each takes 512 bytes there."""

Key = tuple[tuple[int, int], ...]
"""The calls around a value, by the ids of their code and their instructions."""


@dataclass(frozen=True)
class _Known:
    """What is known of all values that one statement makes, under the same calls."""

    loss: SameLoss | None
    split: str | None
    """That the names of its functions, or its own, say."""
    code: tuple[Any, ...]
    """Held, so that nothing else has their ids."""


@dataclass
class _Series:
    """The values of one statement that are one task's loss, in one evaluation."""

    known: _Known
    source: DataPass | None
    values: list[float | Tensor] = field(default_factory=list)
    sizes: list[int | None] = field(default_factory=list)
    evaluating: bool = True
    """Whether the model was in its mode of evaluation, always."""
    _lying: int = 0
    """How many of the last values are single ones on an accelerator."""

    @property
    def count(self) -> int:
        """How many values."""
        return len(self.sizes)

    def add(self, value: float | Tensor, size: int | None) -> None:
        """One more value, and of how many rows it is the mean."""
        if not isinstance(value, Tensor):
            self._gather()
        self.values.append(value)
        self.sizes.append(size)
        self._lying += isinstance(value, Tensor)
        if self._lying == _MOST_LYING:
            self._gather()

    def _gather(self) -> None:
        """Put the single values that lie on an accelerator since the last time together, still there."""
        if self._lying:
            with unseen():
                last = [each for each in self.values[-self._lying :] if isinstance(each, Tensor)]
                self.values[-self._lying :] = [torch.stack(last)]
            self._lying = 0

    def mean(self) -> float:
        """Weighted by the sizes of the batches, where all are known."""
        self._gather()
        numbers: list[float] = []
        for each in self.values:
            numbers += each.tolist() if isinstance(each, Tensor) else [each]
        sizes = [size or 0 for size in self.sizes] if all(self.sizes) else [1] * len(numbers)
        return sum(size * number for size, number in zip(sizes, numbers, strict=True)) / sum(sizes)


@dataclass(frozen=True)
class _Metric:
    recording: Recording
    step: int
    epoch: int | None
    task: str
    split: str
    value: float


class EvaluatedLosses:
    """Hears of the values, and keeps their means. Implements ``Hears``."""

    def __init__(self, watch: StepRecorder) -> None:
        self.failure: str | None = None
        self._watch = watch
        self._seen = WithoutGrad(self)
        self._listens = False
        """Whether it does, as was found out since the last training step."""
        self._pid = os.getpid()
        self._loaders = Loaders()
        self._ids: set[int] = set()
        """Of the parameters that the run knows."""
        self._of: Recording | None = None
        """Whose model it is that all else here is about."""
        self._version = -1
        self._known: dict[tuple[Key, Item], _Known] = {}
        self._own: WeakKeyDictionary[nn.Module, bool | None] = WeakKeyDictionary()
        """Whether a module has parameters that the run knows; None: it has none at all."""
        self._evaluating = False
        """Whether the model that was called last is in its mode of evaluation."""
        self._weights: tuple[int, int] | None = None
        """Which values of its weights are evaluated."""
        self._batch: int | None = None
        """The size of the batch that it was called with."""
        self._phase: dict[tuple[int | None, tuple[Key, Item], str], _Series] = {}
        self._began: tuple[int, int | None] = (0, None)
        self._untold: set[tuple[Key, Item]] = set()
        """What has made values of this evaluation that may be of any of several tasks."""
        self._waiting: list[_Metric] = []
        self._kept: dict[Recording, list[str]] = {}

    def start(self) -> None:
        """Look at what is computed without gradients from now on."""
        self._seen.start()
        self._watch.passes = self.over

    def stop(self) -> None:
        """Keep what the last evaluation came to, and say what there is."""
        self._seen.stop()
        self._watch.passes = bool
        self._finish()
        self._keep(last=True)
        tasks = list(dict.fromkeys(task for names in self._kept.values() for task in names))
        if tasks:
            self._watch.recording.say(
                f"metrics of the run: {EVALUATED_LOSS} of {', '.join(tasks)}, the losses that the script computed "
                "without gradients"
            )

    def fail(self, error: BaseException) -> None:
        """Take no more, and say why; script and recording go on."""
        self.failure = f"{type(error).__name__}: {error}".splitlines()[0]
        self._seen.stop()
        self._watch.recording.say(
            f"losses that the script computes without gradients are no metrics of the run from here on: {self.failure}"
        )

    def directions(self, recording: Recording) -> dict[str, dict[str, str]]:
        """What the run is to say of these metrics: task -> metric -> "lower"."""
        return {task: {EVALUATED_LOSS: "lower"} for task in self._kept.get(recording, [])}

    # What is computed without gradients

    def listens(self) -> bool:
        """Whether it is known where the tasks' losses are made, and this process has all of the evaluation."""
        if not self._listens:
            here = self._watch.recording
            lone = here.ranks == 1 and here.sharing is None
            well = self.failure is None and self._watch.failure is None
            self._listens = well and bool(here.finder.sources) and lone and not internals.compiles() and not _several()
        return self._listens

    def has_parameters(self, module: nn.Module) -> bool:
        """Whether it is a model, or a part of one."""
        return self._kind(module) is not None

    @harmless
    def _kind(self, module: nn.Module) -> bool | None:
        if self._of is not self._watch.recording:
            self._turn_to(self._watch.recording)
        if module not in self._own:
            ids = [id(leaf_of(parameter)) for parameter in module.parameters()]
            self._own[module] = not self._ids.isdisjoint(ids) if ids else None
        return self._own[module]

    def _turn_to(self, recording: Recording) -> None:
        self._finish()
        self._of, self._version = recording, -1
        self._ids = recording.table.ids()
        self._own.clear()

    def called(self, module: nn.Module, args: Sequence[Any], output: Any) -> bool:
        """A model was called; whether it is the one that trains."""
        return bool(self._called(module, args, output))

    @harmless
    def _called(self, module: nn.Module, args: Sequence[Any], output: Any) -> bool:
        if not self._kind(module):
            return False
        with unseen():
            weights = _weights(self._watch.recording)
        if weights != self._weights:
            self._finish()  # as where the best weights are loaded, and evaluated again
            self._weights = weights
        self._evaluating = not module.training
        with unseen():
            self._batch = next((each.shape[0] for each in args if type(each) is Tensor and each.dim()), None)
            for item, value in _scalars(output):
                self._take(value, self._batch, item)
        return True

    @harmless
    def computed(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        """A value, after the model that trains was called."""
        size = self._batch
        if kwargs.get("reduction") == "sum" or getattr(function, "__name__", "") == "sum":
            size = None
        elif args and type(args[0]) is Tensor and args[0].dim():
            size = args[0].shape[0]
        self._take(result, size, None)

    @harmless
    def fetched(self, iterator: Any, batch: Any, *, over: bool) -> None:
        """A batch came, or there is none any more."""
        self._loaders.fetched(iterator, batch, over=over)

    def _take(self, value: Tensor, size: int | None, item: Item) -> None:
        if os.getpid() != self._pid or not value.is_floating_point():
            return
        here, frames = self._watch.recording, nearest_frames(DEPTH)
        key = (tuple((id(frame.f_code), frame.f_lasti) for frame in frames), item)
        known = self._look_up(key, frames, here.finder.sources)
        if known.loss is None:
            return
        task = known.loss.task(frames)
        if task is None:
            self._untold.add(key)
            return
        number = _number(value)
        if number is None:
            return
        if not self._phase:
            self._began = here.step.number, here.epoch
        source = self._loaders.now(self._batch, frames)
        series = self._phase.setdefault((None if source is None else id(source), key, task), _Series(known, source))
        series.add(number, size)
        series.evaluating = series.evaluating and self._evaluating

    def _look_up(self, key: tuple[Key, Item], frames: Sequence[FrameType], sources: LossSources) -> _Known:
        if self._version != sources.version or len(self._known) > _MOST_STACKS:
            self._version = sources.version
            self._known.clear()
        if key not in self._known:
            calls = calls_of(frames)
            loss = sources.of(calls, key[1])
            words = [] if loss is None or loss.called is None else [loss.called]
            words += [place.scope for place in reversed(calls)]
            self._known[key] = _Known(loss, split_in(words), tuple(frame.f_code for frame in frames))
        return self._known[key]

    # What becomes of it

    def over(self) -> None:
        """A training step goes on."""
        self._listens = False
        self._loaders.trains()
        self._seen.reset()
        if self._phase or self._untold or self._waiting:
            self._finish()
            self._keep()

    @harmless
    def _finish(self) -> None:
        """The evaluation is over: each task's mean on each split, where one is certain."""
        phase, self._phase = self._phase, {}
        untold, self._untold = self._untold, set()
        here = self._of
        if here is None:
            return
        found: dict[tuple[str, str], list[_Series]] = {}
        counts: dict[tuple[int | None, tuple[Key, Item]], set[int]] = {}
        for (source, key, _), series in phase.items():
            counts.setdefault((source, key), set()).add(series.count)
        for (source, key, task), series in phase.items():
            loss = series.known.loss
            several = loss is not None and len(loss.tasks) > 1
            if several and (key in untold or len(counts[source, key]) > 1):
                continue  # a variable told the task of some, and perhaps not of what it seemed to
            if (split := _split(series)) is not None:
                found.setdefault((task, split), []).append(series)
        for (task, split), every in found.items():
            if (value := _one(every)) is not None and len(self._waiting) < _MOST_WAITING:
                self._waiting.append(_Metric(here, *self._began, here.ledger.called.get(task, task), split, value))

    @harmless
    def _keep(self, *, last: bool = False) -> None:
        """Hand the metrics over, where the run's tasks are known."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            sink = each.recording.sink
            if not sink.laid_out and not last:
                self._waiting.append(each)
                continue
            if each.task not in sink.tasks:
                continue
            known = self._kept.setdefault(each.recording, [])
            if each.task not in known:
                known.append(each.task)
                sink.know(metrics=self.directions(each.recording))
            sink.log({EVALUATED_LOSS: each.value}, step=each.step, epoch=each.epoch, task=each.task, split=each.split)


def _weights(recording: Recording) -> tuple[int, int]:
    """Something that is another where the model's weights were changed, or replaced."""
    first = next(iter(recording.table.named))
    return first._version, first.data_ptr()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _scalars(output: Any) -> list[tuple[Item, Tensor]]:
    """The values in what a module returned, and where."""
    pairs: Any = [(None, output)]
    if isinstance(output, dict):
        pairs = [(key, value) for key, value in dict.items(output) if isinstance(key, str)]
    elif isinstance(output, (tuple, list)):
        pairs = enumerate(output)
    return [(item, value) for item, value in pairs if type(value) is Tensor and value.dim() == 0]


def _number(value: Tensor) -> float | Tensor | None:
    """The value as it is now; on an accelerator, which nobody waits for, a copy. None where it stands for others."""
    if internals.functorch_level() is not None:
        return None
    with unseen():
        if value.device.type == "cpu":
            return float(value.item())
        if value.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        return value.detach().clone()


def _split(series: _Series) -> str | None:
    """On which data it is; None where nothing says that it is no batch of the training."""
    said = series.known.split
    if series.source is not None:
        return series.source.split(said, evaluating=series.evaluating)
    return said or ("val" if series.evaluating else None)


def _one(every: Sequence[_Series]) -> float | None:
    """The mean of the surest series; None where several are as sure and do not say the same."""
    how = [series.known.loss.how for series in every if series.known.loss is not None]
    surest = [series for series, each in zip(every, how, strict=True) if each == min(how)]
    values = {series.mean() for series in surest}
    return values.pop() if len(values) == 1 else None
