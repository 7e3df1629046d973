"""Cost of a task-wise step relative to torch's own, and the memory table of the AdaTask paper (Table 5), measured.

Ratios of medians, measured in turns within one run. Run: python tests/speed/adatask_step.py [threads] [device]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dominance.optim import PUB, AdaTaskAdagrad, AdaTaskAdam, AdaTaskRMSprop, TaskGradients
from dominance.optim.engine.taskwise import TaskwiseOptimizer

SIZES = {
    "2.6 M in 14 tensors": [(512, 512)] * 10 + [(512,)] * 4,
    "0.1 M in 60 tensors": [(48, 64)] * 30 + [(48,)] * 30,
}
ROUNDS = 25
PARENTS: dict[str, tuple[type[torch.optim.Optimizer], type[TaskwiseOptimizer]]] = {
    "Adam": (torch.optim.Adam, AdaTaskAdam),
    "RMSprop": (torch.optim.RMSprop, AdaTaskRMSprop),
    "Adagrad": (torch.optim.Adagrad, AdaTaskAdagrad),
}


def medians(calls: Mapping[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Median seconds of each call over ROUNDS rounds in turns, after three that warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(ROUNDS + 3):
        for name, call in calls.items():
            _wait(device)
            start = time.perf_counter()
            call()
            _wait(device)
            if round_ >= 3:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def numbers(state: Any) -> int:
    """How many numbers an optimizer's state holds, counts of steps left out."""
    if isinstance(state, dict):
        return sum(numbers(value) for key, value in state.items() if key != "step")
    return state.numel() if isinstance(state, Tensor) else 1


def fresh(shapes: Sequence[tuple[int, ...]], device: str) -> list[tuple[str, Tensor]]:
    return [
        (f"layer{i // 2}.{i % 2}", torch.randn(shape, device=device).requires_grad_()) for i, shape in enumerate(shapes)
    ]


def gradients(named: list[tuple[str, Tensor]], tasks: int) -> TaskGradients:
    rows: list[list[Tensor | None]] = [[torch.randn_like(p) for _, p in named] for _ in range(tasks)]
    losses = tuple(torch.zeros(()) for _ in range(tasks))
    return TaskGradients(tuple(map(str, range(tasks))), tuple(p for _, p in named), rows, losses, (True,) * len(named))


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    torch.manual_seed(0)
    print(f"{device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}")
    for title, shapes in SIZES.items():
        for tasks in (2, 3, 8):
            print(f"{title}, K = {tasks}: one step, in foreach steps of torch's own optimizer")
            for name, (parent, ours) in PARENTS.items():
                measure(name, parent, ours, shapes, tasks, device)
    print("\nstate, numbers per parameter (N = 1): the paper's Table 5 has N, NK and N + LK")
    named = fresh(SIZES["2.6 M in 14 tensors"], device)
    total = sum(p.numel() for _, p in named)
    for name, (parent, ours) in PARENTS.items():
        line = []
        for _, p in named:
            p.grad = torch.randn_like(p)
        one = parent([p for _, p in named])  # type: ignore[call-arg]
        one.step()
        line.append(f"{name} {sum(numbers(s) for s in one.state.values()) / total:.2f}")
        for granularity in ("parameter", "layer"):
            optimizer = ours(named, granularity=granularity)  # type: ignore[call-arg]
            optimizer.step(gradients(named, 3))
            kept = sum(numbers(s) for s in optimizer.state.values())
            line.append(f"by {granularity} K=3 {kept / total:.4f} ({kept * 4 / 2**20:.1f} MiB)")
        print("  " + ", ".join(line))


def measure(
    name: str,
    parent: type[torch.optim.Optimizer],
    ours: type[TaskwiseOptimizer],
    shapes: Sequence[tuple[int, ...]],
    tasks: int,
    device: str,
) -> None:
    named = fresh(shapes, device)
    rows = gradients(named, tasks)
    alone = [p.detach().clone().requires_grad_() for _, p in named]
    for p in alone:
        p.grad = torch.randn_like(p)
    options: dict[str, dict[str, Any]] = {
        "foreach": {"foreach": True},
        "single": {"foreach": False},
        "layer": {"foreach": True, "granularity": "layer"},
    }
    calls: dict[str, Callable[[], object]] = {"parent": parent([*alone], foreach=True).step}  # type: ignore[call-arg]
    for form, chosen in options.items():
        optimizer = ours(named, lr=1e-4, **chosen)  # type: ignore[call-arg]
        calls[form] = partial(optimizer.step, rows)
    if name == "Adam":
        pub = PUB(named, lr=1e-4)
        calls["PUB"] = lambda: pub.step(rows)
    found = medians(calls, device)
    parts = [f"{form} {found[form] / found['parent'] / tasks:.2f} K" for form in calls if form != "parent"]
    print(f"  {name}: {', '.join(parts)}")


if __name__ == "__main__":
    main()
