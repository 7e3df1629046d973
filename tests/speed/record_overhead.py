"""What recording costs a training step: plain, recorded, and the floor of K more backward passes, interleaved.

Run it by itself: python tests/speed/record_overhead.py [rounds]. It prints medians and ratios, and asserts nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from dominance import Recorder


def net(width: int, depth: int, tasks: int) -> nn.ModuleDict:
    layers = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.ReLU())]
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(tasks))
    return nn.ModuleDict({"trunk": nn.Sequential(*layers), "heads": heads})


def losses(model: nn.ModuleDict, x: torch.Tensor) -> list[torch.Tensor]:
    z = model["trunk"](x)
    return [(head(z)[:, 0] - x[:, k]).square().mean() for k, head in enumerate(model["heads"])]


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(width: int, depth: int, tasks: int, batch: int, rounds: int) -> None:
    x = torch.randn(batch, width)
    models = [net(width, depth, tasks) for _ in range(4)]
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-4) for model in models]

    def step(which: int) -> None:
        optimizers[which].zero_grad()
        sum(losses(models[which], x)).backward()
        optimizers[which].step()

    def floor() -> None:
        optimizers[1].zero_grad()
        per_task = losses(models[1], x)
        for loss in per_task:
            torch.autograd.grad(loss, list(models[1].parameters()), retain_graph=True, allow_unused=True)
        sum(per_task).backward()
        optimizers[1].step()

    times: dict[str, list[float]] = {"plain": [], "floor": [], "recorded": [], "between": []}
    step(0)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            times["plain"] += [seconds(lambda: step(0)) for _ in range(3)]
            times["floor"] += [seconds(floor) for _ in range(3)]
            # The first recorded step finds the tasks and lays the run out: it is not counted.
            with Recorder(f"{folder}/{turn}", models[2], optimizers[2], every=1):
                step(2)
                times["recorded"] += [seconds(lambda: step(2)) for _ in range(3)]
            with Recorder(f"{folder}/{turn}-rare", models[3], optimizers[3], every=1000, burst=1):
                step(3)
                step(3)
                times["between"] += [seconds(lambda: step(3)) for _ in range(3)]
    base, least, recorded, between = (median(times[name]) for name in ("plain", "floor", "recorded", "between"))
    count = sum(p.numel() for p in models[0].parameters()) / 1e6
    print(f"{count:.2f} M parameters, K={tasks}, batch {batch}: plain step {base * 1e3:.2f} ms; in multiples of it:")
    print(f"    with K more backward passes {least / base:.2f}, recorded {recorded / base:.2f}, ", end="")
    print(f"between bursts {between / base:.2f}, one in ten recorded {(recorded + 9 * between) / 10 / base:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    for size in ((64, 4, 2, 256), (512, 4, 2, 256), (512, 4, 4, 256), (2048, 2, 3, 128)):
        measure(*size, rounds=turns)
