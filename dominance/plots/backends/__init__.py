"""What draws: matplotlib, matplotlib in seaborn's look, or nothing but a record of the calls.

Every backend is a module with the functions of ``Backend``, under the same signatures.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from dominance.errors import BadOption
from dominance.plots.backends.protocol import Backend as Backend
from dominance.plots.backends.protocol import Box as Box
from dominance.plots.backends.protocol import Entry as Entry

BACKENDS = {
    "matplotlib": "dominance.plots.backends.matplotlib_",
    "seaborn": "dominance.plots.backends.seaborn_",
    "none": "dominance.plots.backends.none",
}

if TYPE_CHECKING:
    from dominance.plots.backends import matplotlib_, seaborn_

    _ARE_BACKENDS: tuple[Backend, ...] = (matplotlib_, seaborn_)  # and none makes its functions from the protocol

P = ParamSpec("P")
R = TypeVar("R")


def get(backend: str | Any) -> Backend:
    """The backend of this name; an object that has the functions of one is returned as it is.

    Raises:
        BadOption: there is no such backend.
    """
    if not isinstance(backend, str):
        return cast(Backend, backend)
    if backend not in BACKENDS:
        raise BadOption(f"no plot backend {backend!r}", fix=f"choose from {', '.join(BACKENDS)}")
    return cast(Backend, import_module(BACKENDS[backend]))


def themed(plot: Callable[P, R]) -> Callable[P, R]:
    """Run a plot function inside the theme of its backend: set once, not with every line that is drawn."""

    @wraps(plot)
    def inside(*args: P.args, **options: P.kwargs) -> R:
        with get(options.get("backend", "matplotlib")).theme():
            return plot(*args, **options)

    return inside
