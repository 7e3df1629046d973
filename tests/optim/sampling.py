"""Gram matrices of every kind: rank-deficient, of gradients that are zero, of norms decades apart, in conflict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def jacobians(count: int, sizes: Sequence[int] = (2, 3), seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Matrices of K task gradients, shape (K, N)."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        k = int(rng.choice(sizes))
        rank = int(rng.integers(1, k + 1))
        g = rng.standard_normal((k, rank)) @ rng.standard_normal((rank, 6))
        if number % 3 == 0:
            g = g * 10 ** rng.uniform(-4, 4, size=(k, 1))
        if number % 7 == 0:
            g[rng.integers(k)] = 0.0
        if number % 5 == 0:
            g[-1] = -g[0] * rng.uniform(0.1, 10) + 0.1 * rng.standard_normal(6)
        yield g


def grams(count: int, sizes: Sequence[int] = (2, 3), seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """G Gᵀ of ``jacobians``, shape (K, K)."""
    for g in jacobians(count, sizes, seed):
        yield g @ g.T


def far(g: NDArray[np.float64], weights: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """How far two weighted sums of gradients are apart, by the length of what they are made of."""
    lengths = np.linalg.norm(g, axis=1)
    apart = np.linalg.norm(g.T @ (weights - others))
    return float(apart / max(np.abs(weights) @ lengths, np.abs(others) @ lengths, 1e-300))
