"""AdaTask on RMSprop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dominance.optim.engine.checks import fraction, nonnegative
from dominance.optim.engine.foreach_lists import Group, State, buffers
from dominance.optim.engine.taskwise import Parameters
from dominance.optim.optimizers.adatask import AdaTaskOptimizer
from dominance.optim.optimizers.ladatask import Aggregate, Granularity


class AdaTaskRMSprop(AdaTaskOptimizer):
    """RMSprop with accumulated gradients for each task: theta <- theta - sum_k lr * g^k / (sqrt(G^k) + eps).

    G^k <- alpha * G^k + (1 - alpha) * (g^k)², gamma in the paper. Apart from that it is ``torch.optim.RMSprop`` without
    its options ``momentum`` and ``centered``, which the paper's RMSProp does not have: with one task it takes the same
    steps, to the bit. So eps stands outside the root, as in torch; Algorithm 2 has it inside. A task whose loss is
    multiplied by a number takes the same steps (up to eps).

    Args:
        params: parameters, with or without names, or parameter groups.
        lr, alpha, eps, weight_decay: as in ``torch.optim.RMSprop``.
        foreach, granularity, aggregate: as in ``AdaTaskAdam``.

    Raises:
        ValueError: an option is out of its range, or ``granularity`` needs names.

    Memory: NK numbers; LAdaTask N + LK.

    Source: AdaTask, Algorithm 2 and Eq. 5; Eq. 8-9 for LAdaTask.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        granularity: Granularity = "parameter",
        aggregate: Aggregate = "mean",
    ) -> None:
        nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        fraction(alpha=alpha)
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "foreach": foreach}
        super().__init__(params, defaults, granularity, aggregate)

    def _square(
        self, group: Group, states: Sequence[State], parameters: list[Tensor], row: list[Tensor]
    ) -> list[Tensor]:
        squares = buffers(states, "square_avg", parameters)
        torch._foreach_mul_(squares, group["alpha"])
        torch._foreach_addcmul_(squares, row, row, 1 - group["alpha"])
        return squares

    def _decay(self, group: Group) -> float | None:
        return float(group["alpha"])

    def _terms(
        self, group: Group, states: Sequence[State], steps: Sequence[int], row: list[Tensor], roots: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        torch._foreach_add_(roots, group["eps"])
        return row, roots, [-float(group["lr"])] * len(row)
