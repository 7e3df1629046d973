"""Differences paired by seed, and when one of them says something."""

from __future__ import annotations

import math

import xarray as xr

from dominance.analyse.kernels import t_test
from dominance.errors import NothingRecorded

AT_LEAST = 5
"""Seeds, below which a difference is not called sure."""


def gain(ours: xr.DataArray, theirs: xr.DataArray, *, sign: float = 1.0) -> t_test.Difference:
    """Mean of the differences of the seeds that both have; ``sign`` -1: where less is better.

    Raises:
        NothingRecorded: there is none.
    """
    one, other = xr.align(ours, theirs, join="inner")
    if not one.size:
        raise NothingRecorded("no seed was trained with both", fix="train them with the same seeds")
    return t_test.mean(sign * (one - other).values)


def by_seed(found: xr.Dataset) -> xr.DataArray:
    """The Δ of each seed, from ``delta``."""
    return xr.DataArray(found["delta_by_run"].values, {"seed": found["seed"].values}, "seed")


def sure(one: t_test.Difference) -> bool:
    """Whether the 95 % interval lies above 0, over enough seeds."""
    return seeds(one) >= AT_LEAST and one.interval()[0] > 0


def seeds(one: t_test.Difference) -> int:
    """How many it is the mean of."""
    return 1 if math.isnan(one.dof) else int(one.dof) + 1


def difference(one: t_test.Difference) -> str:
    """In its own unit: "+0.0120 (-0.0010 to +0.0250, 5 seeds)"; of one seed without an interval."""
    low, high = one.interval()
    between = "" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}, "
    return f"{one.value:+.4f} ({between}{seeds(one)} seed{'s' * (seeds(one) > 1)})"


def points(one: t_test.Difference) -> str:
    """Of a difference of percentages: "+1.20 points (-0.10 to +2.50, 5 seeds)"."""
    low, high = one.interval()
    between = "" if math.isnan(low) else f"{100 * low:+.2f} to {100 * high:+.2f}, "
    return f"{100 * one.value:+.2f} points ({between}{seeds(one)} seed{'s' * (seeds(one) > 1)})"
