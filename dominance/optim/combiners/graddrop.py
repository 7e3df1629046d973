"""GradDrop: gradient sign dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dominance.optim.engine.checks import named_by
from dominance.optim.engine.combiner import Combiner, Mixture, Rows
from dominance.optim.engine.task_gradients import Matrix, Row, TaskGradients

if TYPE_CHECKING:
    from dominance.optim.engine.representation import Pull


class GradDrop(Combiner):
    """At each coordinate one sign is drawn, and gradients of the other sign are dropped (Chen et al., 2020, Alg. 1).

        P = 1/2 (1 + Σ_k g_k / Σ_k |g_k|),    U ~ uniform(0, 1), one draw a coordinate
        M_k = [f(P) > U] [g_k > 0] + [f(P) < U] [g_k < 0]
        ĝ_k = (l_k + (1 - l_k) M_k) ∘ g_k

    All of it elementwise, over the shared parameters. With ``representation`` it is what the paper does most: P is
    computed there from the gradients times the sign of the activation, summed over the samples (the first
    dimension), one draw for each feature, and M masks the gradient of every sample by the sign of that product.
    Tasks with inputs of their own are masked in the same way: their gradients are summed over their own samples.

    The draws are made on the CPU, as float32, in the order of the parameters: the same on every device.

    Args:
        leak: l, how much of what would be dropped passes, from 0 (the default) to 1 (the plain sum); for all tasks or
            task -> leak, 0 for those that are not named.
        transform: f, increasing, from [0, 1] to [0, 1]; None: the identity.
        seed: of its own generator.
    """

    remembers = ("generator",)

    def __init__(
        self,
        *,
        leak: float | Mapping[str, float] = 0.0,
        transform: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        named_by(leak if isinstance(leak, Mapping) else (), self)
        leaks = list(leak.values()) if isinstance(leak, Mapping) else [leak]
        if not all(0 <= one <= 1 for one in leaks):
            raise ValueError(f"leak is {leak}; it must lie between 0 and 1")
        self.leak = leak
        self.transform = transform
        self.generator = torch.Generator().manual_seed(seed)

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Draw, and mask."""
        rows: list[Row] = [list(row) for row in gradients.rows]
        for i, shared in enumerate(gradients.shared):
            if shared:
                column = [row[i] for row in rows]
                for row, masked in zip(rows, self._masked(gradients.tasks, column, column), strict=True):
                    row[i] = masked
        return Rows(TaskGradients(gradients.tasks, gradients.parameters, rows, gradients.losses, gradients.shared))

    def pull(self, tasks: Sequence[str], losses: Matrix, points: Sequence[Tensor], gradients: Row) -> Pull:
        """The masked gradients, at each task's representation."""
        from dominance.optim.engine.representation import Pull

        signs = [
            None if g is None else g if g.dim() < 2 else (g * p.detach().sign()).sum(dim=0)
            for p, g in zip(points, gradients, strict=True)
        ]
        masked = self._masked(tasks, signs, gradients)
        parts: list[Row] = [[g if j == i else None for j, g in enumerate(masked)] for i in range(len(tasks))]
        return Pull(masked, np.ones(len(tasks)), None, parts)

    def _masked(self, tasks: Sequence[str], looked_at: Row, gradients: Row) -> Row:
        """(l + (1 - l) M) ∘ g for each task, M from what is looked at; None stays None."""
        given = [g for g in looked_at if g is not None]
        if not given:
            return list(gradients)
        total, size = given[0].clone(), given[0].abs()
        for g in given[1:]:
            total.add_(g)
            size.add_(g.abs())
        purity = total.div_(size.masked_fill_(size == 0, 1.0)).add_(1).mul_(0.5)  # 1/2 where all are 0
        purity = purity if self.transform is None else self.transform(purity)
        drawn = torch.rand(purity.shape, generator=self.generator).to(purity.device)
        side = torch.sub(purity, drawn).sign_()  # +1: the positive ones pass, -1: the negative ones
        rows: Row = []
        for task, signs, gradient in zip(tasks, looked_at, gradients, strict=True):
            if signs is None or gradient is None:
                rows.append(None)
                continue
            leak = self.leak.get(task, 0.0) if isinstance(self.leak, Mapping) else self.leak
            kept = (side * signs > 0).to(gradient.dtype)
            rows.append(gradient * (kept.mul_(1 - leak).add_(leak) if leak else kept))
        return rows
