"""How far a share that was estimated from sampled coordinates may lie from the share over all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def share_error(
    inside: NDArray[np.int64], touched: NDArray[np.int64], sampled: NDArray[np.int64], population: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standard error of R = Σ_h w_h y_h / Σ_h w_h x_h under stratified sampling without replacement.

    The linearised variance of a combined ratio estimator (Cochran, Sampling Techniques, 3rd ed., eq. 6.51 with 6.13):
    with z = y - R x for each coordinate (y: in the bucket, x: touched),

        Var R = Σ_h N_h² (1 - n_h / N_h) s²_h(z) / n_h / X²,    X = Σ_h w_h x_h,    w_h = N_h / n_h

    A stratum of which one coordinate was drawn has no variance of its own and takes the mean over the others, or
    R (1 - R) where there is none. The error is never less than one sampled coordinate weighs: a unanimous sample does
    not prove that the population is unanimous.

    Args:
        inside: (..., stratum) sampled coordinates in the bucket.
        touched: (..., stratum) sampled coordinates that count in the denominator; broadcasts against ``inside``.
        sampled: (stratum,) n_h, at least 1.
        population: (stratum,) N_h, at least n_h.

    Returns:
        (...); 0 where every coordinate was kept, NaN where nothing is touched.

    >>> one = np.array([100.0])
    >>> share_error(np.array([10]), np.array([20]), np.array([20]), one).round(4)  # sqrt(0.8 * 0.25 / 19)
    np.float64(0.1026)
    >>> share_error(np.array([10]), np.array([20]), np.array([20]), np.array([20.0])).round(4)
    np.float64(0.0)
    """
    weight = population / sampled
    unseen = np.clip(1 - sampled / population, 0, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = (weight * touched).sum(axis=-1)
        share = ((weight * inside).sum(axis=-1) / size)[..., None]
        mean = (inside - share * touched) / sampled
        square = (inside * (1 - share) ** 2 + (touched - inside) * share**2) / sampled
        spread = np.maximum(square - mean**2, 0) * sampled / np.maximum(sampled - 1, 1)
        alone = (sampled == 1) & (unseen > 0)
        if alone.any():
            others = (sampled > 1).astype(float) * population
            known = others.sum()
            pooled = (spread * others).sum(axis=-1, keepdims=True) / known if known else share * (1 - share)
            spread = np.where(alone, pooled, spread)
        variance = (population**2 * unseen * spread / sampled).sum(axis=-1)
        least = (sampled * weight**2 * unseen).sum() / sampled.sum()
        return np.asarray(np.sqrt(np.maximum(variance, least)) / size)
