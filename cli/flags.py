"""What can be typed after ``dominance train`` and ``record``: the training, and how it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from dominance.errors import BadOption

if TYPE_CHECKING:
    from dominance.benchmarks.train.plan import TrainOptions


@dataclass(frozen=True)
class TrainingFlags:
    """What is trained, and how; as ``TrainOptions`` has it, but typed."""

    optimizer: Annotated[
        str | None, typer.Option(metavar="O", help="sgd, momentum, adam, adamw, rmsprop, adagrad or adadelta.")
    ] = None
    architecture: Annotated[
        str | None,
        typer.Option(metavar="A", help="hps, mmoe, cgc, ple, cross-stitch or mtan; mmoe:experts=4,levels=2."),
    ] = None
    tasks: Annotated[str | None, typer.Option(metavar="A,B", help="Train these tasks only. [default: all]")] = None
    seed: Annotated[int, typer.Option(metavar="S", help="Of everything that is random.")] = 0
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the data.")] = None
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Samples in a step.")] = None
    lr: Annotated[float | None, typer.Option(metavar="X", help="Learning rate.")] = None
    milestones: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Shares of the training after which it is divided by --decay.")
    ] = None
    decay: Annotated[float, typer.Option(metavar="X", help="What the learning rate is divided by there.")] = 10.0
    lr_power: Annotated[
        float, typer.Option(metavar="P", help="The learning rate of step t is divided by t^P, too.")
    ] = 0.0
    warmup: Annotated[int, typer.Option(metavar="N", help="Steps over which it rises from nothing.")] = 0
    weight_decay: Annotated[float, typer.Option(metavar="X", help="Of the model's parameters.")] = 0.0
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after N epochs without a better val result; 0: never.")
    ] = None
    last: Annotated[int, typer.Option(metavar="N", help="What counts is the mean of the last N epochs on test.")] = 1
    representation: Annotated[
        bool, typer.Option("--representation", help="Weigh by gradients of the shared representation.")
    ] = False
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the benchmark; repeatable.")
    ] = None
    method_options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An argument of the method; repeatable.")
    ] = None
    device: Annotated[str, typer.Option(metavar="D", help="Where to train: cpu, cuda.")] = "cpu"
    threads: Annotated[int, typer.Option(metavar="N", help="Threads of torch on the CPU.")] = 1

    def options(self, benchmark: str, method: str) -> TrainOptions:
        """
        Raises:
            BadOption: one cannot be read.
        """
        from dominance.benchmarks.arguments import pairs
        from dominance.benchmarks.train.plan import TrainOptions

        read = {
            "milestones": None if self.milestones is None else _shares(self.milestones),
            "tasks": None if self.tasks is None else tuple(_parts(self.tasks)),
            "settings": pairs(self.settings or [], "--set"),
            "options": pairs(self.method_options or [], "--option"),
        }
        plain = {name: value for name, value in vars(self).items() if name != "method_options"}
        return TrainOptions(benchmark=benchmark, method=method, **plain | read)


Params = Annotated[
    str | None, typer.Option(metavar="GLOB", help="Record the parameters whose names match. [default: *]")
]
Averages = Annotated[
    bool | None,
    typer.Option("--averages", help="Keep AU of every shared coordinate in the end; --probe noise does."),
]
Light = Annotated[
    bool | None,
    typer.Option("--light", help="Work out each task's step at the kept coordinates alone: cheaper, norms estimated."),
]
Attribution = Annotated[str | None, typer.Option(metavar="KIND", help="additive, solo or both. [default: additive]")]


@dataclass(frozen=True)
class RecordingFlags:
    """How a benchmark's training is recorded, as ``record_options`` takes it."""

    every: Annotated[
        str | None, typer.Option(metavar="N", help="Record one training step in N. [default: the benchmark's, else 10]")
    ] = None
    burst: Annotated[str | None, typer.Option(metavar="B", help="Record B consecutive steps at a time.")] = None
    params: Params = None
    budget: Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes that the run may take. [default: 1GB]")] = (
        None
    )
    averages: Averages = None
    light: Light = None
    exact: Annotated[bool | None, typer.Option("--exact", help="Keep float32 to the last bit.")] = None
    attribution: Attribution = None
    probe: Annotated[
        str | None, typer.Option(metavar="NAME", help="noise: evaluate under noise in the end, on the test data.")
    ] = None
    quiet: Annotated[bool | None, typer.Option("-q", "--quiet", help="No progress and no hints.")] = None


@dataclass(frozen=True)
class ScriptFlags:
    """How a script's training is recorded, as ``record_options`` takes it."""

    tasks: Annotated[
        str | None, typer.Option(metavar="A,B", help="Names of the tasks that must be found. [default: all found]")
    ] = None
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE[=A,B]",
            help="Each column of what this module of the model puts out is a task: heads.logits, or with names"
            " heads.logits=rain,wind. May be repeated.",
        ),
    ] = None
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="KEY[:N]",
            help="Each group of examples is a task: KEY of the batch that the DataLoader gave holds their ids; or a"
            " position in it, or target, its classes. At most N groups and the others together.",
        ),
    ] = None
    every: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Record one training step in N, more at first; 1 records all and is exact. [default: 10 at first, 40"
            " at step 10,000, 400 at step 1,000,000]",
        ),
    ] = None
    burst: Annotated[
        str | None,
        typer.Option(
            metavar="B",
            help="Record B consecutive steps at a time, at distances that --every alone tells. [default: 1; 20 for"
            " optimizers with momentum, with --every later up to 100; more often at first]",
        ),
    ] = None
    overhead: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Record as rarely as it takes for the training to need no more than this beyond its own time, like"
            " 5%; a run of less than a minute counts as one. [default: as much as --every asks for]",
        ),
    ] = None
    params: Params = None
    budget: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Bytes that the run may take, like 500MB. [default: 1GB]")
    ] = None
    averages: Averages = None
    light: Light = None
    training_only: Annotated[
        bool | None,
        typer.Option("--training-only", help="Take no metrics from losses that the script computes without gradients."),
    ] = None
    exact: Annotated[
        bool | None, typer.Option("--exact", help="Keep float32 to the last bit; the run is twice as large.")
    ] = None
    attribution: Attribution = None
    probe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="noise: evaluate under noise in the end; needs dominance.evaluate(fn)."),
    ] = None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _parts(text))
    except ValueError:
        raise BadOption(f"milestones {text!r} cannot be read", fix="write them like 0.6,0.8") from None
