"""Reference optimizers: every method of the AdaTask, MoCoGrad and PUB papers, and the ones they compare with.

Two kinds of classes:

- **combiners** turn the tasks' losses into gradients: ``combiner.backward(losses, parameters)`` takes the place of
  ``loss.backward()``, and any optimizer steps afterwards;
- **task-wise optimizers** (AdaTask, PUB, Clippy) turn the tasks' gradients into a step: ``optimizer.backward(losses)``,
  then ``optimizer.step()``.

Names are loaded when first used. Nothing here needs the rest of dominance.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Combiner": "dominance.optim.combiner",
    "Weighting": "dominance.optim.combiner",
    "LossWeighting": "dominance.optim.combiner",
    "TaskGradients": "dominance.optim.task_gradients",
    "task_gradients": "dominance.optim.gradients",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from dominance.optim.combiner import Combiner as Combiner
    from dominance.optim.combiner import LossWeighting as LossWeighting
    from dominance.optim.combiner import Weighting as Weighting
    from dominance.optim.gradients import task_gradients as task_gradients
    from dominance.optim.task_gradients import TaskGradients as TaskGradients


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dominance.optim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
