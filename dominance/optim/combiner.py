"""What all combiners have in common: from the tasks' gradients to what an optimizer is fed.

Nearly every gradient-manipulating method turns the K task gradients G into K manipulated ones by a small matrix that it
computes from the Gram matrix G Gᵀ alone: Ĝ = C G. So a combiner is a small class with one method, ``mixing``; one
engine, here, applies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dominance.optim.gradients import leaves, present, task_gradients
from dominance.optim.listeners import listeners
from dominance.optim.representation import Pull, Representation, backward_through
from dominance.optim.rows import Matrix, Row, Sharing, TaskGradients, gram_matrix, named, values_of
from dominance.optim.state import plain, restored


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
        self._diagonal = _diagonal(matrix)
        self._heads = heads

    def total(self) -> Row:
        return self.gradients.total(self.matrix.sum(axis=0), self._heads)

    def rows(self) -> TaskGradients:
        return self.gradients.mixed(self.matrix, self._heads)

    def weights(self) -> dict[str, float] | None:
        return None if self._diagonal is None else named(self.gradients.tasks, self._diagonal)


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

    def __init__(self) -> None:
        self._sharing = Sharing()

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
        losses: Mapping[str, Tensor | None],
        parameters: Iterable[Tensor] | nn.Module,
        *,
        representation: Representation | None = None,
    ) -> None:
        """Take the place of ``loss.backward()``: add the combined gradient to ``.grad`` of the parameters.

        The graph is freed. ``Tensor.register_hook`` hooks of parameters fire once for each task, on its gradient;
        hooks that run after accumulation, like those of DistributedDataParallel, do not: ranks are not averaged.

        Args:
            losses: task name -> scalar loss; None for a task that is absent from the batch.
            parameters: leaf tensors, or a module; those that need no gradient are left out.
            representation: what the shared trunk puts out, one tensor, or one for each task that has its own inputs.
                The Gram matrix is then that of the gradients with respect to it (MGDA-UB; MoCoGrad, Sec. V): K passes
                through the heads and one through the trunk. None: the gradients of the parameters themselves.

        Raises:
            TypeError, ValueError: see ``task_gradients``.
            FloatingPointError: a task's loss or gradient is not finite.
        """
        wanted = leaves(parameters)
        if representation is not None:
            reached, gradients, done = backward_through(self, present(losses), list(wanted), representation)
            accumulate(reached, gradients)
            done()
            return
        mixture = self.mix(task_gradients(losses, wanted, sharing=self._sharing))
        accumulate(mixture.gradients.parameters, mixture.total())
        if listeners:
            effective, weights = mixture.rows(), mixture.weights()
            for listener in listeners:
                listener.effective(effective, weights)

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
        own = _diagonal(matrix) if self.heads == "weighted" else None
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

    def after_step(self, losses: Mapping[str, Tensor | None]) -> None:
        """The optimizer has stepped, and these are the losses of the same batch now: for methods that look back."""

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers, so that training goes on to the bit; loads with ``weights_only=True``."""
        return {name: plain(getattr(self, name)) for name in self.remembers} | {"reach": self._sharing.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            ValueError: it is of another method.
        """
        if state.keys() != {*self.remembers, "reach"}:
            raise ValueError(
                f"{type(self).__name__} remembers {sorted(self.remembers)}, the state has {sorted(state)}: "
                "it is of another method"
            )
        self._sharing.restore(state["reach"])
        for name in self.remembers:
            setattr(self, name, restored(getattr(self, name), state[name]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _checked(self, gram: Matrix, losses: Matrix, tasks: Sequence[str], reaching: Sequence[bool]) -> Matrix:
        """``mixing`` of the tasks that reach something shared, once it is sure that there is something to mix."""
        for what, values in (("loss", losses), ("gradient", np.diagonal(gram))):
            broken = [task for task, value in zip(tasks, values, strict=True) if not np.isfinite(value)]
            if broken:
                raise FloatingPointError(f"the {what} of {', '.join(broken)} is not finite; no weights can be found")
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


class LossWeighting(Weighting):
    """A weighting that needs no gradients: one plain backward pass of the weighted sum of the losses."""

    heads = "weighted"

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Weights of the tasks, shape (K,), float64, from their losses, shape (K,)."""
        raise NotImplementedError

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The loss weights; the Gram matrix is not used."""
        return self.loss_weights(losses, tasks)

    def mix(self, gradients: TaskGradients) -> Mixture:
        """As ever, without the Gram matrix, which is not needed."""
        matrix = np.diag(self.loss_weights(gradients.loss_values(), gradients.tasks))
        return MatrixMixture(gradients, matrix, self.head_weights(matrix, gradients.tasks))

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The scalar that is differentiated: the weighted sum of the losses."""
        weights = self.loss_weights(values_of(list(losses.values())), tuple(losses))
        return torch.stack(
            [loss.reshape(()) * float(w) for loss, w in zip(losses.values(), weights, strict=True)]
        ).sum()

    def backward(
        self,
        losses: Mapping[str, Tensor | None],
        parameters: Iterable[Tensor] | nn.Module,
        *,
        representation: Representation | None = None,
    ) -> None:
        """As ``Combiner.backward``, in one backward pass; ``representation`` makes no difference here."""
        found = present(losses)
        for listener in listeners:
            listener.observe(found)
        learnt = [p for p in self.parameters() if p.requires_grad]
        torch.autograd.backward(self.total(found), inputs=[*leaves(parameters), *learnt])


def accumulate(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add each gradient to its parameter's ``.grad``, as ``backward()`` does."""
    into: list[Tensor] = []
    added: list[Tensor] = []
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is not None:
                into.append(parameter.grad)
                added.append(gradient)
            elif gradient.stride() == parameter.stride():  # a copy: others hold what we were lent
                parameter.grad = gradient.detach().clone()
            else:
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
        if into:
            torch._foreach_add_(into, added)


def _diagonal(matrix: Matrix) -> Matrix | None:
    """The diagonal of C, if C is diagonal."""
    diagonal = np.diagonal(matrix)
    return diagonal.copy() if np.count_nonzero(matrix) == np.count_nonzero(diagonal) else None
