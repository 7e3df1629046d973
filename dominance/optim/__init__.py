"""Reference optimizers: every method of the AdaTask, MoCoGrad and PUB papers, and the ones they compare with.

Two kinds of classes:

- **combiners** turn the tasks' losses into gradients: ``combiner.backward(losses, parameters)`` takes the place of
  ``loss.backward()``, and any optimizer steps afterwards;
- **task-wise optimizers** (AdaTask, PUB, Clippy) turn the tasks' gradients into a step: ``optimizer.backward(losses)``,
  then ``optimizer.step()``.

Names are loaded when first used; ``__init__.pyi`` beside this file says which there are, and where each lives. Nothing
here needs the rest of dominance.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

_STUB = Path(__file__).with_suffix(".pyi").read_text("utf-8")
_HOME = {name: home for home, name in re.findall(r"^from (dominance\S+) import (\w+) as \2$", _STUB, re.M)}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dominance.optim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
