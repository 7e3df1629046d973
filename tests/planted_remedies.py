"""Which remedy helps against which planted cause, and by how much: python tests/planted_remedies.py

Trains ``planted_script`` with each cause and seed as it is and with each remedy, written by hand: to the bit what
``dominance record --method`` does. Prints a table: the change of the R² of the task that suffers, in how many trainings
it rose, and the change of the other task's. The weights are those that the verdict on the script as it is prints.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

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
WEIGHTS = "loss weight"


def recorded(cause: str, seed: int, steps: int, path: Path) -> dict[str, float]:
    """R² of each task of the script as it is, recorded with default options."""
    options = RecordOptions(quiet=True)
    session = ScriptSession(path, options, script="train.py", argv=["train.py"], force=False, resume=False)
    session.check_output()
    session.start()
    try:
        return planted_script.train(cause, seed, steps)
    finally:
        session.finish("complete")


def trained(choice: Choice, cause: str, seed: int, steps: int) -> dict[str, float]:
    """R² of each task of the script with a method written into it."""

    def stepping(model: nn.Module, lr: float) -> Callable[[dict[str, Tensor | None]], object]:
        made = build(choice.method, model, planted_script.TASKS, optimizer="adam", lr=lr, options=choice.options)
        return made.step

    return planted_script.train(cause, seed, steps, stepping=stepping)


def advised(path: Path) -> list[str]:
    """The methods of the first command that the verdict prints; none where it prints none."""
    with dominance.open_run(path) as run:
        said = re.findall(r"--methods (\S+)", str(dominance.verdict(run).text(width=10_000)))
    return said[0].split(",") if said else []


def of_cause(cause: str, seed: int, steps: int, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Remedy -> R² of each task; "" is the script as it is."""
    with TemporaryDirectory() as folder:
        found = {"": recorded(cause, seed, steps, Path(folder) / "run")}
        for text in [*advised(Path(folder) / "run"), *methods]:
            name, *options = text.split(":")
            label = WEIGHTS if name == "weights" else name
            if label not in found:
                found[label] = trained(choose(name, options), cause, seed, steps)
        if cause == "conflict":
            found[COPY] = planted_script.train(cause, seed, steps, copies=("trunk.0", "trunk.2", "price"))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--causes", type=lambda text: text.split(","), default=CAUSES)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=METHODS.split(","))
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.first, options.first + options.seeds)
    columns = {
        cause: [of_cause(cause, seed, options.steps, options.methods) for seed in seeds] for cause in options.causes
    }
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
