"""What a combiner's step costs beside its K backward passes: the Gram matrix, the mixing and the adding to .grad.

    python tests/speed/combiners.py [--threads 1] [--tasks 2 4 8] [--nets mlp-32x8-b32 ...] [--rounds 15]

Prints shares of the K passes (``task_gradients``), in processor time, from medians of interleaved rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from task_gradients import NETS
from torch import nn

from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.gradients import accumulate, task_gradients
from dominance.optim.engine.task_gradients import Matrix


class Mixing(Combiner):
    """A full matrix that costs nothing to find."""

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.eye(len(tasks)) + 0.01


def measured(name: str, k: int, rounds: int) -> str:
    torch.manual_seed(0)
    trunk, width, x = NETS[name]()
    heads = [nn.Linear(width, 1) for _ in range(k)]
    parameters = [*trunk.parameters(), *(p for head in heads for p in head.parameters())]
    combiner = Mixing()
    seconds: dict[str, list[float]] = {part: [] for part in ("passes", "gram", "total", "rows", "add", "backward")}
    for round_ in range(rounds + 2):
        for whole in (False, True):
            z = trunk(x)
            losses = {str(i): head(z).square().mean() for i, head in enumerate(heads)}
            for p in parameters:
                p.grad = None
            laps = [time.process_time()]
            if whole:
                combiner.backward(losses, parameters)
                parts = ["backward"]
            else:
                gradients = task_gradients(losses, parameters, sharing=combiner.sharing)
                laps.append(time.process_time())
                gradients.gram()
                laps.append(time.process_time())
                matrix = combiner.mixing(np.eye(k), np.ones(k), gradients.tasks)
                total = gradients.total(matrix.sum(axis=0))
                laps.append(time.process_time())
                gradients.mixed(matrix)
                laps.append(time.process_time())
                accumulate(parameters, total)
                parts = ["passes", "gram", "total", "rows", "add"]
            laps.append(time.process_time())
            if round_ >= 2:
                for part, start, end in zip(parts, laps, laps[1:], strict=False):
                    seconds[part].append(end - start)
    at = {part: median(times) for part, times in seconds.items()}
    shares = "  ".join(f"{part} {at[part] / at['passes']:.2f}" for part in ("gram", "total", "rows", "add", "backward"))
    return f"K passes {1e3 * at['passes']:8.2f} ms  {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name in asked.nets:
        for k in asked.tasks:
            print(f"{name:18} K={k:2}  {measured(name, k, asked.rounds)}", flush=True)


if __name__ == "__main__":
    main()
