"""How sure a number is, by drawing the data again, or by exchanging what may be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations, product
from math import factorial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def bootstrap(
    groups: list[Indices], statistic: Callable[[Indices], float], *, resamples: int = 2000, seed: int = 0
) -> Floats:
    """The statistic of samples that are drawn with replacement, by whole groups: clusters, blocks, or single values.

    Args:
        groups: indices of the values of each group. What depends on each other stays together.
        statistic: of the values at these indices.

    Returns:
        (resamples,); NaN where a sample has no such statistic.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(groups), size=(resamples, len(groups)))
    return np.array([statistic(np.concatenate([groups[i] for i in row])) for row in drawn])


def block_bootstrap(
    series: list[Indices], length: int, statistic: Callable[[Indices], float], *, resamples: int = 2000, seed: int = 0
) -> Floats:
    """The statistic of series put together from moving blocks of ``length`` neighbours, each to its own length."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        parts = []
        for one in series:
            most = min(length, len(one))
            starts = rng.integers(len(one) - most + 1, size=-(-len(one) // most))
            parts.append(np.concatenate([one[start : start + most] for start in starts])[: len(one)])
        found.append(statistic(np.concatenate(parts)))
    return np.array(found)


def jackknife(groups: list[Indices], statistic: Callable[[Indices], float]) -> Floats:
    """The statistic without each group in turn: (group,)."""
    return np.array([statistic(np.concatenate(groups[:i] + groups[i + 1 :])) for i in range(len(groups))])


def percentile(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """The middle ``level`` of the bootstrap's samples; samples that are NaN are left out, all NaN gives NaN.

    >>> percentile(np.arange(101.0), 0.5)
    (25.0, 75.0)
    """
    known = samples[np.isfinite(samples)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca(samples: Floats, estimate: float, jackknifed: Floats, level: float = 0.95) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987): quantiles of the bootstrap moved by its bias and skewness.

    With z0 = Φ⁻¹(share of samples below the estimate) and a = Σ d³ / (6 (Σ d²)^1.5), d = mean - jackknifed value, the
    limits are the quantiles Φ(z0 + (z0 + z) / (1 - a (z0 + z))) for z = Φ⁻¹((1 ± level) / 2). Where all samples lie on
    one side of the estimate there is no z0: the percentiles then.
    """
    known = samples[np.isfinite(samples)]
    below = (np.mean(known < estimate) + np.mean(known == estimate) / 2) if len(known) else 0.0
    if not 0 < below < 1:
        return percentile(samples, level)
    normal = NormalDist()
    z0 = normal.inv_cdf(float(below))
    off = jackknifed[np.isfinite(jackknifed)]
    off = off.mean() - off if len(off) else np.zeros(1)
    square = float((off**2).sum())
    a = float((off**3).sum()) / (6 * square**1.5) if square > 0 else 0.0
    places = []
    for z in (normal.inv_cdf((1 - level) / 2), normal.inv_cdf((1 + level) / 2)):
        moved = z0 + z
        places.append(normal.cdf(z0 + moved / (1 - a * moved)) if a * moved < 1 else float(moved > 0))
    low, high = np.quantile(known, places)
    return float(low), float(high)


def orders(sizes: list[int], *, most: int = 5000, seed: int = 0) -> tuple[Iterator[list[Indices]], bool]:
    """Exchanges within strata of these sizes: all of them, if they are at most ``most``, else that many drawn.

    Returns:
        one permutation for each stratum, at each turn; and whether these are all there are. All include the identity.

    >>> found, exact = orders([2, 1])
    >>> [[order.tolist() for order in each] for each in found], exact
    ([[[0, 1], [0]], [[1, 0], [0]]], True)
    """
    count = 1
    for size in sizes:
        count = min(count * factorial(size), most + 1)
    if count <= most:
        each = [[np.array(order, dtype=np.int64) for order in permutations(range(size))] for size in sizes]
        return (list(chosen) for chosen in product(*each)), True
    rng = np.random.default_rng(seed)
    return ([rng.permutation(size) for size in sizes] for _ in range(most)), False


def permutation_p(observed: float, exchanged: Floats, *, exact: bool) -> float:
    """Share of exchanges with a statistic at least as large; the observed one counts, unless it is among them already.

    Rounding aside: values within 1e-12 of the observed one are as large.

    >>> permutation_p(2.0, np.array([0.0, 2.0, 1.0, 3.0]), exact=True)
    0.5
    >>> permutation_p(2.0, np.array([0.0, 1.0, 1.0]), exact=False)
    0.25
    """
    if np.isnan(observed) or not len(exchanged):
        return float("nan")
    as_large = int((exchanged >= observed - 1e-12 * max(1.0, abs(observed))).sum())
    return as_large / len(exchanged) if exact else (as_large + 1) / (len(exchanged) + 1)
