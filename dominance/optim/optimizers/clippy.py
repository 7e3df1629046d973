"""Clippy: Adam whose step is scaled down, tensor by tensor, until no entry moves too far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dominance.optim.engine.task_gradients import Loss
from dominance.optim.engine.taskwise import Group, Parameters, buffers, coupled, fraction, nonnegative

if TYPE_CHECKING:
    from dominance.optim.engine.combiner import Combiner
    from dominance.optim.engine.scaling import Scaler


class Clippy(torch.optim.Optimizer):
    """ClippyAdam: theta <- theta - sigma * lr * m̂ / (sqrt(v̂) + eps), one sigma <= 1 for each tensor.

    sigma is the largest for which every entry keeps |theta_new - theta| <= lambda_rel * |theta| + lambda_abs; with
    sigma = 1 it is ``torch.optim.Adam``. It steps from ``.grad``, so that any combiner and clipping goes with it, and a
    loss scaler: ``backward(losses, scaler=scaler)``, then ``scaler.step(optimizer)``. ``backward(losses)`` fills
    ``.grad``, as does ``loss.backward()``.

    ``Clippy()``, without parameters, is the rule alone: what ``PUB`` takes as its manipulation.

    Args:
        params: parameters or parameter groups.
        lr, betas, eps, weight_decay, decoupled_weight_decay: as in ``torch.optim.Adam``.
        lambda_rel, lambda_abs: how far an entry may move, relative to its size and absolutely.

    Raises:
        ValueError: an option is out of its range.

    Source: Tang et al., Improving training stability for multitask ranking models in recommender systems (KDD 2023);
    on Adam in the PUB paper (Sec. VI-B).
    """

    def __init__(
        self,
        params: Parameters | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        decoupled_weight_decay: bool = False,
        lambda_rel: float = 0.5,
        lambda_abs: float = 0.01,
    ) -> None:
        nonnegative(lr=lr, eps=eps, weight_decay=weight_decay, lambda_rel=lambda_rel, lambda_abs=lambda_abs)
        fraction(beta1=betas[0], beta2=betas[1])
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "lambda_rel": lambda_rel,
            "lambda_abs": lambda_abs,
        }
        super().__init__([{"params": []}] if params is None else params, defaults)

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        combiner: Combiner | None = None,
        *,
        scaler: Scaler | None = None,
    ) -> None:
        """Add the combined gradient of the tasks to ``.grad``, by default the plain sum.

        Args:
            losses: task name -> scalar loss; None for a task that is absent from the batch.
            combiner: what combines the gradients.
            scaler: a ``torch.amp.GradScaler``; the losses are given unscaled, see ``Combiner.backward``.

        Raises:
            TypeError, ValueError, RuntimeError, FloatingPointError: see ``Combiner.backward``.
        """
        if combiner is None:
            from dominance.optim.combiners.equal_weight import EqualWeight

            combiner = EqualWeight()
        learnt = {id(p) for p in combiner.parameters()}  # the combiner sees to those itself
        mine = [p for group in self.param_groups for p in group["params"] if id(p) not in learnt]
        combiner.backward(losses, mine, scaler=scaler)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the parameters; a closure is called first, and its result returned.

        Raises:
            TypeError: a gradient is sparse.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        if any(p.grad is not None and p.grad.is_sparse for group in self.param_groups for p in group["params"]):
            raise TypeError("the gradient of a parameter is sparse; use dense ones: nn.Embedding(..., sparse=False)")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(group, parameter, parameter.grad)
        return result

    def _step(self, group: Group, theta: Tensor, g: Tensor) -> None:
        (beta1, beta2), lr, state = group["betas"], float(group["lr"]), self.state[theta]
        if decay := coupled(group):
            g = g.add(theta, alpha=decay)
        elif group["weight_decay"]:
            theta.mul_(1 - lr * group["weight_decay"])
        state["step"] = t = state.get("step", 0) + 1
        (m,), (v,) = buffers([state], "exp_avg", [theta]), buffers([state], "exp_avg_sq", [theta])
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        denominator = v.sqrt().div_((1 - beta2**t) ** 0.5).add_(group["eps"])
        update = torch.div(m, denominator, out=denominator).mul_(-lr / (1 - beta1**t))
        theta.add_(update.mul_(clipping(update, theta, group["lambda_rel"], group["lambda_abs"])))


def clipping(update: Tensor, theta: Tensor, lambda_rel: float, lambda_abs: float) -> Tensor:
    """sigma = min(1, min_i (lambda_rel * |theta_i| + lambda_abs) / |update_i|), a 0-dim tensor."""
    allowed = theta.abs().mul_(lambda_rel).add_(lambda_abs)
    # an entry that may not move and does not (0 / 0) sets no limit
    excess = (update.abs() / allowed).nan_to_num_(nan=0.0, posinf=torch.inf)
    return 1 / excess.max().clamp(min=1.0) if excess.numel() else torch.ones_like(excess.sum())
