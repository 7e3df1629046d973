"""How long a training step takes with each method, measured in turns in one process.

    python -m dominance.benchmarks.train.timing census --architecture mmoe --batch-size 4096 \\
        --method equal-weight --method nash-mtl:every=10 --method pub:every=10 -o timing

A lap is a number of consecutive steps of one method, all methods on the same batches; they take turns, each round in
another order, so that what else the machine does falls on all of them. What counts is the ratio of a method's lap to
the first method's of the same round: its median, and the quartiles.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from dominance.benchmarks.arguments import pairs
from dominance.benchmarks.benchmark import Batch
from dominance.benchmarks.data.splits import derived_generator
from dominance.benchmarks.models.base import Architecture, Representation
from dominance.benchmarks.problems.registry import benchmark_class
from dominance.benchmarks.train import methods
from dominance.benchmarks.train.method_step import MethodStep
from dominance.benchmarks.train.plan import Plan, TrainOptions, plan
from dominance.errors import BadOption, DominanceError, RunExists

NAME = "timing.json"
_WARM = 2
"""Laps of each method before the ones that count."""


@dataclass
class _Racer:
    """A method with a model of its own."""

    plan: Plan
    model: nn.Module
    method_step: MethodStep

    @classmethod
    def of(cls, plan: Plan) -> _Racer:
        torch.manual_seed(plan.options.seed)
        model = plan.benchmark.model(plan.architecture, plan.names).to(plan.options.device)
        model.train()
        method_step = methods.build(
            plan.method, model, plan.names, optimizer=plan.optimizer, lr=plan.lr, options=plan.options.options
        )
        return cls(plan, model, method_step)

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor | None], Representation | None]:
        """Of the tasks; and the representation, where the method works on its gradients."""
        benchmark = self.plan.benchmark
        if self.plan.representation:
            model = cast(Architecture, self.model)
            representation = model.encode(batch.inputs)
            outputs = model.decode(representation)
        else:
            representation, outputs = None, benchmark.outputs(self.model, batch)
        found = {
            task: benchmark.loss(task, outputs[task], batch.targets[task]) if task in batch.targets else None
            for task in self.plan.names
        }
        return found, representation

    def lap(self, batches: Sequence[Batch]) -> tuple[float, float]:
        """Seconds of a step, on average over these batches: the whole of it, and all that comes after the losses."""
        whole = backward = 0.0
        for batch in batches:
            begun = self._now()
            losses, representation = self.losses(batch)
            between = self._now()
            self.method_step.step(losses, representation)
            if self.method_step.looks_back:
                self.method_step.look_back(partial(self._again, batch))
            ended = self._now()
            whole += ended - begun
            backward += ended - between
        return whole / len(batches), backward / len(batches)

    def _again(self, batch: Batch) -> dict[str, Tensor | None]:
        return self.losses(batch)[0]

    def _now(self) -> float:
        if self.plan.options.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(options: TrainOptions, named: Sequence[str], *, laps: int = 15, steps: int = 10) -> dict[str, Any]:
    """Time the methods against each other.

    Args:
        options: what to train; its method and the method's options are left aside.
        named: methods, the one that the others are compared with first, each with options after a colon:
            "pub:every=10".
        laps: of each method.
        steps: of a lap.

    Returns:
        what was measured; numbers of parameters that two tasks or more reach (``shared``), the layers that these are
        in (``shared_layers``), and the other ones (``private``); and ``methods``: name -> ``seconds`` of a step and
        ``backward`` (the part of it after the losses are there), medians; ``ratio`` and ``backward_ratio`` to the first
        method, [lower quartile, median, upper quartile] over the laps; ``state``: how many numbers the optimizer holds.

    Raises:
        BadOption: an unknown name, or an option that cannot be used.
        MissingData, BadData: see ``Benchmark.load``.
    """
    if laps < 1 or steps < 1:
        raise BadOption(f"{laps} laps of {steps} steps measure nothing", fix="give 1 or more of both")
    if not named or len(set(named)) < len(named):
        raise BadOption(f"methods {', '.join(named) or 'none'} cannot be compared", fix="name each once")
    plans = {name: plan(_with(options, name)) for name in named}
    first = next(iter(plans.values()))
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        with torch.random.fork_rng():
            first.benchmark.load(options.seed)
            # All methods on one benchmark, which is loaded once.
            racers = {name: _Racer.of(replace(each, benchmark=first.benchmark)) for name, each in plans.items()}
            batches = _batches(first, steps)
            found = _race(racers, batches, laps)
    finally:
        torch.set_num_threads(threads)
    base = found[next(iter(plans))]
    return {
        "benchmark": options.benchmark,
        "architecture": first.architecture,
        "optimizer": first.optimizer,
        "batch_size": first.batch_size,
        "settings": {key: str(value) for key, value in options.settings.items()},
        "tasks": list(first.names),
        **_sizes(next(iter(racers.values())), batches[0]),
        "laps": laps,
        "steps": steps,
        "threads": options.threads,
        "device": options.device,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "methods": {
            name: {
                "seconds": float(np.median(times[:, 0])),
                "backward": float(np.median(times[:, 1])),
                "ratio": np.quantile(times[:, 0] / base[:, 0], [0.25, 0.5, 0.75]).tolist(),
                "backward_ratio": np.quantile(times[:, 1] / base[:, 1], [0.25, 0.5, 0.75]).tolist(),
                "state": _numbers(racers[name].method_step.optimizer.state),
            }
            for name, times in found.items()
        },
    }


def _with(options: TrainOptions, name: str) -> TrainOptions:
    method, _, rest = name.partition(":")
    return replace(options, method=method, options=pairs(rest.split(",") if rest else [], "the options of a method"))


def _batches(made: Plan, steps: int) -> list[Batch]:
    generator = derived_generator(made.options.seed, "batches")
    found = [
        batch.to(made.options.device)
        for batch in islice(made.benchmark.batches("train", made.batch_size, generator), steps)
    ]
    return list(islice(cycle(found), steps))


def _race(racers: Mapping[str, _Racer], batches: Sequence[Batch], laps: int) -> dict[str, np.ndarray]:
    """Name -> (lap, 2): seconds of a step, and of its backward part."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in racers}
    order = list(racers)
    for _ in range(_WARM + laps):
        for name in order:
            times[name].append(racers[name].lap(batches))
        order = [*order[1:], order[0]]
    return {name: np.array(found[_WARM:]) for name, found in times.items()}


