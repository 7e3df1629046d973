"""What all combiners have in common: from the tasks' gradients to what an optimizer is fed.

Nearly every gradient-manipulating method turns the K task gradients G into K manipulated ones by a small matrix that it
computes from the Gram matrix G Gᵀ alone: Ĝ = C G. So a combiner is a small class with one method, ``mixing``; one
engine, here, applies it.

What not every training needs is imported where it is needed, so that a method may be taken along without it:
``scaling`` (a GradScaler), ``representation``, and ``state`` (``state_dict``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from dominance.optim.engine.gradients import How, Sharing, accumulate, leaves, listeners, present, task_gradients
from dominance.optim.engine.task_gradients import (
    Loss,
    Matrix,
    Row,
    TaskGradients,
    finite,
    gram_matrix,
    named,
    times,
)

if TYPE_CHECKING:
    from dominance.optim.engine.representation import Pull, Representation
    from dominance.optim.engine.scaling import Scaler


class Combiner:
    """Turns task gradients G into manipulated ones C G, one row a task. Subclasses implement ``mixing``.

    A task that is absent from a batch has no row and no column there; what the method remembers of it does not move.
    Nor has one that reaches no shared parameter: its gradient stays as it is, and K counts the others. A task whose
    gradient is zero, but reaches some, is mixed like any other.
    """

    heads: ClassVar[Literal["plain", "weighted"]] = "plain"
    """What parameters of one task alone are fed: their task's own gradient, or the same times the task's weight."""
    remembers: ClassVar[tuple[str, ...]] = ()
    """Attributes that ``state_dict`` holds: numbers, strings, tensors, and lists and dicts of them."""
    of_all: ClassVar[bool] = False
    """Whether ``mixing`` is told of the tasks that reach no shared parameter, too."""
    at_representation: ClassVar[bool] = True
    """Whether the method may look at the gradients of a representation; else it makes no difference to ``backward``."""

    how: How = "auto"
    """Which way the tasks' gradients are taken, see ``task_gradients``; may be set on an instance."""

    def __init__(self) -> None:
        self.sharing = Sharing()
        """Which tasks reached each parameter by now."""

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The mixing matrix C.

        Args:
            gram: G Gᵀ, shape (K, K), float64.
            losses: shape (K,), float64.
            tasks: the K names.

        Returns:
            C, shape (K, K), float64; row k makes the manipulated gradient of task k.
        """
        raise NotImplementedError

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        parameters: Iterable[Tensor] | nn.Module,
        *,
        representation: Representation | None = None,
        scaler: Scaler | None = None,
        retain_graph: bool = False,
    ) -> None:
        """Take the place of ``loss.backward()``: add the combined gradient to ``.grad`` of the parameters.

        The graph is freed unless ``retain_graph`` is set; see ``task_gradients`` for what is left of heads.
        ``Tensor.register_hook`` hooks of parameters, and of the representation, fire once for each task, on its
        gradient; hooks that run after accumulation, like those of DistributedDataParallel, do not: ranks are not
        averaged.

        With automatic mixed precision give the losses as they are, not scaled, and the scaler:
        ``combiner.backward(losses, model, scaler=scaler)``, then ``scaler.step(optimizer)`` and ``scaler.update()``.
        The passes are made on scaled losses, ``.grad`` holds scaled gradients, also of ``self.parameters()``, and the
        method sees neither. If a loss or a gradient is not finite, NaN is put into ``.grad``, so that the scaler skips
        the step, and what the method remembers does not move.

        Args:
            losses: task name -> scalar loss; None for a task that is absent from the batch.
            parameters: leaf tensors, or a module; those that need no gradient are left out.
            representation: what the shared trunk puts out, one tensor, or one for each task that has its own inputs.
                The Gram matrix is then that of the gradients with respect to it (MGDA-UB; MoCoGrad, Sec. V): K passes
                through the heads and one through the trunk. None: the gradients of the parameters themselves.
            scaler: a ``torch.amp.GradScaler``.
            retain_graph: keep the graph for another pass; with a representation it is freed all the same.

        Raises:
            TypeError: see ``task_gradients``; the representation is neither a tensor nor a mapping of them.
            ValueError: see ``task_gradients``; a loss is not made from its representation, or reaches the trunk
                otherwise too.
            RuntimeError: see ``task_gradients``.
            FloatingPointError: without a scaler, a task's loss or gradient, or their combination, is not finite.
                ``.grad`` is as it was.
        """
        given = list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)
        found = present(losses)
        take = partial(self._direct, found, given, retain_graph=retain_graph)
        if representation is not None and self.at_representation:
            take = partial(self._through, found, list(leaves(given)), representation)
        unscaled = scaler is None or not scaler.is_enabled()
        if scaler is None or unscaled:
            made = take(None)
        else:
            from dominance.optim.engine.scaling import at_scale

            made = at_scale(scaler, take, found, leaves(given), list(self.parameters()))
        if made is None:
            return
        reached, total, done = made
        if unscaled and not finite(total):
            raise FloatingPointError("the combined gradient is not finite")
        accumulate(reached, total)
        done()

    def _direct(
        self, losses: Mapping[str, Loss], given: Sequence[Tensor], scale: float | None, *, retain_graph: bool
    ) -> tuple[Sequence[Tensor], Row, Callable[[], None]] | None:
        """The parameters, their combined gradient, and what tells the listeners; None: the step is to be skipped."""
        gradients = task_gradients(
            losses, given, sharing=self.sharing, how=self.how, scale=scale or 1.0, retain_graph=retain_graph
        )
        if scale is not None and not finite([*gradients.losses, *(g for row in gradients.rows for g in row)]):
            return None
        mixture = self.mix(gradients)
        total = mixture.total()
        return gradients.parameters, total if scale is None else times(total, scale), partial(tell, mixture, scale)

    def _through(
        self, losses: dict[str, Loss], wanted: list[Tensor], representation: Representation, scale: float | None
    ) -> tuple[Sequence[Tensor], Row, Callable[[], None]] | None:
        """The same by way of the representation. The pass through the trunk may overflow when the method has moved."""
        from dominance.optim.engine.representation import backward_through, tensors

        before = {} if scale is None else self.kept()
        made = backward_through(self.pull, tensors(losses), wanted, representation, scale)
        if scale is not None and made is not None and not finite(made[1]):
            self.put_back(before)
            return None
        return made

    def kept(self) -> dict[str, Any]:
        """A copy of what the method remembers."""
        from dominance.optim.engine.state import plain

        return {name: plain(getattr(self, name)) for name in self.remembers}

    def put_back(self, kept: Mapping[str, Any]) -> None:
        """Remember what ``kept`` returned."""
        from dominance.optim.engine.state import restored

        for name, value in kept.items():
            setattr(self, name, restored(getattr(self, name), value))

    def combine(self, gradients: TaskGradients) -> TaskGradients:
        """The manipulated gradient of each task, C G: what a task-wise optimizer like AdaTask is fed (its Alg. 3-4)."""
        return self.mix(gradients).rows()

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Look at the gradients of one step (once: a method may remember them), and say how they are to be mixed."""
        shared = [[g for g, s in zip(row, gradients.shared, strict=True) if s] for row in gradients.rows]
        reaching = [any(g is not None for g in row) for row in shared]
        matrix = self._checked(gram_matrix(shared), gradients.loss_values(), gradients.tasks, reaching)
        return MatrixMixture(gradients, matrix, self.head_weights(matrix, gradients.tasks))

    def head_weights(self, matrix: Matrix, tasks: Sequence[str]) -> Matrix:
        """Factors on the gradients of parameters of one task alone, shape (K,): 1, or the diagonal of C (``heads``)."""
        own = diagonal_of(matrix) if self.heads == "weighted" else None
        return np.ones(len(tasks)) if own is None else own

    def pull(self, tasks: Sequence[str], losses: Matrix, points: Sequence[Tensor], gradients: Row) -> Pull:
        """What goes from the representation back into the trunk: the gradients there, times the column sums of C.

        Args:
            losses: shape (K,), float64.
            points: the representation that each task's head is given; the same tensor K times, or K tensors.
            gradients: of each task's loss with respect to it; None is zero.

        Raises:
            ValueError: the tasks' representations have different shapes: they have no inner product.
        """
        from dominance.optim.engine.representation import Pull

        shapes = {task: tuple(point.shape) for task, point in zip(tasks, points, strict=True)}
        if len(set(shapes.values())) > 1:
            listed = ", ".join(f"{task} {shape}" for task, shape in shapes.items())
            raise ValueError(
                f"the representations of the tasks have different shapes: {listed}; give batches of one size, or leave "
                "out representation="
            )
        matrix = self._checked(gram_matrix([[g] for g in gradients]), losses, tasks, [g is not None for g in gradients])
        weights = matrix.sum(axis=0)
        weighted = [None if g is None else g * float(w) for g, w in zip(gradients, weights, strict=True)]
        return Pull(weighted, self.head_weights(matrix, tasks), weights)

    def parameters(self) -> Iterator[Tensor]:
        """What the method learns by gradient: to be given to the optimizer beside the model's parameters."""
        return iter(())

    def epoch(self) -> None:
        """An epoch is over: for methods that act on its averages."""

    def after_step(self, losses: Mapping[str, Loss | None]) -> None:
        """The optimizer has stepped, and these are the losses of the same batch now: for methods that look back."""

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers, so that training goes on to the bit; loads with ``weights_only=True``."""
        return self.kept() | self._about()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            ValueError: it is of another method.
        """
        if state.keys() != {*self.remembers, *self._about()} or state["method"] != type(self).__name__:
            raise ValueError(
                f"{type(self).__name__} remembers {sorted(self.remembers)}; this state is of another method, "
                f"{state.get('method', 'which it does not name')}"
            )
        self.sharing.restore(state["reach"])
        self.put_back({name: state[name] for name in self.remembers})

    def _about(self) -> dict[str, Any]:
        return {"method": type(self).__name__, "reach": self.sharing.state()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _checked(self, gram: Matrix, losses: Matrix, tasks: Sequence[str], reaching: Sequence[bool]) -> Matrix:
        """``mixing`` of the tasks that reach something shared, once it is sure that there is something to mix."""
        for what, values in (("loss", losses), ("gradient", np.diagonal(gram))):
            if bad := broken(values, tasks):
                raise FloatingPointError(f"the {what} of {', '.join(bad)} is not finite; no weights can be found")
        if self.of_all or all(reaching):
            return self.mixing(gram, losses, tasks)
        matrix = np.eye(len(tasks))
        among = [k for k, reaches in enumerate(reaching) if reaches]
        if among:
            inner = np.ix_(among, among)
            matrix[inner] = self.mixing(gram[inner], losses[among], [tasks[k] for k in among])
        return matrix


class Weighting(Combiner):
    """A combiner whose mixing matrix is diagonal: one weight a task. Subclasses implement ``weights``."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Weights of the tasks, shape (K,), float64; arguments as in ``mixing``."""
        raise NotImplementedError

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """diag(weights)."""
        return np.diag(self.weights(gram, losses, tasks))


class Mixture(Protocol):
    """Task gradients and how they are to be mixed. The sum and the rows are computed only where they are wanted."""

    gradients: TaskGradients

    def total(self) -> Row:
        """The sum of the manipulated gradients: what an ordinary optimizer is fed."""

    def rows(self) -> TaskGradients:
        """The manipulated gradient of each task."""

    def weights(self) -> dict[str, float] | None:
        """What each task's gradient was multiplied by, if that is all that was done."""


class MatrixMixture:
    """C G. The sum needs the column sums of C alone.

    Args:
        matrix: C, shape (K, K).
        heads: factor on each task's gradient of the parameters of that task alone, shape (K,).
    """

    def __init__(self, gradients: TaskGradients, matrix: Matrix, heads: Matrix) -> None:
        self.gradients = gradients
        self.matrix = matrix
        self._diagonal = diagonal_of(matrix)
        self._heads = heads

    def total(self) -> Row:
        return self.gradients.total(self.matrix.sum(axis=0), self._heads)

    def rows(self) -> TaskGradients:
        return self.gradients.mixed(self.matrix, self._heads)

    def weights(self) -> dict[str, float] | None:
        return None if self._diagonal is None else named(self.gradients.tasks, self._diagonal)


class Rows:
    """Manipulated gradients that are there already, as a mixture.

    Args:
        gradients: of each task, manipulated.
    """

    def __init__(self, gradients: TaskGradients) -> None:
        self.gradients = gradients

    def total(self) -> Row:
        return self.gradients.total()

    def rows(self) -> TaskGradients:
        return self.gradients

    def weights(self) -> None:
        return None


def tell(mixture: Mixture, scale: float | None) -> None:
    """Tell the listeners what is in ``.grad``."""
    if not listeners:
        return
    effective, weights = mixture.rows(), mixture.weights()
    if scale is not None:
        effective = replace(effective, rows=[times(row, scale) for row in effective.rows])
        weights = None if weights is None else {task: weight * scale for task, weight in weights.items()}
    for listener in listeners:
        listener.effective(effective, weights)


def diagonal_of(matrix: Matrix) -> Matrix | None:
    """The diagonal of C, if C is diagonal."""
    diagonal = np.diagonal(matrix)
    return diagonal.copy() if np.count_nonzero(matrix) == np.count_nonzero(diagonal) else None


def broken(values: Matrix, tasks: Sequence[str]) -> list[str]:
    """The tasks whose value is not finite."""
    return [task for task, value in zip(tasks, values, strict=True) if not np.isfinite(value)]
