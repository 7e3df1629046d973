"""What is to be trained, and how: the options of ``dominance train``, and where none is given the benchmark's own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import torch

from dominance.benchmarks.arguments import arguments, defaults, read
from dominance.benchmarks.benchmark import Benchmark, Task
from dominance.benchmarks.models import parted
from dominance.benchmarks.problems.registry import benchmark
from dominance.benchmarks.train import methods
from dominance.benchmarks.train.method_names import Method
from dominance.errors import BadOption

_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainOptions:
    """One training. None: what the benchmark says."""

    benchmark: str
    method: str
    optimizer: str | None = None
    """One of ``methods.OPTIMIZERS``."""
    architecture: str | None = None
    seed: int = 0
    """Of the data, the model's first weights, the order of the batches and the method's own random numbers."""
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float = 0.0
    milestones: tuple[float, ...] | None = None
    """Shares of the training after which the learning rate is divided by ``decay``."""
    decay: float = 10.0
    lr_power: float = 0.0
    """p: the learning rate of step t, from 1, is divided by t^p, too; 1/2 in MoCoGrad's Corollary 1."""
    warmup: int = 0
    """Steps over which the learning rate rises to what it is: that of step t, from 1, is t / warmup of it."""
    patience: int | None = None
    """Epochs without a better result on "val" until the training stops; 0: never."""
    last: int = 1
    """The scores that count are the mean of the last so many epochs' on "test"; not with patience."""
    tasks: tuple[str, ...] | None = None
    """Train these tasks only."""
    representation: bool = False
    """Weigh the tasks by the gradients of the shared representation, not by those of the shared parameters."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the benchmark; texts are converted."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the method and its optimizer; texts are converted."""
    device: str = "cpu"
    threads: int = 1
    """Of torch on the CPU. The networks here are small; and the last bits depend on the number."""

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts."""
        found = asdict(self)
        return found | {name: None if found[name] is None else list(found[name]) for name in ("milestones", "tasks")}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> TrainOptions:
        """What ``to_plain`` returned."""
        lists = {name: None if values[name] is None else tuple(values[name]) for name in ("milestones", "tasks")}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class Plan:
    """Options with nothing left open, and what they name."""

    options: TrainOptions
    benchmark: Benchmark
    method: Method
    tasks: tuple[Task, ...]
    optimizer: str
    architecture: str
    epochs: int
    batch_size: int
    lr: float
    milestones: tuple[float, ...]
    patience: int
    given: tuple[str, ...]
    """The settings of the benchmark that were asked for; a training that goes on has the defaults written out, too."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tasks."""
        return tuple(task.name for task in self.tasks)

    @property
    def representation(self) -> bool:
        """Whether the method works on the gradients of the representation."""
        return self.options.representation or self.method.representation

    @property
    def settings(self) -> dict[str, Any]:
        """Of the benchmark: those given, with their types, and the defaults of the others."""
        made = type(self.benchmark)
        return {**defaults(made), **read(self.options.settings, arguments(made), "--set", self.options.benchmark)}

    @property
    def resolved(self) -> TrainOptions:
        """The options with nothing left open: they mean the same whatever a later version's defaults are."""
        return replace(
            self.options,
            method=self.method.name,
            optimizer=self.optimizer,
            architecture=self.architecture,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            milestones=self.milestones,
            patience=self.patience,
            tasks=self.names,
            settings={**defaults(type(self.benchmark)), **self.options.settings},
        )

    def learning_rate(self, epoch: int, step: int) -> float:
        """In this step of this epoch, both counted from 0; steps from the beginning of the training."""
        past = [share for share in self.milestones if epoch >= share * self.epochs]
        slower: float = self.options.decay ** len(past) * (step + 1) ** self.options.lr_power
        return self.lr / slower * min(1.0, (step + 1) / max(1, self.options.warmup))

    def alone(self, task: str) -> Plan:
        """The same for one task."""
        kept = tuple(each for each in self.tasks if each.name == task)
        return replace(self, tasks=kept, options=replace(self.options, tasks=(task,)))

    def attributes(self) -> dict[str, Any]:
        """What the run should say of itself."""
        directions = {t.name: {m.name: _direction(m.higher_is_better) for m in t.metrics} for t in self.tasks}
        settings = {name: value for name, value in self.options.settings.items() if name in self.given}
        return {
            "benchmark": self.options.benchmark,
            "method": self.method.name,
            "architecture": self.architecture,
            "training": {**self.resolved.to_plain(), "settings": settings},
            "metrics": directions,
        }


