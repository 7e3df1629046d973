"""What processes that trained together left behind: the run, gradients by hand, and the state of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dominance import open_run

Gradients = dict[str, dict[str, Tensor]]
"""Task -> parameter -> gradient."""


def recorded(run: Path) -> dict[int, Gradients]:
    """Step -> task -> parameter -> gradient."""
    with open_run(run) as tree:
        names = np.array([parameter["name"] for parameter in tree.attrs["parameters"]])
        found = tree["gradient"].to_dataset()
        of = found["parameter"].to_numpy()
        return {
            int(step): {
                str(task): {name: torch.from_numpy(values[of == name]) for name in names}
                for task, values in zip(found["task"].to_numpy(), rows, strict=True)
            }
            for step, rows in zip(found["step"].to_numpy(), found["gradient"].to_numpy(), strict=True)
        }


def by_hand(folder: Path, size: int, *, by_active: bool = False) -> dict[int, Gradients]:
    """The means of what the processes have taken, each of its own batches; what one does not have is zero."""
    each = [torch.load(folder / f"truth-{rank}.pt") for rank in range(size)]
    steps: dict[int, Gradients] = {}
    for step in each[0]:
        there = [mine[step] for mine in each if step in mine]
        count = len(there) if by_active else size
        for mine in there:
            for task, gradients in mine.items():
                held = steps.setdefault(step, {}).setdefault(task, {})
                for name, gradient in gradients.items():
                    held[name] = held.get(name, torch.zeros_like(gradient)) + gradient / count
    return steps


def assert_untouched(plain: Path, recorded: Path, size: int) -> None:
    """Weights, buffers, gradients and random states are the same to the bit, in every process."""
    for rank in range(size):
        before, after = (torch.load(folder / f"state-{rank}.pt") for folder in (plain, recorded))
        for kind in ("weights", "gradients"):
            for name, value in before[kind].items():
                assert (value is None) == (after[kind][name] is None)
                assert value is None or torch.equal(value, after[kind][name]), (rank, kind, name)
        assert torch.equal(before["random"][0], after["random"][0])
        assert before["random"][1] == after["random"][1]
