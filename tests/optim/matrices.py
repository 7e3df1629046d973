"""Matrices of task gradients of every kind that a solver may meet, from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def _random(rng: np.random.Generator, k: int) -> Matrix:
    return rng.standard_normal((k, k + int(rng.integers(0, 20))))


def _deficient(rng: np.random.Generator, k: int) -> Matrix:
    rank = int(rng.integers(1, max(k, 2)))
    return rng.standard_normal((k, rank)) @ rng.standard_normal((rank, k + 3))


def _decades(rng: np.random.Generator, k: int) -> Matrix:
    return _random(rng, k) * 10 ** rng.uniform(-4, 4, (k, 1))


def _agreeing(rng: np.random.Generator, k: int) -> Matrix:
    return (rng.standard_normal((1, k + 3)) + 0.3 * rng.standard_normal((k, k + 3))) * 10 ** rng.uniform(-1, 1, (k, 1))


def _opposite(rng: np.random.Generator, k: int) -> Matrix:
    g = _random(rng, k)
    if k > 1:
        g[1] = -g[0] * rng.uniform(0.1, 3)
    return g


def _equal(rng: np.random.Generator, k: int) -> Matrix:
    g = _random(rng, k)
    g[-1] = g[0]
    return g


def _zero(rng: np.random.Generator, k: int) -> Matrix:
    g = _random(rng, k)
    g[int(rng.integers(k))] = 0
    return g


KINDS: dict[str, Callable[[np.random.Generator, int], Matrix]] = {
    "random": _random,
    "agreeing": _agreeing,
    "decades apart": _decades,
    "rank-deficient": _deficient,
    "opposite": _opposite,
    "equal": _equal,
    "zero": _zero,
}

INDEPENDENT = ("random", "agreeing", "decades apart")
"""Kinds with linearly independent gradients: every solution is unique."""


def matrices(
    count: int, *, kinds: Iterable[str] = KINDS, sizes: Sequence[int] = range(1, 13), seed: int = 0
) -> Iterator[tuple[str, Matrix]]:
    """Kind and task gradients G, shape (K, N), ``count`` of them, all kinds and sizes in turn at random."""
    rng = np.random.default_rng(seed)
    names = list(kinds)
    for _ in range(count):
        kind = names[int(rng.integers(len(names)))]
        yield kind, KINDS[kind](rng, int(rng.choice(sizes)))


def in_float32(gradients: Matrix) -> Matrix:
    """The Gram matrix with inner products rounded as float32 rounds them: of dependent gradients it is indefinite."""
    rounded = (gradients @ gradients.T).astype(np.float32).astype(np.float64)
    return np.asarray(np.triu(rounded) + np.triu(rounded, 1).T)
