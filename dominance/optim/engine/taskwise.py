"""What the task-wise optimizers have in common: they take the tasks' gradients one by one and keep them apart.

What not every training needs is imported where it is needed, so that a method may be taken along without it:
``scaling`` (a GradScaler), and ``held`` (several ``backward`` before one ``step``, clipping and limits).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from dominance.optim.engine.gradients import Sharing, accumulate, listeners, present, task_gradients
from dominance.optim.engine.task_gradients import Loss, TaskGradients, finite

if TYPE_CHECKING:
    from dominance.optim.engine.combiner import Combiner
    from dominance.optim.engine.scaling import Scaler

Group = dict[str, Any]
State = dict[str, Any]
Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group]
Granularity = Literal["parameter", "layer", "module"] | Callable[[str, Tensor], Hashable]
"""What shares accumulated squared gradients; see ``dominance.optim.optimizers.ladatask``."""
Aggregate = Literal["mean", "sum"]
_IN_CACHE = 1 << 18
"""Numbers."""


@dataclass(frozen=True)
class Part:
    """Parameters of one group that the same tasks reach in this step, on one device and of one dtype.

    Attributes:
        tasks: K names.
        parameters: n of them.
        rows: K lists of n gradients.
    """

    tasks: tuple[str, ...]
    parameters: list[Tensor]
    rows: list[list[Tensor]]


class TaskwiseOptimizer(torch.optim.Optimizer):
    """An optimizer that steps from the gradient of each task. Subclasses implement ``_update``.

    ``backward(losses)`` takes the place of ``loss.backward()``, and ``step()`` follows; or ``step(gradients)`` is given
    them. What is remembered of a task is keyed by its name, so batches may hold the tasks in any order, and leave some
    out: a task that is absent adds nothing to the step, its momentum neither, and its state (moments, step count) does
    not move. The same holds for a parameter that a task does not reach. Parameters may be given with their names, as
    ``model.named_parameters()``.

    Weight decay that is not decoupled is a part of the loss, and is split evenly over the tasks that reach the
    parameter in this step: each is fed g^k + weight_decay / K * theta, and the sum is what one optimizer would be fed.
    So it is a part of the tasks' updates, too. Decoupled weight decay shrinks a parameter once a step, not once a task.
    """

    announces_updates: ClassVar[bool] = True
    """Listeners are told each task's part of every step."""
    _step_supports_amp_scaling = True  # torch.amp.GradScaler: ``step`` unscales by itself
    grad_scale: Tensor  # there while a GradScaler steps, as is ``found_inf``

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self._taken: TaskGradients | None = None
        self._marks: list[tuple[Tensor, Tensor | None, int]] = []
        self._norms: list[float] = []
        self._sharing = Sharing()
        super().__init__(params, defaults)

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        combiner: Combiner | None = None,
        *,
        scaler: Scaler | None = None,
    ) -> None:
        """Take the place of ``loss.backward()``: keep each task's gradient, and add their sum to ``.grad``.

        Gradients of several calls add up until ``zero_grad()``, task by task. What is done to ``.grad`` by a factor,
        like clipping by norm, or by one of each entry between 0 and 1, like limits and masks, is done to every task's
        gradient by the next call or ``step``; what adds to it is refused there. What goes by torch's back
        (``p.grad.data.clamp_()``) is seen on the CPU alone, by the norm; looking would have to wait for a GPU, and
        there it makes no difference to the step.

        With automatic mixed precision give the losses as they are and the scaler, then ``scaler.step(optimizer)`` and
        ``scaler.update()``. What is kept is scaled, and the combiner sees it unscaled; of a loss or gradient that is
        not finite it sees nothing, and the step is skipped. Without a combiner, scaled losses do as well.

        Args:
            losses: task name -> scalar loss; None for a task that is absent from the batch.
            combiner: manipulates the gradients first, each task's own manipulated gradient then goes into its own state
                (AdaTask, Alg. 3-4: with CAGrad, with PCGrad).
            scaler: a ``torch.amp.GradScaler``.

        Raises:
            TypeError, ValueError: see ``task_gradients``; or the combiner learns its weights by gradient.
            RuntimeError: see ``task_gradients``; ``.grad`` holds something that is of no task.
            FloatingPointError: without a scaler, what the combiner is given is not finite.
        """
        if combiner is not None and next(combiner.parameters(), None) is not None:
            raise ValueError(f"{combiner} learns its weights from the summed loss, which is not differentiated here")
        self._reconcile()
        self._expect_no_other_grad()
        scale = None
        if scaler is not None:
            from dominance.optim.engine.scaling import started

            scale = started(scaler, next(iter(present(losses).values())).detach())
        how = "auto" if combiner is None else combiner.how
        found = task_gradients(losses, self._parameters(), sharing=self._sharing, how=how, scale=scale or 1.0)
        weights: dict[str, float] | None = dict.fromkeys(found.tasks, 1.0)
        overflow = scale is not None and not finite([*found.losses, *(g for row in found.rows for g in row)])
        if combiner is not None and not overflow:
            mixture = combiner.mix(found)
            found, weights = mixture.rows(), mixture.weights()
        if scale is not None:
            found = _scaled(found, scale)
            weights = None if weights is None else {task: weight * scale for task, weight in weights.items()}
        if overflow:
            from dominance.optim.engine.scaling import spoil

            spoil(found.parameters)
        else:
            accumulate(found.parameters, found.total())
            for listener in listeners:
                listener.effective(found, weights)
        if self._taken is not None:
            from dominance.optim.engine.held import added

            found = added(self._taken, found)
        self._keep(found)

    def take(self, gradients: TaskGradients) -> None:
        """Step from these next. Their sum is in ``.grad`` already, and listeners have been told."""
        self._taken, self._marks, self._norms = gradients, [], []

    @torch.no_grad()
    def step(self, gradients: TaskGradients | None = None) -> None:  # type: ignore[override]
        """Move the parameters.

        Args:
            gradients: the tasks' gradients; None: those that ``backward`` took.

        Raises:
            TypeError: a closure was given, or a gradient is sparse.
            ValueError: the gradients are of none of these parameters.
            RuntimeError: there are no gradients, or ``.grad`` was changed since ``backward`` otherwise than by factors.
        """
        if callable(gradients):
            raise TypeError("closures are not supported: call optimizer.backward(losses), then optimizer.step()")
        if gradients is None:
            overflow = getattr(self, "found_inf", None)
            if overflow is not None and overflow:
                return
            self._reconcile()
            if self._taken is None:
                raise RuntimeError("no task gradients to step from: call optimizer.backward(losses) first")
            gradients = self._unscaled(self._taken)
        else:
            mine = {id(p) for group in self.param_groups for p in group["params"]}
            if not any(id(p) in mine for p in gradients.parameters):
                raise ValueError("these gradients are of none of the optimizer's parameters")
            for listener in listeners:
                listener.effective(gradients, None)
        self._update(gradients)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the tasks' gradients, and ``.grad``."""
        super().zero_grad(set_to_none)
        self._taken = None

    @torch.no_grad()
    def clip_grad_norm_(self, max_norm: float) -> Tensor:
        """Scale all tasks' gradients, and ``.grad``, by one factor so that the norm of their sum is at most this.

        ``torch.nn.utils.clip_grad_norm_`` does the same; what it did has to be found out from ``.grad``. With a
        GradScaler, ``.grad`` holds scaled gradients here: give ``max_norm`` times its scale.

        Returns:
            The norm before, a 0-dim tensor.

        Raises:
            RuntimeError: as in ``step``.
        """
        grads = [p.grad for p in self._parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(g) for g in grads]
        norm = (
            torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms])) if norms else torch.zeros(())
        )
        self.scale_grad_(torch.clamp(max_norm / (norm + 1e-6), max=1.0))
        return norm

    @torch.no_grad()
    def scale_grad_(self, factor: float | Tensor) -> None:
        """Multiply all tasks' gradients, and ``.grad``, by a factor.

        Raises:
            RuntimeError: as in ``step``.
        """
        self._reconcile()
        if self._taken is None:
            raise RuntimeError("no task gradients to scale: call optimizer.backward(losses) first")
        for grad in [grad for _, grad, _ in self._marks if grad is not None]:
            grad.mul_(torch.as_tensor(factor).to(grad.device, grad.dtype))
        self._keep(_scaled(self._taken, factor))

    def add_param_group(self, param_group: Group) -> None:
        """As in torch; also takes named parameters where torch does not yet.

        Raises:
            ValueError: a parameter is complex.
        """
        params = param_group["params"]
        if not isinstance(params, (Tensor, set)):
            params = list(params)
            if params and all(isinstance(item, tuple) for item in params):
                param_group["param_names"] = [name for name, _ in params]
                params = [p for _, p in params]
            param_group["params"] = params
            if any(isinstance(p, Tensor) and p.is_complex() for p in params):
                raise ValueError(f"{type(self).__name__} does not support complex parameters; use torch.view_as_real")
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._taken, self._marks, self._norms = None, [], []
        self._sharing = Sharing()
        every = [p for group in self.param_groups for p in group["params"]]
        self._sharing.restore([list(self.state.get(p, {}).get("tasks", ())) for p in every])
        self._sharing.shared((), every, [])  # bound to these: some may be frozen before the next step

    def _update(self, gradients: TaskGradients) -> None:
        """Move parameters and state; announce the updates to the listeners."""
        raise NotImplementedError

    def _task_state(self, parameter: Tensor, task: str) -> dict[str, Any]:
        """What is remembered of a task for a parameter, with its count of steps."""
        tasks = self.state[parameter].setdefault("tasks", {})
        found: dict[str, Any] = tasks.setdefault(task, {"step": 0})
        return found

    def _unscaled(self, gradients: TaskGradients) -> TaskGradients:
        """Without the scale of a GradScaler that is at work, where its ``unscale_`` has not taken that out."""
        scale = getattr(self, "grad_scale", None)
        return gradients if scale is None else _scaled(gradients, 1 / scale)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"] if p.requires_grad]

    def _keep(self, gradients: TaskGradients) -> None:
        self._taken = gradients
        self._marks = [(p, p.grad, _version(p.grad)) for p in gradients.parameters]
        self._norms = self._norms_now()

    def _reconcile(self) -> None:
        """See whether ``.grad`` is as ``backward`` left it; what was done to it is done to the tasks' gradients."""
        if self._taken is None:
            return
        same = all(p.grad is grad and _version(grad) == seen for p, grad, seen in self._marks)
        if same and np.array_equal(self._norms, self._norms_now(), equal_nan=True):
            return
        if any(p.grad is not None and bool(p.grad.any()) for p, _, _ in self._marks):
            from dominance.optim.engine.held import rescaled

            with torch.no_grad():
                left = dict(zip(self._taken.parameters, self._taken.total(), strict=True))
                made = rescaled(self._taken, left)
            if made is None:
                raise RuntimeError(
                    f".grad was changed after backward() by more than a factor or a limit, and {type(self).__name__}"
                    " steps from the gradients of the tasks, whose shares of that are not known; put what is of no task"
                    " into the tasks' losses"
                )
            self._keep(made)
            return
        self._taken = None

    def _norms_now(self) -> list[float]:
        """Norms of what is on the CPU: ``.grad.data`` can be changed without a new version."""
        here = [grad for _, grad, _ in self._marks if grad is not None and grad.device.type == "cpu" and grad.numel()]
        with torch.no_grad():
            return [float(norm) for norm in torch._foreach_norm(here)] if here else []

    def _expect_no_other_grad(self) -> None:
        known = set() if self._taken is None else {id(p) for p in self._taken.parameters}
        if any(p.grad is not None and id(p) not in known and bool(p.grad.any()) for p in self._parameters()):
            raise RuntimeError(
                f".grad holds a gradient that is of no task, and {type(self).__name__} would leave it out of the step; "
                "call zero_grad() first, or make it part of a task's loss"
            )