def plan(options: TrainOptions, given: Collection[str] | None = None) -> Plan:
    """Fill in what is left open, and check what is not. Loads no data.

    Args:
        options: of the training.
        given: the settings among them that were asked for; None: all.

    Raises:
        BadOption: an unknown name, or a value that cannot be used.
    """
    method = methods.method(options.method)
    problem = benchmark(options.benchmark, **options.settings)
    usual = problem.settings
    made = Plan(
        options=options,
        benchmark=problem,
        method=method,
        tasks=_tasks(problem, options),
        optimizer=_or(options.optimizer, usual.optimizer),
        architecture=_or(options.architecture, usual.architecture),
        epochs=_or(options.epochs, usual.epochs),
        batch_size=_or(options.batch_size, usual.batch_size),
        lr=_or(options.lr, usual.lr),
        milestones=_or(options.milestones, usual.milestones),
        patience=_or(options.patience, usual.patience or 0),
        given=tuple(options.settings if given is None else given),
    )
    _check(made)
    return made


def _tasks(problem: Benchmark, options: TrainOptions) -> tuple[Task, ...]:
    if options.tasks is None:
        return problem.tasks
    known = {task.name: task for task in problem.tasks}
    for name in options.tasks:
        if name not in known:
            raise BadOption(f"{options.benchmark} has no task {name!r}", fix=f"choose from {', '.join(known)}")
    if len(set(options.tasks)) < len(options.tasks) or not options.tasks:
        raise BadOption(f"tasks {','.join(options.tasks)!r} cannot be used", fix="name each task once")
    return tuple(known[name] for name in options.tasks)


def _check(plan: Plan) -> None:
    for name, value, least in (
        ("epochs", plan.epochs, 1),
        ("batch-size", plan.batch_size, 1),
        ("patience", plan.patience, 0),
        ("warmup", plan.options.warmup, 0),
        ("seed", plan.options.seed, 0),
        ("weight-decay", plan.options.weight_decay, 0),
        ("decay", plan.options.decay, 1),
        ("lr-power", plan.options.lr_power, 0),
        ("last", plan.options.last, 1),
    ):
        if not least <= value < math.inf:
            raise BadOption(f"{name} {value} cannot be used", fix=f"give {least} or more")
    if plan.options.last > 1 and plan.patience:
        raise BadOption("--last and --patience choose the epoch that counts in two ways", fix="give one of them")
    if not 0 < plan.lr < math.inf:
        raise BadOption(f"a learning rate of {plan.lr:g} cannot be used", fix="give a positive number")
    if not all(0 < share < 1 for share in plan.milestones):
        raise BadOption(
            f"milestones {','.join(map(str, plan.milestones))} cannot be used", fix="give shares between 0 and 1"
        )
    named, counts = parted(plan.architecture)
    if named == "mmoe" and counts.get("levels", 1) > 1:
        named = "ple"  # what it is made of
    if named not in plan.benchmark.architectures:
        known = ", ".join(plan.benchmark.architectures)
        raise BadOption(f"{plan.options.benchmark} has no architecture {named!r}", fix=f"choose from {known}")
    if plan.optimizer not in methods.OPTIMIZERS:
        raise BadOption(f"no optimizer {plan.optimizer!r}", fix=f"choose from {', '.join(methods.OPTIMIZERS)}")
    if plan.representation and plan.method.step != "plain":
        raise BadOption(f"{plan.method.name} works on updates, not on gradients", fix="leave --representation out")
    try:
        torch.empty(0, device=plan.options.device)
    except (RuntimeError, AssertionError):
        raise BadOption(f"there is no device {plan.options.device!r} here", fix="give cpu") from None


def _or(given: _T | None, usual: _T) -> _T:
    return usual if given is None else given


def _direction(higher_is_better: bool) -> str:
    return "higher" if higher_is_better else "lower"
