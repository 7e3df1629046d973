"""Gradients of tasks at a tensor between the losses and the parameters, and passes that go on from there.

Many methods take each task's gradient at the shared representation, mix them, and run one pass from the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.tasks.finder import Found, FoundTask
from dominance.record.tasks.weights import Root

_EXACT = 1e-5
"""Largest distance, relative to the gradient, from a mixture of known ones: float32 rounding."""


@dataclass(frozen=True)
class Known:
    """The gradient of one task at some tensor."""

    loss: str
    """The loss that it was taken of."""
    total: float
    task: FoundTask
    gradient: Tensor


@dataclass
class Cut:
    """What is known of one training step; tensors are told by their gradients, so that no graph is kept alive."""

    known: list[Known] = field(default_factory=list)

    def keep(self, found: Found, task: FoundTask, gradient: Tensor) -> None:
        """A task's gradient at some tensor that is no parameter."""
        if gradient.numel() > 1 and gradient.any():
            bare = FoundTask(task.name, [], [], task.weight, task.loss)
            self.known.append(Known(found.root_name, found.total, bare, gradient.detach().clone()))

    def keep_all(self, found: Found, taken: Mapping[str, Mapping[Tensor, Tensor]]) -> None:
        """Gradients of several tasks, by name, at tensors from which the script may go on."""
        for task in found.tasks:
            for gradient in taken.get(task.name, {}).values():
                self.keep(found, task, gradient)

    def starts(self, roots: Sequence[Root]) -> bool:
        """Whether a pass may go on from gradients that are known."""
        shapes = {each.gradient.shape for each in self.known}
        return bool(roots) and all(root.gradient.shape in shapes for root in roots)

    def found(self, roots: Sequence[Root]) -> Found | None:
        """The tasks of a pass that starts from known gradients or a mixture of them; None where it does not."""
        tasks: dict[tuple[str, str], FoundTask] = {}
        totals: dict[str, float] = {}
        for root in roots:
            mixture = self._mixture(root.gradient)
            if mixture is None:
                return None
            for each, weight in mixture:
                totals[each.loss] = each.total
                weight_of_loss = each.task.weight * weight
                task = tasks.setdefault(
                    (each.loss, each.task.name),
                    FoundTask(each.task.name, [], [], weight_of_loss, each.task.loss),
                )
                if not math.isclose(task.weight, weight_of_loss, rel_tol=1e-4):
                    task.weight = math.nan
                task.edges.append(root.edge)
                task.gradients.append(each.gradient * weight)
        losses = {name: loss for loss, name in tasks}
        root_name = next(iter(totals)) if len(totals) == 1 else "gradients"
        return Found(root_name, list(tasks.values()), [], total=sum(totals.values()), losses=losses, totals=totals)

    def _mixture(self, gradient: Tensor) -> list[tuple[Known, float]] | None:
        """Known gradients whose weighted sum is this one, to rounding."""
        like = [each for each in self.known if each.gradient.shape == gradient.shape]
        size = float(torch.linalg.vector_norm(gradient.double()))
        for each in like:
            if float(torch.linalg.vector_norm((each.gradient - gradient).double())) <= _EXACT * size:
                return [(each, 1.0)]
        if not like or gradient.numel() <= 2 * len(like):
            # Of so few numbers, any are a mixture.
            return None
        matrix = torch.stack([each.gradient.double().flatten() for each in like], 1)
        sizes = torch.linalg.vector_norm(matrix, dim=0)
        target = gradient.double().flatten()
        weights = torch.linalg.lstsq(matrix / sizes, target[:, None], driver="gelsd").solution[:, 0] / sizes
        if float(torch.linalg.vector_norm(matrix @ weights - target)) > _EXACT * size:
            return None
        return [(k, float(w)) for k, w, s in zip(like, weights, sizes, strict=True) if abs(float(w * s)) > 1e-6 * size]
