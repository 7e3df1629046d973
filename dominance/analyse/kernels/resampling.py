"""How sure a number is, by drawing the data again, or by exchanging what may be exchanged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.special import t_quantile

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Statistic = Callable[[Indices], Floats]


def bootstrap(groups: list[Indices], statistic: Statistic, *, resamples: int = 2000, seed: int = 0) -> Floats:
    """The statistic of samples that are drawn with replacement, by whole groups: clusters, blocks, or single values.

    Args:
        groups: indices of the values of each group. What depends on each other stays together.
        statistic: of the values at indices (..., value): one number or several for each.

    Returns:
        (resamples, ...); NaN where a sample has no such statistic.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(groups), size=(resamples, len(groups)))
    return _measured([np.concatenate([groups[i] for i in row]) for row in drawn], statistic)


def block_bootstrap(
    series: list[Indices], length: int, statistic: Statistic, *, resamples: int = 2000, seed: int = 0
) -> Floats:
    """The statistic of series put together from moving blocks of ``length`` neighbours, each to its own length."""
    rng = np.random.default_rng(seed)
    parts = []
    for one in series:
        most = min(length, len(one))
        starts = rng.integers(len(one) - most + 1, size=(resamples, -(-len(one) // most)))
        places = (starts[..., None] + np.arange(most)).reshape(resamples, -1)[:, : len(one)]
        parts.append(one[places])
    return _measured(list(np.concatenate(parts, axis=1)), statistic)


def _measured(samples: list[Indices], statistic: Statistic) -> Floats:
    """The statistic of every sample; those of one size at once."""
    sizes = np.array([len(sample) for sample in samples])
    found: Any = [None] * len(samples)
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes == size)
        values = statistic(np.stack([samples[place] for place in places]))
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return np.array(found)


def correlation_interval(estimate: float, samples: Floats, dof: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a correlation from its bootstrap: tanh(z ± t s), on Fisher's scale z = artanh r.

    s is the spread of the samples on that scale (half the distance of its 16 % and 84 % quantiles: few points give
    some samples with r = 1), and t Student's with as many degrees of freedom as groups were drawn, less one: with few
    groups, quantiles of the samples alone are far too narrow. NaN without degrees of freedom.

    >>> [round(limit, 2) for limit in correlation_interval(0.5, np.linspace(0.3, 0.7, 101), 9)]
    [0.13, 0.75]
    """
    known = np.arctanh(np.clip(samples[np.isfinite(samples)], -1 + 1e-12, 1 - 1e-12))
    if len(known) < 2 or np.isnan(estimate):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.158655, 0.841345])
    half = t_quantile(level, dof) * float(high - low) / 2
    z = float(np.arctanh(np.clip(estimate, -1 + 1e-12, 1 - 1e-12)))
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def orders(sizes: list[int], *, most: int = 5000, seed: int = 0) -> tuple[list[Indices], bool]:
    """Exchanges within strata of these sizes: all of them, if they are at most ``most``, else that many drawn.

    Returns:
        for each stratum the permutations (exchange, place); and whether these are all there are, the identity included.

    >>> found, exact = orders([2, 1])
    >>> [each.tolist() for each in found], exact
    ([[[0, 1], [1, 0]], [[0], [0]]], True)
    """
    count = 1
    for size in sizes:
        count = min(count * factorial(size), most + 1)
    if count > most:
        rng = np.random.default_rng(seed)
        return [rng.permuted(np.tile(np.arange(size), (most, 1)), axis=1) for size in sizes], False
    each = [np.array(list(permutations(range(size))), dtype=np.int64) for size in sizes]
    together = np.indices([len(one) for one in each]).reshape(len(sizes), -1)
    return [one[places] for one, places in zip(each, together, strict=True)], True


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
