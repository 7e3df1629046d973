"""Exponentially decaying average of squared updates (AdaTask, Eq. 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.sum_over_tasks import sum_over_tasks
from dominance.decay import FLOOR, LEAST, WeightSeen


def accumulate(
    total: NDArray[np.float64], update: NDArray[np.float32], decay: float, scratch: NDArray[np.float64]
) -> None:
    """One step of S_t = γ S_{t-1} + Δ_t², in place; AU_t = (1 - γ) S_t. After d - 1 unseen steps, γ^d.

    AdaTask Eq. 2 with S_0 = 0. The square is taken in float64: a float32 update below 1e-19 has no float32 square, and
    eps-dominated Adam steps and cold embedding rows are that small.

    Args:
        total: (...) S, changed.
        update: (...) Δ of this step.
        decay: γ, or γ^d.
        scratch: (...) overwritten.

    >>> s, work = np.zeros(2), np.empty(2)
    >>> for delta in ([1, 2**-80], [2, 0]):
    ...     accumulate(s, np.array(delta, dtype=np.float32), 0.5, work)
    >>> s[0], np.log2(s[1])  # 0.5 * 1 + 4, 0.5 * 2**-160
    (np.float64(4.5), np.float64(-161.0))
    """
    np.copyto(scratch, update)
    np.multiply(scratch, scratch, out=scratch)
    total *= decay
    total += scratch


def hold(total: NDArray[np.float64]) -> None:
    """Keep coordinates that are no longer moved from decaying into denormals, where ratios between tasks are lost.

    All tasks of a coordinate whose sum fell under ``FLOOR`` are scaled back to it together: their ratios stay, and the
    next update outweighs them as it would have done. For ratios only; AU itself is meant to vanish.

    Args:
        total: (task, coord), changed.

    >>> s = np.array([[3e-210, 1.0, 0.0], [1e-210, 2.0, 0.0]])
    >>> hold(s)
    >>> print(s)
    [[7.5e-201 1.0e+000 0.0e+000]
     [2.5e-201 2.0e+000 0.0e+000]]
    """
    sums = sum_over_tasks(total)
    faint = (sums < FLOOR) & (sums > 0)
    if faint.any():
        total[:, faint] *= FLOOR / sums[faint]


def fades(gaps: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """(step,) by what S fades before each used step, ``gaps`` steps after the one before."""
    return np.power(decay, gaps.astype(np.float64))


def holds(fades: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(step,) before which steps S is to be held, so that ``FLOOR`` never fades to denormals.

    Args:
        fades: ``LEAST`` or more.

    >>> holds(np.array([1.0, 1e-40, 1e-40, 1e-40, 0.5]))
    array([False, False, False,  True, False])
    """
    found = np.zeros(len(fades), dtype=bool)
    left = 1.0
    for i, fade in enumerate(fades.tolist()):
        left *= fade
        if left < LEAST:
            found[i], left = True, fade
    return found


def weight_seen(gaps: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """(step,) how much of Σ_s γ^(t - s), over all steps s from the first used one to t, the used ones have.

    >>> weight_seen(np.array([1, 1, 0, 2]), 0.5)  # 1; 1 + 1/2; the step before; 1 + 1/4 + 1/8 of 1 + 1/2 + 1/4 + 1/8
    array([1.        , 1.        , 1.        , 0.73333333])
    """
    found = np.ones(len(gaps))
    weight, share = WeightSeen(decay), 1.0
    for i, gap in enumerate(gaps.tolist()):
        if gap:
            weight.take(gap)
            share = weight.share
        found[i] = share
    return found
