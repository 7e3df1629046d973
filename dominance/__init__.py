"""Who trains your shared parameters? Task-dominance diagnostics for multi-task learning in PyTorch.

>>> import dominance
>>> dominance.__version__
'0.1.0'

Names are loaded when first used: importing the package loads no torch, xarray or matplotlib. Which names there are, and
where each lives, is in ``__init__.pyi`` beside this file, which type checkers and editors read too.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_LINES = re.findall(r"^from (\S+) import (\w+) as \2$", Path(__file__).with_suffix(".pyi").read_text("utf-8"), re.M)
_HOME = {name: home for home, name in _LINES if home != __name__}
_ROOMS = tuple(name for home, name in _LINES if home == __name__)
"""Packages and modules that ``dominance.optim.PCGrad`` and the like find without an import of their own."""

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"dominance.{name}")
    raise AttributeError(f"module 'dominance' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext dominance`` in a notebook: the cell magic ``%%dominance``."""
    shell.register_magics(import_module("dominance.notebook.magic").DominanceMagics)


def __dir__() -> list[str]:
    return sorted((*__all__, *_ROOMS))
