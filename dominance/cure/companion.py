"""What a method learns by gradient, like the log variances of UW, is stepped beside the script's optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.guest.hidden import hide


class Companion:
    """An optimizer of the script's class and hyper-parameters, without weight decay, for a method's own parameters.

    Its learning rate is that of the script's first parameter group, whatever a scheduler makes of it. Beside a class
    that is none of torch's it is Adam.

    Args:
        parameters: what the method learns; there may be nothing.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self._optimizer: Optimizer | None = None
        self._loaded: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Of the optimizer."""
        return {} if self._optimizer is None else self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it with the next step."""
        self._loaded = state or self._loaded

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self, script: Optimizer, scale: float | None) -> None:
        """Move the parameters, as the script's optimizer has just moved the model's."""
        if not self.parameters:
            return
        if self._optimizer is None:
            self._optimizer = _like(script, self.parameters)
            hide(self._optimizer)
        if self._loaded:
            self._optimizer.load_state_dict(self._loaded)
            self._loaded = {}
        for group in self._optimizer.param_groups:
            group["lr"] = script.param_groups[0].get("lr", group["lr"])
        if scale is not None:
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.div_(scale)
        step: Any = type(self._optimizer).step
        # Without the hooks that torch puts around it: they are for the script's own optimizers.
        (step.__wrapped__ if getattr(step, "hooked", False) else step)(self._optimizer)

    def owns(self, optimizer: Optimizer) -> bool:
        """Whether this is it."""
        return optimizer is self._optimizer


def _like(script: Optimizer, parameters: list[Tensor]) -> Optimizer:
    kind: Any = type(script)
    if not kind.__module__.startswith("torch.optim.") or kind is torch.optim.LBFGS:
        kind = torch.optim.Adam
    first = script.param_groups[0]
    wanted = [name for name in inspect.signature(kind).parameters if name not in ("params", "weight_decay")]
    given = {name: first[name] for name in wanted if name in first}
    if "weight_decay" in inspect.signature(kind).parameters:
        given["weight_decay"] = 0.0
    made: Optimizer = kind(parameters, **given)
    return made
