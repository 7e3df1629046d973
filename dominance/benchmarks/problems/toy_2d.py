"""The two-parameter problem of CAGrad, Nash-MTL, FAMO and PUB (Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dominance.benchmarks.benchmark import Batch, Benchmark, Metric, Settings, Task
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadOption

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
PARETO_X1, PARETO_X2 = 7.0, -8.3552
"""The Pareto set is the segment from (-7, -8.3552) to (7, -8.3552); towards its ends the exact one bends by 0.1."""

TASKS = ("L1", "L2")
LOSS = Metric("loss", higher_is_better=False)
DISTANCE = Metric("distance", higher_is_better=False)


def losses(x: Tensor, scale: float = 0.1) -> tuple[Tensor, Tensor]:
    """L1 and L2, each a scalar, at x = (x1, x2).

    ::

        f1 = log(max(|0.5 (-x1 - 7) - tanh(-x2)|, 5e-6)) + 6      q1 = ((-x1 + 7)² + 0.1 (-x2 - 8)²) / 10 - 20
        f2 = log(max(|0.5 (-x1 + 3) + tanh(-x2) + 2|, 5e-6)) + 6  q2 = ((-x1 - 7)² + 0.1 (-x2 - 8)²) / 10 - 20
        c1 = max(tanh(x2 / 2), 0)   c2 = max(tanh(-x2 / 2), 0)    L1 = scale (c1 f1 + c2 q1)   L2 = c1 f2 + c2 q2

    At x2 = 0 both c are clamped and both losses are 0. A clamp's subgradient there is 1, as torch.clamp had it up to
    2.13: the slope of the side that is not clamped counts. Hence dc1/dx2 = 1/2 and dc2/dx2 = -1/2, and the start (0, 0)
    can move: there the gradient is scale/2 (f1 - q1) for L1 and (f2 - q2)/2 for L2, along x2, and 0 along x1. With a
    subgradient of 0 it would never move.
    """
    x1, x2 = x
    f1 = (0.5 * (-x1 - 7) - torch.tanh(-x2)).abs().clamp(min=5e-6).log() + 6
    f2 = (0.5 * (-x1 + 3) + torch.tanh(-x2) + 2).abs().clamp(min=5e-6).log() + 6
    q1 = ((-x1 + 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    q2 = ((-x1 - 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20
    c1, c2 = _not_below_zero(torch.tanh(x2 / 2)), _not_below_zero(torch.tanh(-x2 / 2))
    return scale * (c1 * f1 + c2 * q1), c1 * f2 + c2 * q2


def _not_below_zero(value: Tensor) -> Tensor:
    """max(value, 0), with the slope of ``value`` at 0 as well: torch.clamp has none there from 2.14 on."""
    return torch.where(value >= 0, value, torch.zeros_like(value))


def distance(x: Tensor) -> Tensor:
    """Euclidean distance of x = (x1, x2) to the Pareto set, a scalar."""
    beyond = (x[0].abs() - PARETO_X1).clamp(min=0)
    return torch.hypot(beyond, x[1] - PARETO_X2)


class Point(nn.Module):
    """Two parameters; the outputs are the losses there."""

    def __init__(self, start: tuple[float, float], scale: float, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))
        self.scale, self.tasks = scale, tasks

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """task -> (1, 2): its loss, and the distance to the Pareto set, which has no gradient."""
        found = dict(zip(TASKS, losses(self.x, self.scale), strict=True))
        far = distance(self.x.detach())
        return {task: torch.stack([found[task], far]).unsqueeze(0) for task in self.tasks}


class Toy2D(Benchmark):
    """Two losses of two parameters: a valley where they conflict, and a Pareto set beyond it.

    There is no data: a batch is empty, and all splits are the same. An epoch is ``steps`` steps.

    Args:
        start: which of the five published starts: (-8.5, 7.5), (0, 0), (9, 9), (-7.5, -0.5), (9, -1).
        scale: factor of the first loss.
        steps: steps of an epoch.
    """

    name = "toy-2d"
    title = "two losses of two parameters, one a tenth as large (PUB, Fig. 2)"
    licence = "none needed: a formula"
    source = "CAGrad (NeurIPS 2021), with the scale of Nash-MTL (ICML 2022), to which PUB refers"
    settings = Settings(
        epochs=35,
        batch_size=1,
        lr=1e-3,
        architecture="point",
        published={
            "PUB, Nash-MTL": "Adam, learning rate 1e-3, 35,000 steps, scale 0.1, five starts",
        },
    )
    architectures = ("point",)

    def __init__(self, *, start: int = 0, scale: float = 0.1, steps: int = 1000) -> None:
        if not 0 <= start < len(STARTS):
            raise BadOption(f"start={start}: there are {len(STARTS)} starts", fix=f"give 0 to {len(STARTS) - 1}")
        self.start, self.scale, self.steps = start, scale, at_least(1, steps=steps)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(task, 1, (LOSS, DISTANCE)) for task in TASKS)

    def load(self, seed: int) -> None:
        """Nothing to load, and nothing random."""

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """``steps`` empty batches to train on, one for the other splits; a target only says that its task is there."""
        for _ in range(self.steps if split == "train" else 1):
            yield Batch(torch.zeros(1), {task.name: torch.zeros(1) for task in self.tasks})

    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        """The point itself, at its start.

        Raises:
            BadOption: another architecture than "point".
        """
        if architecture not in self.architectures:
            raise BadOption(f"{self.name} has two parameters and no {architecture}", fix="leave the architecture out")
        return Point(STARTS[self.start], self.scale, tasks)

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor:
        """What the model puts out."""
        return output[:, 0].mean()

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        return {LOSS.name: output[:, 0].mean().item(), DISTANCE.name: output[:, 1].mean().item()}
