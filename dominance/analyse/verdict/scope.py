"""Of what part of the training a verdict speaks: what the first steps alone show is never sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.books import RunBooks
from dominance.analyse.verdict.doubts import DOUBTED
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.rules import EARLY, LEAST_STEPS, LIKELY


def only_the_start(run: xr.DataTree, kept: RunBooks, rows: NDArray[np.int64]) -> str:
    """That nothing but the start of the training was looked at, as a clause; "" where more was, or it was all.

    Args:
        rows: the usable recorded steps.
    """
    if kept.taken is None or not len(rows):
        return ""
    end = int(run["step"].to_numpy()[rows].max()) + 1
    if end >= kept.taken or end > max(LEAST_STEPS, EARLY * kept.taken):
        return ""
    return f"only the first {end:,} of {kept.taken:,} steps were looked at (`--every 1` records all)"


def of_the_start(finding: Finding, only: str) -> Finding:
    """The finding where ``only_the_start`` was looked at: likely at most, if gradients and updates are its ground."""
    if finding.kind not in (*DOUBTED, "noisy") or not finding.probability >= LIKELY:
        return finding
    return replace(finding, probability=LIKELY, only=only)
