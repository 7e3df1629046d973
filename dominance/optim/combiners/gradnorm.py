"""GradNorm: gradient normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor
from torch.nn import Module

from dominance.optim.engine.checks import not_negative
from dominance.optim.engine.combiner import Mixture
from dominance.optim.engine.gradients import grad, leaves, own_passes, present
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.representation import Representation, below
from dominance.optim.engine.scalar_adam import ScalarAdam, State
from dominance.optim.engine.scaling import Scaler, spoil, started
from dominance.optim.engine.task_gradients import Loss, Matrix, Row, TaskGradients, finite, named, start_of, times

LEAST = 1e-3
"""No weight gets below it: the paper says nothing of weights that pass zero, and Adam could take one there."""

Parameters = Tensor | Module | Iterable[Tensor]
Layer = Parameters | Callable[[], Parameters]


class GradNorm(LossWeighting):
    """Weights that make slow tasks pull harder, measured at one layer W (Chen et al., 2018, Algorithm 1, Eq. 1-2).

        G_k = ‖∇_W w_k L_k‖,    r_k = (L_k / L_k(0)) / mean_i(L_i / L_i(0))
        L_grad = Σ_k | G_k - mean_i(G_i) r_k^α |,    the targets taken as constants

    In each step the network is trained on Σ_k w_k L_k; then w takes a step of Adam down L_grad and is scaled back to
    the sum it had, which is K. Weights begin at 1. The norms take one pass a task from its loss down to W, not
    further, beside the one backward of the weighted sum.

    A task that is absent, or does not reach W, keeps its weight; the others are scaled to the sum that they had.

    Args:
        alpha: strength α of the pull; 0.12 in the paper's toy experiment, 1.5 on NYUv2.
        lr: of the weights; 0.025.
        layer: W: a parameter, a module, parameters, or a function that returns them; all should be shared. None: the
            last of the shared parameters, in the order in which they are given, that has two or more dimensions (so a
            weight, not a bias), or the last of all if none has.

    Raises (``backward``, ``combine``):
        ValueError: a loss is negative, the first loss of a task is zero, two tasks share no parameter, or none
            reaches the layer that is given.
        FloatingPointError: a loss or the norm of a gradient is not finite.
    """

    remembers = ("learnt", "moments", "first")

    def __init__(self, alpha: float = 0.12, lr: float = 0.025, *, layer: Layer | None = None) -> None:
        super().__init__()
        self.alpha = alpha
        self.adam = ScalarAdam(lr)
        self.layer = tuple(layer) if isinstance(layer, Iterable) and not isinstance(layer, Tensor | Module) else layer
        self.learnt: dict[str, float] = {}
        self.moments: State = {}
        self.first: dict[str, float] = {}

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """w as it is."""
        return np.array([self.learnt.get(task, 1.0) for task in tasks])

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        parameters: Iterable[Tensor] | Module,
        *,
        representation: Representation | None = None,
        scaler: Scaler | None = None,
        retain_graph: bool = False,
    ) -> None:
        """As ``Combiner.backward``; then the weights move. ``representation`` makes no difference here."""
        found = present(losses)
        given = list(parameters.parameters() if isinstance(parameters, Module) else parameters)
        wanted = list(leaves(given))
        scale = started(scaler, next(iter(found.values())).detach())
        if scale is not None and not finite([loss.detach() for loss in found.values()]):
            spoil(wanted)
            return
        before = {} if scale is None else self.kept()
        values = self._values(np.array([float(loss.detach()) for loss in found.values()]), tuple(found))
        layer = self._layer(wanted, tuple(found), lambda: self._reached(found, wanted, given))
        with own_passes():
            starts = [start_of(loss, scale or 1.0) for loss in found.values()]
            at_layer = [grad(start.outputs, layer, start.gradients, retain_graph=True) for start in starts]
        if scale is not None:
            at_layer = [times(row, 1 / scale) for row in at_layer]
            if not all(finite(row) for row in at_layer):
                self.put_back(before)
                spoil(wanted)
                return
        norms = self._norms(at_layer, tuple(found))
        super().backward(losses, wanted, scaler=scaler, retain_graph=retain_graph)
        if scale is not None and not finite([p.grad for p in wanted]):
            self.put_back(before)
            return
        self._learn(norms, values)

    def mix(self, gradients: TaskGradients) -> Mixture:
        """As ever, with the norms of the gradients that are there; then the weights move."""
        values = self._values(gradients.loss_values(), gradients.tasks)
        layer = {id(p) for p in self._layer(gradients.parameters, gradients.tasks, lambda: gradients.shared)}
        at = [i for i, p in enumerate(gradients.parameters) if id(p) in layer]
        if len(at) != len(layer):
            raise ValueError("GradNorm's layer is not among the parameters of these gradients")
        norms = self._norms([[row[i] for i in at] for row in gradients.rows], gradients.tasks)
        mixture = super().mix(gradients)
        self._learn(norms, values)
        return mixture

    def _learn(self, norms_of: dict[str, float], losses_of: dict[str, float]) -> None:
        """One step down L_grad.

        Args:
            norms_of: ‖∇_W L_k‖, without the weights, of the tasks that reach W.
            losses_of: of these and others.
        """
        if not norms_of:
            return
        tasks, norms = tuple(norms_of), np.array(list(norms_of.values()))
        losses = np.array([losses_of[task] for task in tasks])
        w = self.loss_weights(losses, tasks)
        ratios = losses / [self.first[task] for task in tasks]
        pace = ratios / ratios.mean() if ratios.any() else np.ones_like(ratios)
        scaled = w * norms
        slopes = norms * np.sign(scaled - scaled.mean() * pace**self.alpha)
        moved = self.adam.step(
            dict(zip(tasks, w.tolist(), strict=True)), dict(zip(tasks, slopes.tolist(), strict=True)), self.moments
        )
        new = np.maximum([moved[task] for task in tasks], LEAST)
        self.learnt.update(zip(tasks, (new * w.sum() / new.sum()).tolist(), strict=True))

    def _values(self, losses: Matrix, tasks: Sequence[str]) -> dict[str, float]:
        """The losses, looked at; the first of each task is kept as L(0)."""
        not_negative(losses, tasks, self, "it compares them by their ratio to the first one")
        for task, loss in zip(tasks, losses.tolist(), strict=True):
            if self.first.setdefault(task, loss) == 0:
                del self.first[task]
                raise ValueError(f"GradNorm compares losses with the first one, and that of {task} is zero")
        return named(tasks, losses)

    def _layer(
        self, parameters: Sequence[Tensor], tasks: Sequence[str], shared: Callable[[], Sequence[bool]]
    ) -> list[Tensor]:
        """W."""
        if self.layer is not None:
            given = self.layer if isinstance(self.layer, Tensor | Module | Iterable) else self.layer()
            return list(leaves((given,) if isinstance(given, Tensor) else given))
        common = [p for p, is_shared in zip(parameters, shared(), strict=True) if is_shared]
        if not common and len(tasks) > 1:
            raise ValueError(f"{', '.join(tasks)} share no parameter; tell GradNorm the layer to look at")
        if not common:  # one task alone has been seen: its weight is 1, whatever it is measured at
            common = list(parameters)
        return [p for p in common if p.dim() > 1][-1:] or common[-1:]

    def _reached(
        self, losses: Mapping[str, Loss], parameters: Sequence[Tensor], given: Sequence[Tensor]
    ) -> Sequence[bool]:
        """For each parameter, whether two tasks or more have reached it by now."""
        rows: list[Row] = [
            [p if reached else None for p, reached in zip(parameters, below(nodes, parameters), strict=True)]
            for nodes in ([node for node, _ in start_of(loss).edges] for loss in losses.values())
        ]
        return self.sharing.shared(tuple(losses), parameters, rows, given)

    def _norms(self, at_layer: Sequence[Sequence[Tensor | None]], tasks: Sequence[str]) -> dict[str, float]:
        """‖∇_W L_k‖ of the tasks that reach W, given their gradients there; none, of several tasks, is an error."""
        norms = {
            task: _norm(row)
            for task, row in zip(tasks, at_layer, strict=True)
            if any(gradient is not None for gradient in row)
        }
        if not norms and self.layer is not None:
            raise ValueError(f"GradNorm's layer is reached by none of the tasks {', '.join(tasks)}")
        broken = [task for task, norm in norms.items() if not np.isfinite(norm)]
        if broken:
            raise FloatingPointError(f"the gradient of {', '.join(broken)} is not finite; no weights can be found")
        return norms

    def __repr__(self) -> str:
        return f"GradNorm(alpha={self.alpha}, lr={self.adam.lr})"


def _norm(gradients: Iterable[Tensor | None]) -> float:
    return float(np.sqrt(sum(float(g.detach().double().square().sum()) for g in gradients if g is not None)))
