"""ConFIG: a direction on which all gradients have the same cosine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix

_ROUNDING = 1e-12
"""Eigenvalues of the Gram matrix of unit gradients below this, times K, count as zero."""


class ConFIG(Weighting):
    """A sum of the gradients that makes one angle with all of them, as long as they reach (Liu et al., 2024, Eq. 2).

        u = the least-squares solution of u · g_k / |g_k| = 1,    g = (Σ_k g_k · u / |u|) u / |u|

    Where gradients agree, g is long; where they conflict, short. The direction of independent gradients is that of
    IMTL-G, the length is not. A task with zero gradient has no direction: it is left out and gets weight 0. Where the
    best u is 0, as for opposite gradients, g is 0. Parameters of one task alone are fed their plain gradients.
    """

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The factor on each gradient."""
        norms = np.sqrt(np.diagonal(gram))
        found = np.zeros(len(norms))
        used = norms > 0
        if not used.any():
            return found
        sizes = norms[used]
        unit = gram[np.ix_(used, used)] / sizes / sizes[:, None]
        values, vectors = np.linalg.eigh(unit)
        whole = values > _ROUNDING * len(values)
        values, vectors = values[whole], vectors[:, whole]
        y = vectors @ (vectors.sum(axis=0) / values)  # u = Σ y_k g_k / |g_k|
        cosines = unit @ y
        squared = float(y @ cosines)
        if squared > _ROUNDING:
            found[used] = float(sizes @ cosines) / squared * y / sizes
        return found
