"""Cost of splitting one Adam step over about 10 million parameters, relative to the optimizer's own foreach step.

Run: python tests/speed/attribution_step.py [threads]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

SHAPES = [(1024, 1024)] * 9 + [(512, 1024)] + [(1024,)] * 10
ROUNDS = 15


def median_seconds(call: Callable[[], object]) -> float:
    """Median over ROUNDS calls, after two that warm up."""
    times = []
    for round_ in range(ROUNDS + 2):
        start = time.perf_counter()
        call()
        if round_ >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    torch.manual_seed(0)
    parameters = [torch.randn(shape).requires_grad_() for shape in SHAPES]
    print(f"{sum(p.numel() for p in parameters) / 1e6:.1f} M parameters, {torch.get_num_threads()} thread(s)")
    for tasks in (2, 3):
        splits: dict[Tensor, GradientSplit] = {}
        for p in parameters:
            splits[p] = GradientSplit({str(k): torch.randn_like(p) for k in range(tasks)})
            p.grad = torch.stack(list(splits[p].tasks.values())).sum(0)
        optimizer = torch.optim.Adam(parameters, foreach=True)
        attributor = Attributor(optimizer)

        def recorded_step(splits: dict[Tensor, GradientSplit] = splits, attributor: Attributor = attributor) -> None:
            attributor.before_step(splits)
            attributor.optimizer.step()
            for _ in attributor.splits(splits):
                pass

        plain = median_seconds(optimizer.step)
        attributor.begin_burst()
        both = median_seconds(recorded_step)
        print(
            f"K={tasks}: step {1e3 * plain:.0f} ms, splitting it {1e3 * (both - plain):.0f} ms, "
            f"ratio {(both - plain) / plain:.2f}"
        )


if __name__ == "__main__":
    main()
