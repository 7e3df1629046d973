"""How to make each combiner."""

from __future__ import annotations

from collections.abc import Callable

from optim.problems import TASKS

import dominance.optim as optim
from dominance.optim import Combiner, LossWeighting, Weighting

NEEDS: dict[str, Callable[..., Combiner]] = {
    "GridSearch": lambda: optim.GridSearch({"a": 0.5, "b": 1.0, "c": 2.0}),
    "IMTL": lambda: optim.IMTL(TASKS),
    "ParetoMTL": lambda: optim.ParetoMTL({"a": 0.2, "b": 0.3, "c": 0.5}),
    "UW": lambda: optim.UW(TASKS),
    "GradVac": lambda **seed: optim.GradVac(beta=0.5, **seed),
}
"""How to make those that need an argument, or show more with one."""


def exported() -> dict[str, type[Combiner]]:
    found = {name: getattr(optim, name) for name in optim.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, Combiner) and kind not in (Combiner, Weighting, LossWeighting)
    }


ALL = sorted(exported())


def make(name: str, seed: int = 0) -> Combiner:
    kind = exported()[name]
    recipe = NEEDS.get(name, kind)
    return recipe(seed=seed) if "generator" in kind.remembers else recipe()
