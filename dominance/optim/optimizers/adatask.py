"""AdaTask: every task has its own accumulated gradients, and so its own learning rate for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dominance.optim.engine.gradients import listeners
from dominance.optim.engine.task_gradients import TaskGradients
from dominance.optim.engine.taskwise import (
    Aggregate,
    Granularity,
    Group,
    Parameters,
    Part,
    State,
    TaskwiseOptimizer,
    buffers,
    coupled,
    fed,
    fraction,
    nonnegative,
    parts_of,
)

if TYPE_CHECKING:
    from dominance.optim.optimizers.ladatask import SharedLayers, Shares


class AdaTaskOptimizer(TaskwiseOptimizer):
    """theta <- theta + sum_k factor * numerator^k / denominator^k (Algorithm 2); subclasses give the three for a task.

    With a ``granularity`` other than "parameter" this is LAdaTask, see ``dominance.optim.optimizers.ladatask``.
    """

    corrects_bias: ClassVar[bool] = False
    """Averages are divided by how much of their weight they have seen."""

    def __init__(
        self, params: Parameters, defaults: dict[str, Any], granularity: Granularity, aggregate: Aggregate
    ) -> None:
        if aggregate not in ("mean", "sum"):
            raise ValueError(f"aggregate is {aggregate!r}; give 'mean' or 'sum'")
        self._granularity, self._aggregate = granularity, aggregate
        self._layers: SharedLayers | None = None
        super().__init__(params, defaults)

    @property
    def announced_are_solo(self) -> bool:
        """Whether every task steps as if it were alone: not so in LAdaTask, whose tasks share G."""
        return self._layers is None

    def add_param_group(self, param_group: Group) -> None:
        """As in torch; the layers of LAdaTask are found anew."""
        super().add_param_group(param_group)
        self._find_layers()

    def __getstate__(self) -> dict[str, Any]:
        kept: dict[str, Any] = super().__getstate__()
        return kept | {"_granularity": self._granularity, "_aggregate": self._aggregate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._find_layers()

    def _square(
        self, group: Group, states: Sequence[State], parameters: list[Tensor], row: list[Tensor]
    ) -> list[Tensor]:
        """G <- f(G, g²) (Eq. 5), in place. Returns what the root is taken of."""
        raise NotImplementedError

    def _decay(self, group: Group) -> float | None:
        """gamma of the moving average of squared gradients; None where they are summed."""
        raise NotImplementedError

    def _terms(
        self, group: Group, states: Sequence[State], steps: Sequence[int], row: list[Tensor], roots: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        """Numerators, denominators and factors of one task's update; its first moments move.

        Args:
            states: of the task, one for each parameter.
            steps: how often G was fed, for each parameter.
            row: what the task's state is fed.
            roots: of G; may be overwritten.
        """
        raise NotImplementedError

    def _update(self, gradients: TaskGradients) -> None:
        parts = [(group, part) for group in self.param_groups for part in parts_of(group, gradients)]
        shares = None if self._layers is None else self._layers.shares(self.state, parts, self._decay)
        for group, part in parts:
            self._update_part(group, part, shares)

    def _update_part(self, group: Group, part: Part, shares: Shares | None) -> None:
        theta, decay = part.parameters, coupled(group)
        if group["weight_decay"] and not decay:
            torch._foreach_mul_(theta, 1 - float(group["lr"]) * group["weight_decay"])
        # every task's decay is by the parameters as they were before the step
        before = [p.clone() for p in theta] if decay and len(part.tasks) > 1 else theta
        roots: list[Tensor] = []
        joint: list[State] = []
        if shares is not None:
            joint = _counted([self.state[p].setdefault("joint", {"step": 0}) for p in theta])
            roots = list(torch._foreach_sqrt(self._square(group, joint, theta, _summed(part, before, decay))))
        for k, task in enumerate(part.tasks):
            row, states = fed(part, k, before, decay), _counted([self._task_state(p, task) for p in theta])
            if shares is None:
                own = list(torch._foreach_sqrt(self._square(group, states, theta, row)))
            else:
                own = list(torch._foreach_mul(roots, [shares(p, task) ** 0.5 for p in theta]))
            steps = [state["step"] for state in joint or states]
            numerators, denominators, factors = self._terms(group, states, steps, row, own)
            if listeners:
                updates = list(torch._foreach_div(numerators, denominators))
                torch._foreach_mul_(updates, factors)
                for listener in listeners:
                    listener.updates(self, theta, task, updates)
            torch._foreach_addcdiv_(theta, numerators, denominators, factors)

    def _find_layers(self) -> None:
        self._layers = None
        if self._granularity != "parameter":
            from dominance.optim.optimizers.ladatask import SharedLayers

            self._layers = SharedLayers(
                self.param_groups, self._granularity, self._aggregate, corrected=self.corrects_bias
            )


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


def _counted(states: list[State]) -> list[State]:
    for state in states:
        state["step"] += 1
    return states


def _summed(part: Part, theta: list[Tensor], decay: float) -> list[Tensor]:
    """The joint gradient (Algorithm 1, line 10), with the weight decay."""
    total = part.rows[0]
    for k, row in enumerate(part.rows[1:]):
        if k == 0:
            total = list(torch._foreach_add(total, row))
        else:
            torch._foreach_add_(total, row)
    return list(torch._foreach_add(total, theta, alpha=decay)) if decay else total
