"""Nash-MTL: weights on which the tasks, bargaining over the direction, would agree."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from dominance.optim.combiners.grid_search import GridSearch
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.gradients import leaves, present
from dominance.optim.engine.task_gradients import Loss, Matrix
from dominance.optim.solvers.bargaining import bargain

if TYPE_CHECKING:
    from dominance.optim.engine.representation import Representation
    from dominance.optim.engine.scaling import Scaler


class NashMTL(Weighting):
    """Weights α > 0 with G Gᵀ α = 1 / α, solved by Newton's method (``solvers.bargaining.solve``).

    The sum of the weighted gradients then has norm √K, whatever the gradients' scale. The whole loss is weighted, so
    parameters of one task alone are fed their gradient times α; as in the authors' code, the shared gradient is then
    clipped to ``max_norm``, and the others are not.

    One task alone gets a shared gradient of norm 1; until a batch has shown what is shared, it gets its own. A task
    with zero gradient takes no part and keeps its weight. Where the equation has no solution, as where a
    combination of the gradients with weights >= 0 vanishes, all weights stay what they were (1 at first), as in the
    authors' code; ``failures`` counts these steps, and the first one warns.

    Args:
        every: the weights are found anew every so many steps, and kept in between. A task that was in no batch
            yet has its weight found at once. Where the weights are kept and ``.grad`` is None everywhere, ``backward``
            makes one plain pass, not K, but with a scaler, or where ``max_norm`` bounds the gradient of a
            representation. A parameter that only then is reached by a second task is shared from the next search on.
        max_norm: the largest norm of the sum of the weighted shared gradients; None: any.

    Raises:
        ValueError: every or max_norm is not positive.

    Source: Navon et al. 2022, Claim 3.1 and Algorithm 1.
    """

    heads = "weighted"
    remembers = ("alphas", "steps", "failures")

    def __init__(self, every: int = 1, max_norm: float | None = 1.0) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}; it must be at least 1")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm is {max_norm}; it must be positive, or None")
        self.every = every
        self.max_norm = max_norm
        self.alphas: dict[str, float] = {}
        """The weights before clipping, by task."""
        self.steps = 0
        self.failures = 0
        """Steps at which the equation had no solution."""

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        parameters: Iterable[Tensor] | nn.Module,
        *,
        representation: Representation | None = None,
        scaler: Scaler | None = None,
        retain_graph: bool = False,
    ) -> None:
        """As ``Combiner.backward``."""
        tasks = tuple(present(losses))
        given = list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)
        wanted = leaves(given)
        by_trunk = representation is not None and self.max_norm is not None  # clips by the representation's gradient
        if scaler is not None or by_trunk or self._due(tasks) or any(p.grad is not None for p in wanted):
            super().backward(losses, given, representation=representation, scaler=scaler, retain_graph=retain_graph)
            return
        GridSearch({task: self.alphas[task] for task in tasks}).backward(losses, given, retain_graph=retain_graph)
        self._clip(wanted, self.sharing.shared((), wanted, (), given))
        self.steps += 1

    def _clip(self, parameters: Sequence[Tensor], shared: Sequence[bool]) -> None:
        """The norm of the shared gradient brought down to ``max_norm``."""
        if self.max_norm is None:
            return
        trunk = [p.grad for p, common in zip(parameters, shared, strict=True) if common and p.grad is not None]
        norm = float(torch.stack(torch._foreach_norm(trunk)).double().norm()) if trunk else 0.0
        if not math.isfinite(norm):
            for p in parameters:
                p.grad = None
            raise FloatingPointError("the combined gradient is not finite")
        if norm > self.max_norm:
            torch._foreach_mul_(trunk, self.max_norm / norm)

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The weights, positive, clipped. Counts a step."""
        alpha = np.array([self.alphas.get(task, 1.0) for task in tasks])
        if self._due(tasks):
            alpha, failure = bargain(gram, alpha)
            if failure:
                self._count(failure)
            self.alphas.update(zip(tasks, alpha.tolist(), strict=True))
        self.steps += 1
        if self.max_norm is None:
            return alpha
        norm = math.sqrt(max(float(alpha @ gram @ alpha), 0.0))
        return np.asarray(alpha * (self.max_norm / norm)) if norm > self.max_norm else alpha

    def head_weights(self, matrix: Matrix, tasks: Sequence[str]) -> Matrix:
        """The weights before clipping, shape (K,)."""
        return np.array([self.alphas.get(task, 1.0) for task in tasks])

    def _due(self, tasks: Sequence[str]) -> bool:
        """Whether the weights are to be found in this step."""
        return self.steps % self.every == 0 or any(task not in self.alphas for task in tasks)

    def _count(self, failure: str) -> None:
        self.failures += 1
        if self.failures == 1:
            warnings.warn(
                f"Nash-MTL, step {self.steps}: {failure}; the weights of the step before are kept. Further steps like "
                "this one are counted in `failures`",
                RuntimeWarning,
                stacklevel=3,
            )

    def __repr__(self) -> str:
        return f"NashMTL(every={self.every}, max_norm={self.max_norm})"
