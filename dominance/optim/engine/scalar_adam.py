"""Adam on one number a task, for methods that learn their weights by a rule of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping

State = dict[str, list[float]]


class ScalarAdam:
    """The steps of ``torch.optim.Adam`` (Kingma and Ba, 2015), task by task: a task that is left out does not move.

    Args:
        lr: learning rate.
        betas: decay of the two averages.
        eps: added to the root of the second, outside.
        weight_decay: times the number itself, added to its gradient.
    """

    def __init__(
        self, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def step(self, values: Mapping[str, float], gradients: Mapping[str, float], state: State) -> dict[str, float]:
        """One step on the numbers that have a gradient.

        Args:
            values: the numbers as they are.
            gradients: of what is to become small.
            state: of each task the two averages and the count of steps; written in place.

        Returns:
            The numbers after the step, those with a gradient only.
        """
        moved = {}
        beta1, beta2 = self.betas
        for task, gradient in gradients.items():
            g = gradient + self.weight_decay * values[task]
            first, second, steps = state.get(task, [0.0, 0.0, 0])
            first, second, steps = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g * g, steps + 1
            state[task] = [first, second, steps]
            denominator = math.sqrt(second / (1 - beta2**steps)) + self.eps
            moved[task] = values[task] - self.lr * first / (1 - beta1**steps) / denominator
        return moved
