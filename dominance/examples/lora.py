"""An adapter of rank 4 on a frozen layer, trained on two tasks: who owns A, who owns B?

The frozen layer W stands for a pretrained model; W + B A is what the tasks use (Hu et al. 2022), each with a head of
its own. A reads the inputs and B writes the outputs, so the two need not have one owner:

    python -m dominance.examples.lora
    dominance record -m dominance.examples.lora
    dominance summary runs/latest --by 'adapted.{matrix}'

With ``--apart inputs`` the samples of each task have features of their own, so that A comes apart into columns that one
task alone moves, and B is everybody's. With ``--apart outputs`` each head reads outputs of its own: now B comes apart,
by rows. ``--loud N`` counts the loss of the first task N times.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LoRAConfig:
    """Sizes of the model, as a configuration file would have them; and of a batch of each task."""

    inputs: int = 16
    outputs: int = 16
    rank: int = 4
    batch: int = 32


class Adapted(nn.Module):
    """A frozen linear layer with its adapter: B is 0 at first, so that nothing is changed yet."""

    def __init__(self, config: LoRAConfig) -> None:
        super().__init__()
        self.frozen = nn.Linear(config.inputs, config.outputs).requires_grad_(False)
        self.A = nn.Parameter(torch.randn(config.rank, config.inputs) / config.inputs**0.5)
        self.B = nn.Parameter(torch.zeros(config.outputs, config.rank))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        found: Tensor = self.frozen(x) + x @ self.A.T @ self.B.T
        return found


class AdaptedModel(nn.Module):
    """The adapted layer, and a head for each task.

    Args:
        apart: "outputs": each head reads one half of them.
    """

    def __init__(self, config: LoRAConfig, apart: str = "") -> None:
        super().__init__()
        self.adapted = Adapted(config)
        self.heads = nn.ModuleDict({task: nn.Linear(config.outputs, 1) for task in TASKS})
        self.halves = halves(config.outputs) if apart == "outputs" else dict.fromkeys(TASKS, torch.ones(config.outputs))

    def forward(self, x: Tensor, task: str) -> Tensor:
        """What the head of a task makes of (batch, inputs): (batch,)."""
        found: Tensor = self.heads[task](torch.tanh(self.adapted(x)) * self.halves[task])[:, 0]
        return found


TASKS = ("answer", "style")


def halves(size: int) -> dict[str, Tensor]:
    """1 where a task has its half, 0 elsewhere."""
    first = (torch.arange(size) < size // 2).float()
    return dict(zip(TASKS, (first, 1 - first), strict=True))


def train(*, apart: str = "", loud: float = 1.0, steps: int = 300, seed: int = 0) -> dict[str, float]:
    """Train the adapter and the heads, and return the last loss of each task."""
    torch.manual_seed(seed)
    config = LoRAConfig()
    model = AdaptedModel(config, apart)
    seen = halves(config.inputs) if apart == "inputs" else dict.fromkeys(TASKS, torch.ones(config.inputs))
    target = dict(zip(TASKS, torch.randn(2, config.inputs), strict=True))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
    losses: dict[str, Tensor] = {}
    for _ in range(steps):
        for task in TASKS:
            x = torch.randn(config.batch, config.inputs) * seen[task]
            losses[task] = F.mse_loss(model(x, task), torch.tanh(x @ target[task]))
        answer, style = losses["answer"], losses["style"]
        optimizer.zero_grad()
        (loud * answer + style).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {task: loss.item() for task, loss in losses.items()}


def main() -> None:
    """Train it, and say how well each task is learnt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apart", choices=("", "inputs", "outputs"), default="")
    parser.add_argument("--loud", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task, loss in train(**vars(args)).items():
        print(f"{task}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
