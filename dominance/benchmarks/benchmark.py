"""What a benchmark is: data, tasks with their metrics, a loss for each task, and the settings it was published with."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

Scores = dict[str, dict[str, float]]
"""task -> metric -> value."""


@dataclass(frozen=True)
class Metric:
    """One number that says how well a task is done, and which direction is better: declared, never guessed."""

    name: str
    higher_is_better: bool


@dataclass(frozen=True)
class Task:
    """One task: its name, the size of its output, and its metrics, the main one first."""

    name: str
    outputs: int
    metrics: tuple[Metric, ...]


def directions(tasks: Iterable[Task]) -> dict[str, dict[str, bool]]:
    """{task: {metric: whether higher is better}}, as ``dominance.deltas`` reads it."""
    return {task.name: {metric.name: metric.higher_is_better for metric in task.metrics} for task in tasks}


@dataclass(frozen=True)
class Settings:
    """How a benchmark is trained unless told otherwise. Every field can be given on the command line."""

    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "adam"
    architecture: str = "hps"
    milestones: tuple[float, ...] = ()
    """Shares of the training after which the learning rate is divided by ten."""
    patience: int | None = None
    """Epochs without a better mean of the tasks' main metrics on "val" until the training stops; None: never."""
    every: int = 10
    """One training step in this many is recorded."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """What the papers say they used, as they say it; with the paper."""


@dataclass(frozen=True)
class Batch:
    """One step's data. With multi-input tasks ``inputs`` has one entry for each task.

    A target that is NaN (or -1, for classes) is a missing label; a task without a target is absent from the batch.
    """

    inputs: Any
    """A tensor, or tensors in tuples and dicts: what the model takes."""
    targets: Mapping[str, Tensor]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return Batch(_moved(self.inputs, device), {task: target.to(device) for task, target in self.targets.items()})


def _moved(inputs: Any, device: torch.device | str) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: _moved(part, device) for name, part in inputs.items()}
    return tuple(_moved(part, device) for part in inputs)


class Scorer(Protocol):
    """Takes in what a model says of a split, batch by batch, and gives the metrics in the end."""

    def add(self, output: Tensor, target: Tensor) -> None:
        """One batch: those of its samples that have a label, on the CPU."""

    def scores(self) -> dict[str, float]:
        """The metrics of all that was added."""


class Benchmark(abc.ABC):
    """One benchmark. Making it loads nothing; ``load`` does, and tells how to get what is missing.

    Subclasses take their open settings as keyword arguments of ``__init__``, all with defaults.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """One line: what the data is and what the tasks are."""
    licence: ClassVar[str]
    source: ClassVar[str]
    """Where the data comes from, and the paper."""
    settings: ClassVar[Settings]
    architectures: ClassVar[tuple[str, ...]] = ("hps", "mmoe", "cgc", "ple", "cross-stitch", "mtan")
    """Architectures that this benchmark can be trained with."""
    multi_input: bool = False
    """Whether each task has a batch of its own; may depend on the settings."""
    evaluation_batch: ClassVar[int] = 1
    """At least so many samples at a time are evaluated: rows of a table take no memory, and in thousands no time."""

    @property
    @abc.abstractmethod
    def tasks(self) -> tuple[Task, ...]:
        """The tasks; may depend on the settings."""

    @abc.abstractmethod
    def load(self, seed: int) -> None:
        """Read or make the data and split it. Own generators only.

        Raises:
            MissingData: a package or file is not there; the fix installs it, or names the option that points to it.
            BadData: a file is not what it should be: which one, which row, what is wrong.
        """

    @abc.abstractmethod
    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """One epoch of "train", "val" or "test": shuffled by the generator if there is one, else in order."""

    @abc.abstractmethod
    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        """A fresh model for these tasks. ``model(inputs)`` returns {task: output}.

        If it has a shared representation, ``model.encode(inputs)`` returns it (one tensor, or one for each task) and
        ``model.decode(representation)`` the outputs. Initialised from torch's global generator, which the caller seeds.
        """

    @abc.abstractmethod
    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor | None:
        """The task's loss, a scalar: the mean over the samples that have a label; None if none has."""

    @abc.abstractmethod
    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        """The task's metrics over a whole split.

        Args:
            output, target: of all samples that have a label, on the CPU.
        """

    def scorer(self, task: str) -> Scorer:
        """What an evaluation fills: by default all outputs and targets are kept for ``score``.

        Where outputs are as large as pictures, subclasses return one that keeps sums.
        """
        return _Whole(self, task)

    def outputs(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The model's output for each of its tasks."""
        found: dict[str, Tensor] = model(batch.inputs)
        return found


class _Whole:
    def __init__(self, benchmark: Benchmark, task: str) -> None:
        self._benchmark, self._task = benchmark, task
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def add(self, output: Tensor, target: Tensor) -> None:
        self._outputs.append(output)
        self._targets.append(target)

    def scores(self) -> dict[str, float]:
        return self._benchmark.score(self._task, torch.cat(self._outputs), torch.cat(self._targets))
