"""How much of a step is momentum of gradients that nobody saw: one definition for those who record and who read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_UNATTRIBUTED = 0.1
"""A step with a larger share says too little of the tasks, where nothing else is asked."""


def unattributed_share(
    unattributed_sq: NDArray[np.float64], tasks_sq: NDArray[np.float64], residual_sq: NDArray[np.float64]
) -> NDArray[np.float64]:
    """‖unattributed‖² / (Σ_k ‖Δ^k‖² + ‖residual‖² + ‖unattributed‖²): of the parts, in whose sum they may cancel.

    Args:
        unattributed_sq, residual_sq: (..., layer) squared norms of these parts of the step.
        tasks_sq: (..., layer, task) squared norms of the tasks' updates.

    NaN counts as 0; 0 where nothing moved.

    >>> unattributed_share(np.array([1.0]), np.array([[2.0, np.nan]]), np.array([1.0]))
    array(0.25)
    """
    unseen = np.nansum(unattributed_sq, axis=-1)
    if not np.any(unseen):
        return np.zeros_like(unseen)
    seen = np.nansum(tasks_sq, axis=(-1, -2)) + np.nansum(residual_sq, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(unseen > 0, unseen / (seen + unseen), 0.0))
