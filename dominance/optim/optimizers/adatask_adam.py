"""AdaTask on Adam."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dominance.optim.engine.checks import fraction, nonnegative
from dominance.optim.engine.foreach_lists import Group, State, buffers
from dominance.optim.engine.taskwise import Parameters
from dominance.optim.optimizers.adatask import AdaTaskOptimizer
from dominance.optim.optimizers.ladatask import Aggregate, Granularity


class AdaTaskAdam(AdaTaskOptimizer):
    """Adam with moments for each task: theta <- theta - sum_k lr * m̂^k / (sqrt(Ĝ^k) + eps).

    m̂^k and Ĝ^k are task k's moments, corrected for their bias by how often the task reached the parameter. Apart from
    that it is ``torch.optim.Adam``, or AdamW with ``decoupled_weight_decay``: with one task it takes the same steps, to
    the bit. So eps stands outside the root, as in torch and in the authors' code; Algorithm 2 has it inside. Clipping,
    absent tasks, weight decay: see ``TaskwiseOptimizer``.

    Args:
        params: parameters, with or without names, or parameter groups.
        lr, betas, eps, weight_decay, decoupled_weight_decay, amsgrad: as in ``torch.optim.Adam``.
        foreach: False: handle the parameters one by one. Else many at once; where torch's own forms round differently
            (Adagrad), None and True go with None and True in torch.
        granularity: what shares accumulated squared gradients: "parameter" nothing does; "layer", "module" or a
            function of name and parameter: LAdaTask, see ``dominance.optim.optimizers.ladatask``.
        aggregate: how a layer's squared gradients are summed up, "mean" or "sum".

    Raises:
        ValueError: an option is out of its range, or ``granularity`` needs names.

    Memory: 2 NK numbers, 3 NK with AMSGrad; LAdaTask NK + N + LK.

    Source: AdaTask, Algorithm 2 and Eq. 7; Eq. 8-9 for LAdaTask.
    """

    corrects_bias = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        amsgrad: bool = False,
        foreach: bool | None = None,
        granularity: Granularity = "parameter",
        aggregate: Aggregate = "mean",
    ) -> None:
        nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        fraction(beta1=betas[0], beta2=betas[1])
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "amsgrad": amsgrad,
            "foreach": foreach,
        }
        super().__init__(params, defaults, granularity, aggregate)

    def _square(
        self, group: Group, states: Sequence[State], parameters: list[Tensor], row: list[Tensor]
    ) -> list[Tensor]:
        beta2 = group["betas"][1]
        squares = buffers(states, "exp_avg_sq", parameters)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, row, row, 1 - beta2)
        if not group["amsgrad"]:
            return squares
        highest = buffers(states, "max_exp_avg_sq", parameters)
        torch._foreach_maximum_(highest, squares)
        return highest

    def _decay(self, group: Group) -> float | None:
        return float(group["betas"][1])

    def _terms(
        self, group: Group, states: Sequence[State], steps: Sequence[int], row: list[Tensor], roots: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        beta1, beta2 = group["betas"]
        momenta = buffers(states, "exp_avg", row)
        torch._foreach_lerp_(momenta, row, 1 - beta1)
        torch._foreach_div_(roots, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(roots, group["eps"])
        return momenta, roots, [-(float(group["lr"]) / (1 - beta1 ** state["step"])) for state in states]