def _scaled(gradients: TaskGradients, factor: float | Tensor) -> TaskGradients:
    from dominance.optim.engine.held import scaled

    return scaled(gradients, factor)


def _version(grad: Tensor | None) -> int:
    return 0 if grad is None else grad._version


def parts_of(group: Group, gradients: TaskGradients) -> list[Part]:
    """The group's parameters that tasks reach in this step, in few lists; one by one with ``foreach=False``.

    On the CPU a list is closed when it would hold more than the cache does.
    """
    one_by_one = group.get("foreach") is False
    where = {id(p): i for i, p in enumerate(gradients.parameters)}
    parts: list[Part] = []
    still_open: dict[Any, tuple[Part, int]] = {}
    for parameter in group["params"]:
        i = where.get(id(parameter))
        if i is None:
            continue
        column = [
            (task, row[i]) for task, row in zip(gradients.tasks, gradients.rows, strict=True) if row[i] is not None
        ]
        if not column:
            continue
        tasks = tuple(task for task, _ in column)
        key = (parameter.device, parameter.dtype, tasks)
        part, size = still_open.get(key, (None, 0))
        if part is None or one_by_one or (size + parameter.numel() > _IN_CACHE and parameter.device.type == "cpu"):
            part, size = Part(tasks, [], [[] for _ in tasks]), 0
            parts.append(part)
        still_open[key] = part, size + parameter.numel()
        part.parameters.append(parameter)
        for row, (task, g) in zip(part.rows, column, strict=True):
            assert g is not None
            if g.is_sparse:
                raise TypeError(f"the gradient of {task!r} is sparse; make the embedding with sparse=False")
            row.append(g)
    return parts


def coupled(group: Group) -> float:
    """Weight decay that is added to the gradients."""
    return 0.0 if group.get("decoupled_weight_decay", False) else float(group["weight_decay"])


def fed(part: Part, k: int, theta: list[Tensor], weight_decay: float) -> list[Tensor]:
    """What task k's state is fed: g^k + weight_decay / K * theta; the tasks' sum is what one optimizer is fed."""
    if weight_decay == 0:
        return part.rows[k]
    return list(torch._foreach_add(part.rows[k], theta, alpha=weight_decay / len(part.tasks)))


def buffers(states: Sequence[State], name: str, parameters: Sequence[Tensor], start: float = 0.0) -> list[Tensor]:
    """One tensor of the state for each parameter, made when first asked for."""
    for state, parameter in zip(states, parameters, strict=True):
        if name not in state:
            state[name] = torch.full_like(parameter, start, memory_format=torch.preserve_format)
    return [state[name] for state in states]


def nonnegative(**options: float) -> None:
    """Raise ValueError for an option that is below zero (or NaN)."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}; it must be >= 0")


def fraction(**options: float) -> None:
    """Raise ValueError for an option that is not in [0, 1)."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}; it must be in [0, 1)")
