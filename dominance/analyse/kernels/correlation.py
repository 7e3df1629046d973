"""Correlation of two samples, by value and by rank, with and without what a third explains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ranks(values: Floats) -> Floats:
    """Ranks from 1 along the last dim; equal values share the mean of their ranks.

    >>> ranks(np.array([10.0, 30.0, 20.0, 30.0]))
    array([1. , 3.5, 2. , 3.5])
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    count = values.shape[-1]
    place = np.broadcast_to(np.arange(count), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = new[..., 1:]
    last = np.minimum.accumulate(np.where(ends, place, count)[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (first + last) / 2 + 1, axis=-1)
    return found


def pearson(x: Floats, y: Floats) -> Floats:
    """r = Σ(x - x̄)(y - ȳ) / √(Σ(x - x̄)² Σ(y - ȳ)²) along the last dim.

    NaN where one of them does not vary (beyond rounding), or there are fewer than two values.

    >>> float(pearson(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])).round(4))
    0.982
    """
    x, y = _centred(x), _centred(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x * y).sum(axis=-1) / np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return np.asarray(np.clip(r, -1, 1))


def residuals(values: Floats, explained_by: Floats) -> Floats:
    """What is left of ``values`` (sample,) after a least-squares fit on ``explained_by`` (sample, regressor) and 1."""
    design = np.column_stack([np.ones(len(values)), explained_by])
    fitted, *_ = np.linalg.lstsq(design, values, rcond=None)
    return np.asarray(values - design @ fitted)


def partial(x: Floats, y: Floats, z: Floats) -> Floats:
    """Correlation of x and y where z is held: (r_xy - r_xz r_yz) / √((1 - r_xz²)(1 - r_yz²)).

    NaN where z explains one of them wholly. Ranks in place of values give the rank-wise partial correlation.

    >>> x = np.array([1.0, 2.0, 3.0, 4.0])
    >>> float(partial(x + [1, -1, -1, 1], x + [1, -1, -1, 1], x).round(4))
    1.0
    """
    xy, xz, yz = pearson(x, y), pearson(x, z), pearson(y, z)
    left = (1 - xz**2) * (1 - yz**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(left > 1e-12, (xy - xz * yz) / np.sqrt(np.maximum(left, 0)), np.nan)
    return np.asarray(np.clip(r, -1, 1))


def kendall_w(scores: Floats) -> float:
    """Kendall's W of judges (rows) who rank objects (columns): 1 where all agree, about 0 where they rank at random.

    W = 12 S / (m² (n³ - n) - m T), with S the squared deviations of the rank sums and T = Σ (t³ - t) over groups of
    ties of each judge. NaN for fewer than two objects, or where every judge ties all of them.

    >>> kendall_w(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])), kendall_w(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    (1.0, 0.0)
    """
    judged = ranks(scores)
    judges, objects = judged.shape
    spread = float(((judged.sum(axis=0) - judges * (objects + 1) / 2) ** 2).sum())
    same = (scores[:, None, :] == scores[:, :, None]).sum(axis=-1)
    ties = float((same**2 - 1).sum())  # Σ over objects of t² - 1 is Σ over groups of t³ - t
    most = judges**2 * (objects**3 - objects) - judges * ties
    return 12 * spread / most if most > 0 else float("nan")


def _centred(values: Floats) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.shape[-1] < 2:
        return np.full(values.shape, np.nan)
    centred = values - values.mean(axis=-1, keepdims=True)
    size = np.abs(values).max(axis=-1, keepdims=True)
    constant = np.abs(centred).max(axis=-1, keepdims=True) <= 1e-14 * size  # rounding of the mean
    return np.asarray(np.where(constant, np.nan, centred))
