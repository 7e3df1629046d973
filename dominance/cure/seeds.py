"""Another run of a script with other random numbers, where the script takes no seed: its own seeds are moved."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from typing import Any

STRIDE = 1_000_003
"""Between the seeds of two runs: more than the seeds of one script lie apart."""


def move_python(run: int) -> None:
    """Before the script: Python's generator. Run 0 is the script as it is."""
    if run:
        random.seed = _moved(random.seed, run)


def move_torch(run: int) -> None:
    """When torch is there: torch's generators and numpy's.

    What a script seeds (``torch.manual_seed``, ``numpy.random.seed``, ``numpy.random.default_rng``, ``random.seed``)
    gets its seed plus ``run * STRIDE``, and what it never seeds starts from the run's own. ``torch.Generator`` objects
    that it seeds itself stay as they are: these mostly split data, which is to be the same for all.
    """
    if not run:
        return
    import torch

    torch.manual_seed(torch.initial_seed() + run * STRIDE)
    seeds: Any = _moved(torch.manual_seed, run)
    torch.manual_seed = torch.random.manual_seed = seeds
    numpy_random: Any = getattr(sys.modules.get("numpy"), "random", None)
    if numpy_random is not None:
        numpy_random.seed = _moved(numpy_random.seed, run)
        numpy_random.default_rng = _moved(numpy_random.default_rng, run)


def _moved(original: Callable[..., Any], run: int) -> Callable[..., Any]:
    @functools.wraps(original)
    def seeded(seed: Any = None, *args: Any, **kwargs: Any) -> Any:
        moved = seed + run * STRIDE if isinstance(seed, int) and not isinstance(seed, bool) else seed
        if isinstance(moved, int) and original.__module__ != "torch.random":
            moved %= 2**32  # the largest that numpy's old generator takes
        return original(*(() if seed is None else (moved,)), *args, **kwargs)

    return seeded
