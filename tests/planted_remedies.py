"""Which remedy helps against which planted cause, and by how much: python tests/planted_remedies.py

Trains ``planted_script`` with each cause and seed as it is and with each remedy, written by hand: to the bit what
``dominance record --method`` does. Prints a table: the change of the R² of the task that suffers, in how many trainings
it rose, and the change of the other task's. The weights are those that the verdict on the script as it is prints.
With ``--optimizer momentum`` each cause is trained with the learning rate, of five, that the script as it is does best
with.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import planted_script
import torch
from torch import Tensor, nn

import dominance
from dominance.benchmarks.train.methods import build
from dominance.config import RecordOptions
from dominance.cure.choice import Choice, choose
from dominance.record.script.session import ScriptSession

METHODS = "adatask,imtl-g,uw,pcgrad,cagrad,mocograd,fairgrad"
CAUSES = [cause for cause, named in planted_script.CAUSES.items() if named]
COPY = "a copy of the layers"
ALONE = "each task alone"
OFTEN = "in one step of 4"
WEIGHTS = "loss weight"
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True)
class Training:
    """How the script is trained."""

    cause: str
    steps: int
    optimizer: str = "adam"
    lr: float = 3e-3

    def run(self, seed: int, **more: Any) -> dict[str, float]:
        """R² of each task."""
        return planted_script.train(self.cause, seed, self.steps, lr=self.lr, optimizer=self.optimizer, **more)

    def recorded(self, seed: int, path: Path) -> dict[str, float]:
        """The same of the script as it is, recorded with default options."""
        options = RecordOptions(quiet=True)
        session = ScriptSession(path, options, script="train.py", argv=["train.py"], force=False, resume=False)
        session.check_output()
        session.start()
        try:
            return self.run(seed)
        finally:
            session.finish("complete")

    def by(self, choice: Choice, seed: int) -> dict[str, float]:
        """The same of the script with a method written into it."""

        def stepping(model: nn.Module, lr: float) -> Callable[[dict[str, Tensor | None]], object]:
            tasks, options = planted_script.TASKS, choice.options
            return build(choice.method, model, tasks, optimizer=self.optimizer, lr=lr, options=options).step

        return self.run(seed, stepping=stepping)

    def alone(self, seed: int) -> dict[str, float]:
        """R² of each task where it is the only one that sends a gradient."""
        return {task: self.run(seed, stepping=partial(self._only, task))[task] for task in planted_script.TASKS}

    def _only(self, task: str, model: nn.Module, lr: float) -> Callable[[dict[str, Tensor | None]], object]:
        optimizer = planted_script.OPTIMIZERS[self.optimizer](model.parameters(), lr=lr)

        def step(losses: dict[str, Tensor | None]) -> None:
            loss = losses[task]
            if loss is None:
                return
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def tuned(self, seeds: Sequence[int]) -> Training:
        """With the learning rate at which the script as it is has the best mean R² over these seeds."""
        scores = {lr: [value for seed in seeds for value in replace(self, lr=lr).run(seed).values()] for lr in RATES}
        return replace(self, lr=max(RATES, key=lambda lr: float(np.nan_to_num(np.mean(scores[lr]), nan=-np.inf))))


def advised(path: Path) -> list[str]:
    """The methods of the first command that the verdict prints; none where it prints none."""
    with dominance.open_run(path) as run:
        said = re.findall(r"--methods (\S+)", str(dominance.verdict(run).text(width=10_000)))
    return said[0].split(",") if said else []


def of_training(training: Training, seed: int, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Remedy -> R² of each task; "" is the script as it is."""
    with TemporaryDirectory() as folder:
        found = {"": training.recorded(seed, Path(folder) / "run")}
        for text in [*advised(Path(folder) / "run"), *methods]:
            name, *options = text.split(":")
            label = WEIGHTS if name == "weights" else name
            if label not in found:
                found[label] = training.by(choose(name, options), seed)
        if training.cause == "rare":
            found[OFTEN] = training.run(seed, rarity=4)
        if training.cause == "conflict":
            found[COPY] = training.run(seed, copies=("trunk.0", "trunk.2", "price"))
        found[ALONE] = training.alone(seed)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--causes", type=lambda text: text.split(","), default=CAUSES)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=METHODS.split(","))
    parser.add_argument("--optimizer", choices=list(planted_script.OPTIMIZERS), default="adam")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.seeds)
    columns = {}
    for cause in options.causes:
        training = Training(cause, options.steps, options.optimizer)
        if options.optimizer != "adam":
            training = training.tuned(seeds)
            print(f"{cause}: learning rate {training.lr:g}")
        columns[cause] = [of_training(training, seed, options.methods) for seed in seeds]
    print("| remedy |", " | ".join(columns), "|")
    print("| --- |" + " --- |" * len(columns))
    print("| as it is |", " | ".join(_as_it_is(*column) for column in columns.items()), "|")
    for remedy in dict.fromkeys(name for runs in columns.values() for run in runs for name in run if name):
        print(f"| {remedy} |", " | ".join(_change(*column, remedy) for column in columns.items()), "|")


def _score(found: dict[str, float], cause: str) -> float:
    """R² of the task that suffers; of a conflict that is the one that is worse off."""
    return min(found.values()) if cause == "conflict" else found[planted_script.TASKS[1]]


def _as_it_is(cause: str, runs: Sequence[dict[str, dict[str, float]]]) -> str:
    return f"{np.mean([_score(run[''], cause) for run in runs]):.2f}"


def _change(cause: str, runs: Sequence[dict[str, dict[str, float]]], remedy: str) -> str:
    gains = [_score(run[remedy], cause) - _score(run[""], cause) for run in runs if remedy in run]
    if not gains:
        return ""
    other = planted_script.TASKS[0]
    cost = np.mean([run[remedy][other] - run[""][other] for run in runs if remedy in run])
    return f"{np.mean(gains):+.2f} ({sum(gain > 0 for gain in gains)} of {len(gains)}); {cost:+.2f}"


if __name__ == "__main__":
    main()
