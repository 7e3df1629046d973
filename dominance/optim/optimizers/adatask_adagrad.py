"""AdaTask on Adagrad."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dominance.optim.engine.checks import nonnegative
from dominance.optim.engine.foreach_lists import Group, State, buffers
from dominance.optim.engine.taskwise import Parameters
from dominance.optim.optimizers.adatask import AdaTaskOptimizer
from dominance.optim.optimizers.ladatask import Aggregate, Granularity


class AdaTaskAdagrad(AdaTaskOptimizer):
    """Adagrad with accumulated gradients for each task: theta <- theta - sum_k lr_t * g^k / (sqrt(G^k) + eps).

    G^k <- G^k + (g^k)²; lr_t = lr / (1 + (t - 1) * lr_decay), where t counts how often the task reached the parameter.
    Apart from that it is ``torch.optim.Adagrad``: with one task it takes the same steps, to the bit. So eps stands
    outside the root, as in torch; Algorithm 2 has it inside. A task whose loss is multiplied by a number takes the
    same steps (up to eps).

    Args:
        params: parameters, with or without names, or parameter groups.
        lr, lr_decay, weight_decay, initial_accumulator_value, eps: as in ``torch.optim.Adagrad``.
        foreach, granularity, aggregate: as in ``AdaTaskAdam``.

    Raises:
        ValueError: an option is below zero, or ``granularity`` needs names.

    Memory: NK numbers; LAdaTask N + LK.

    Source: AdaTask, Algorithm 2 and Eq. 5; Eq. 8-9 with sums in place of averages for LAdaTask.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        foreach: bool | None = None,
        granularity: Granularity = "parameter",
        aggregate: Aggregate = "mean",
    ) -> None:
        nonnegative(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "foreach": foreach,
        }
        super().__init__(params, defaults, granularity, aggregate)

    def _square(
        self, group: Group, states: Sequence[State], parameters: list[Tensor], row: list[Tensor]
    ) -> list[Tensor]:
        squares = buffers(states, "sum", parameters, float(group["initial_accumulator_value"]))
        torch._foreach_addcmul_(squares, row, row, 1)
        return squares

    def _decay(self, group: Group) -> float | None:
        return None

    def _terms(
        self, group: Group, states: Sequence[State], steps: Sequence[int], row: list[Tensor], roots: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        torch._foreach_add_(roots, group["eps"])
        factors = [-(float(group["lr"]) / (1 + (state["step"] - 1) * group["lr_decay"])) for state in states]
        if group["foreach"] or (group["foreach"] is None and row[0].is_cuda):
            # in the order of torch's foreach form, which rounds differently on a GPU
            return list(torch._foreach_mul(row, factors)), roots, [1.0] * len(row)
        return row, roots, factors
