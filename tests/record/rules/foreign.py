"""Optimizers as people write them, each a kind of its own, that nobody wrote a rule for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Foreign(Optimizer):
    """Steps one parameter at a time by ``move``, with a state for each."""

    def __init__(self, params: Any, lr: float = 0.01, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["step"] = state.get("step", 0) + 1
                    self.move(p, p.grad, state, group)

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError


class Belief(Foreign):
    """AdaBelief: the second moment is of the gradient's distance from its mean; decay decoupled."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        mean = state.setdefault("mean", torch.zeros_like(p)).mul_(0.9).add_(g, alpha=0.1)
        spread = state.setdefault("spread", torch.zeros_like(p)).mul_(0.99)
        spread.addcmul_(g - mean, g - mean, value=0.01).add_(1e-16)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.addcdiv_(mean, spread.sqrt().add_(1e-8), value=-group["lr"])


class TrustRatio(Foreign):
    """LAMB: Adam's direction and coupled decay, times a ratio of norms."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        mean = state.setdefault("mean", torch.zeros_like(p)).lerp_(g, 0.1)
        square = state.setdefault("square", torch.zeros_like(p)).lerp_(g.square(), 0.01)
        update = mean / (square.sqrt() + 1e-6) + group["weight_decay"] * p
        p.sub_(update * (p.norm() / update.norm()).clamp(max=10.0), alpha=group["lr"])


class TwoSequences(Foreign):
    """Schedule-free: the model's weights are pulled towards a sequence z that is kept beside them."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        z = state.setdefault("z", p.clone())
        weight = 1 / state["step"]
        p.lerp_(z, weight).add_(g, alpha=-group["lr"] * (1 - 0.9 * weight))
        z.sub_(g, alpha=group["lr"])


class PulledBack(Foreign):
    """Lookahead inside the step (Ranger): every second step, halfway back to slow weights."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        slow = state.setdefault("slow_buffer", p.clone())
        p.sub_(g, alpha=group["lr"])
        if state["step"] % 2 == 0:
            slow.add_(p - slow, alpha=0.5)
            p.copy_(slow)


class Orthogonal(Foreign):
    """Muon: the momentum is orthogonalised by an iteration in half precision."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        x = state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(g)
        x = x.bfloat16() / (x.norm() + 1e-7)
        for _ in range(4):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
        p.add_(x.to(p.dtype), alpha=-group["lr"])


class Scratch(Foreign):
    """Uses .grad as scratch space, and drops it."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        g.add_(p, alpha=group["weight_decay"])
        p.sub_(state.setdefault("momentum", torch.zeros_like(p)).mul_(0.9).add_(g), alpha=group["lr"])
        g.fill_(7.0)
        p.grad = None


class Each(Foreign):
    """Computes on lists, as foreach code does, and rebinds its state."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            mine = [p for p in group["params"] if p.grad is not None]
            means = [self.state[p].get("mean", torch.zeros_like(p)) for p in mine]
            means = list(torch._foreach_mul(means, 0.9))
            torch._foreach_add_(means, [p.grad for p in mine], alpha=0.1)
            for p, mean in zip(mine, means, strict=True):
                self.state[p]["mean"] = mean
            roots = torch._foreach_add(torch._foreach_abs(means), 0.1)
            torch._foreach_mul_(mine, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_addcdiv_(mine, means, roots, value=-group["lr"])


class Centred(Foreign):
    """Gradient centralisation, a clip by value, and a step through views of one flat buffer."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        flat = (g - g.mean()).clamp(-0.5, 0.5).reshape(-1)
        momentum = state.setdefault("flat", torch.zeros_like(flat)).mul_(0.9).add_(flat)
        first, second = momentum.split([1, momentum.numel() - 1])
        p.view(-1)[:1].sub_(first, alpha=group["lr"])
        p.view(-1)[1:].sub_(second, alpha=group["lr"])


class Signed(Foreign):
    """Lion: the sign of a mean."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        mean = state.setdefault("mean", torch.zeros_like(p))
        p.sub_(mean.lerp(g, 0.1).sign_(), alpha=group["lr"])
        mean.lerp_(g, 0.01)


class Noisy(Foreign):
    """Langevin dynamics: what it adds is of no gradient."""

    def move(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        p.sub_(g + torch.randn_like(p), alpha=group["lr"])