def _sizes(racer: _Racer, batch: Batch) -> dict[str, int]:
    """How many parameters are shared and private, and how many layers the shared ones are in."""
    named = dict(racer.model.named_parameters())
    losses, _ = racer.losses(batch)
    reached = dict.fromkeys(named, 0)
    for loss in losses.values():
        if loss is not None:
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            for name, gradient in zip(named, found, strict=True):
                reached[name] += gradient is not None
    shared = [name for name, tasks in reached.items() if tasks > 1]
    total = sum(parameter.numel() for parameter in named.values())
    size = sum(named[name].numel() for name in shared)
    return {
        "shared": size,
        "private": total - size,
        "shared_layers": len({name.rpartition(".")[0] for name in shared}),
    }


def _numbers(state: Any) -> int:
    """How many numbers an optimizer's state holds; counts of steps are none."""
    if isinstance(state, Mapping):
        return sum(_numbers(value) for key, value in state.items() if key != "step")
    if isinstance(state, list | tuple):
        return sum(map(_numbers, state))
    return state.numel() if isinstance(state, Tensor) else int(isinstance(state, float))


def write_sample(benchmark: str, size: str, folder: Path) -> None:
    """Made-up pictures in the format of a benchmark: what is in them makes no difference to the time of a step.

    Raises:
        BadOption: the benchmark has none, or ``size`` is not HEIGHTxWIDTH.
    """
    make = getattr(sys.modules[benchmark_class(benchmark).__module__], "write_sample", None)
    if make is None:
        raise BadOption(f"{benchmark} has no made-up data", fix="leave --sample out")
    height, times, width = size.partition("x")
    if not (times and height.isdecimal() and width.isdecimal()):
        raise BadOption(f"--sample {size} is no size", fix="write it like 64x128")
    make(folder, size=(int(height), int(width)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``timing.json`` into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark")
    parser.add_argument("--method", action="append", required=True, metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--architecture")
    parser.add_argument("--optimizer")
    parser.add_argument("--tasks")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--sample", metavar="HEIGHTxWIDTH", help="made-up pictures of this size")
    parser.add_argument("--laps", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args(arguments)
    try:
        path = asked.output / NAME
        if path.exists() and not asked.force:
            raise RunExists(f"{path} is already there", fix="give --force to replace it, or another -o")
        settings: dict[str, Any] = dict(pairs(asked.set, "--set"))
        with tempfile.TemporaryDirectory() if asked.sample else nullcontext() as made_up:
            if made_up is not None:
                write_sample(asked.benchmark, asked.sample, Path(made_up))
                settings["data"] = made_up
            options = TrainOptions(
                benchmark=asked.benchmark,
                method="equal-weight",
                architecture=asked.architecture,
                optimizer=asked.optimizer,
                tasks=None if asked.tasks is None else tuple(asked.tasks.split(",")),
                batch_size=asked.batch_size,
                settings=settings,
                threads=asked.threads,
                device=asked.device,
            )
            found = measure(options, asked.method, laps=asked.laps, steps=asked.steps)
        found |= {"settings": dict(pairs(asked.set, "--set")), "sample": asked.sample or ""}
        asked.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except DominanceError as error:
        print(f"dominance: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for name, each in found["methods"].items():
        low, middle, high = each["ratio"]
        print(f"{name:24} {1e3 * each['seconds']:9.3f} ms a step, {middle:.2f} times ({low:.2f} to {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
