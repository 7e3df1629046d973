"""Per-task gradients: one backward pass a task, or all at once through the shared trunk.

The same engine takes them for the methods that mix them, and for a recorder. What a task does not reach is None;
gradients have the layout and the precision that autograd gives them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from dominance.optim.engine.task_gradients import Loss, Placed, Row, Start, TaskGradients, start_of, times

if TYPE_CHECKING:
    from dominance.optim.engine.listeners import Listener

How = Literal["auto", "loop", "batched"]
FEWEST_TASKS = 4
"""With fewer, all tasks at once are no faster than one by one."""
_REENTRANT = "CheckpointFunctionBackward"

listeners: list[Listener] = []
"""Those who listen now."""


def own_passes() -> AbstractContextManager[None]:
    """Tell every listener that the autograd passes in this block are ours."""
    return _told() if listeners else _NOBODY


@contextmanager
def _told() -> Iterator[None]:
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener.own_passes())
        yield


_NOBODY = nullcontext()


class CannotBatch(RuntimeError):
    """Something on the way cannot take several tasks' gradients at once, which showed when it was tried."""


def present(losses: Mapping[str, Loss | None]) -> dict[str, Loss]:
    """The losses of the tasks that are in this batch: those that are not None.

    Raises:
        TypeError: ``losses`` is no mapping of names, which are strings, to scalar tensors.
        ValueError: none is there, or one is not a scalar or needs no gradient.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(f'losses is a {type(losses).__name__}; give a mapping like {{"depth": loss_depth}}')
    for task in losses:
        if not isinstance(task, str):
            raise TypeError(f"the task {task!r} is named by a {type(task).__name__}; give a string")
    found = {task: loss for task, loss in losses.items() if loss is not None}
    if not found:
        raise ValueError("no task has a loss in this batch; leave the step out")
    for task, loss in found.items():
        if isinstance(loss, Placed):
            continue
        if not isinstance(loss, Tensor):
            raise TypeError(f"the loss of {task!r} is a {type(loss).__name__}, not a tensor")
        if loss.numel() != 1:
            raise ValueError(f"the loss of {task!r} has shape {tuple(loss.shape)}; reduce it to a scalar")
        if not loss.requires_grad:
            raise ValueError(f"the loss of {task!r} needs no gradient; give None for a task without labels")
    return found


def leaves(parameters: Iterable[Tensor] | nn.Module) -> tuple[Tensor, ...]:
    """Those of the parameters that need gradient, each once.

    Args:
        parameters: leaf tensors, or a module for all of its own.

    Raises:
        TypeError: something else is among them, like the pairs of ``named_parameters()``.
        ValueError: none is there, none needs gradient, or one is not a leaf or complex.
    """
    return _leaves(_given(parameters))


def _given(parameters: Iterable[Tensor] | nn.Module) -> list[Tensor]:
    """All of them."""
    return list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)


def _leaves(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    if not given:
        raise ValueError(
            "there are no parameters; a generator such as model.parameters() is used up after one pass: "
            "give list(model.parameters())"
        )
    for kind in {type(parameter) for parameter in given}:
        if not issubclass(kind, Tensor):
            raise TypeError(f"a {kind.__name__} is among the parameters; give model.parameters()")
    found = {id(p): p for p in given if p.requires_grad}
    for p in [p for p in found.values() if not p.is_leaf or p.dtype.is_complex]:
        kind_of = "complex" if p.is_complex() else "no leaf of the graph"
        raise ValueError(f"a parameter of shape {tuple(p.shape)} is {kind_of}")
    if not found:
        raise ValueError(f"none of the {len(given)} parameters needs gradient")
    return tuple(found.values())


class Sharing:
    """Remembers which tasks ever reached each parameter: one that two of them reached is shared for good.

    So a parameter of the trunk counts as shared also in a batch in which only one task has labels.
    """

    def __init__(self) -> None:
        # by identity: == of tensors is elementwise
        self._reach: MutableMapping[Tensor, set[str]] = WeakTensorKeyDictionary()
        self._restored: list[list[str]] | None = None
        self._given: list[weakref.ref[Tensor]] = []
        self._last: list[tuple[weakref.ref[Tensor], set[str]]] = []

    def shared(
        self,
        tasks: Sequence[str],
        parameters: Sequence[Tensor],
        rows: Sequence[Row],
        given: Sequence[Tensor] | None = None,
    ) -> tuple[bool, ...]:
        """For each parameter, whether two or more tasks have reached it by now.

        Args:
            given: all parameters, with those that need no gradient now; ``state`` goes by their order. None: no others.

        Raises:
            ValueError: a restored state is of another number of parameters.
        """
        found = []
        for reach, *column in zip(self._reaches(parameters, given or parameters), *rows, strict=True):
            if len(reach) < len(tasks) or not reach.issuperset(tasks):
                reach.update(task for task, gradient in zip(tasks, column, strict=True) if gradient is not None)
            found.append(len(reach) > 1)
        return tuple(found)

    def _reaches(self, parameters: Sequence[Tensor], given: Sequence[Tensor]) -> list[set[str]]:
        """The tasks that have reached each parameter; looked up once for parameters that come again in each step."""
        if len(self._given) != len(given) or any(r() is not p for r, p in zip(self._given, given, strict=True)):
            self._arrange(given)
        if len(self._last) != len(parameters) or any(
            r() is not p for (r, _), p in zip(self._last, parameters, strict=True)
        ):
            self._last = [(weakref.ref(p), self._reach[p]) for p in parameters]
        return [reach for _, reach in self._last]

    def _arrange(self, given: Sequence[Tensor]) -> None:
        """Take up these parameters, in this order; a restored state is theirs."""
        if self._restored is not None and len(self._restored) != len(given):
            raise ValueError(
                f"the state is of {len(self._restored)} parameters, and {len(given)} are given; give the same ones in "
                "the same order, also those that need no gradient now"
            )
        for p, restored in zip(given, self._restored or [[]] * len(given), strict=True):
            self._reach.setdefault(p, set()).update(restored)
        self._restored = None
        self._given = [weakref.ref(p) for p in given]
        self._last = []

    def state(self) -> list[list[str]]:
        """The tasks that reached each of the parameters that were given last, in their order; then those of others."""
        if self._restored is not None:
            return [list(reached) for reached in self._restored]
        alive = [p for known in self._given if (p := known()) is not None]
        ids = {id(p) for p in alive}
        return [sorted(self._reach[p]) for p in (*alive, *(p for p in self._reach if id(p) not in ids))]

    def restore(self, state: list[list[str]]) -> None:
        """Take over what ``state`` returned; it holds for the parameters of the next call, in their order."""
        self._reach.clear()
        self._given, self._last = [], []
        self._restored = [list(reached) for reached in state] or None

    def __getstate__(self) -> list[list[str]]:
        return self.state()

    def __setstate__(self, state: list[list[str]]) -> None:
        self.__init__()  # type: ignore[misc]
        self.restore(state)


def task_gradients(
    losses: Mapping[str, Loss | None],
    parameters: Iterable[Tensor] | nn.Module,
    *,
    sharing: Sharing | None = None,
    retain_graph: bool = False,
    how: How = "auto",
    scale: float = 1.0,
) -> TaskGradients:
    """The gradient of each task's loss by each parameter. ``.grad`` is left alone.

    ``Tensor.register_hook`` hooks fire as in ``torch.autograd.grad``: on the gradient of each task apart. Hooks that
    run after accumulation do not.

    Args:
        losses: task name -> scalar loss; None for a task that is absent from the batch: it gets no row.
        parameters: leaf tensors, or a module; those that need no gradient are left out.
        sharing: remembers over the steps which parameters are shared; without it, those are that two tasks reach now.
        retain_graph: keep the graph for another pass. Otherwise the graph of what the tasks share is freed; passed
            task by task, heads other than the last one keep theirs as long as their loss lives.
        how: "loop": one pass a task. "batched": all tasks at once through what they share, found in the graph.
            "auto": whichever is faster as a rule, by the number of tasks and the sizes in the graph. Parameters with
            hooks are passed task by task. A hook on another tensor of the trunk sees all tasks' gradients in one
            batched tensor when they are passed at once: give "loop" for such a model.
        scale: the passes are made on the losses times this, for half precision, and the gradients divided by it.

    Raises:
        TypeError, ValueError: see ``present`` and ``leaves``; a gradient is sparse; "batched" cannot be done.
        RuntimeError: the graph hides parameters behind reentrant checkpointing, is of a compiled model that allows
            one pass only, or has a hook that cannot take several tasks' gradients at once.
    """
    if how not in ("auto", "loop", "batched"):
        raise ValueError(f'how is {how!r}; it is one of "auto", "loop", "batched"')
    found = present(losses)
    given = _given(parameters)
    wanted = _leaves(given)
    every = list(found.values())
    with own_passes():
        taken = rows([start_of(loss, scale) for loss in every], wanted, retain_graph=retain_graph, how=how)
    if scale != 1:
        taken = [times(row, 1 / scale) for row in taken]
    if {g.layout for row in taken for g in row if g is not None} - {torch.strided}:
        raise TypeError("the gradient of a parameter is sparse; use dense ones: nn.Embedding(..., sparse=False)")
    tasks = tuple(found)
    if sharing is None:
        reached = [[g is not None for g in row] for row in taken]
        shared = tuple([sum(column) > 1 for column in zip(*reached, strict=True)])
    else:
        shared = sharing.shared(tasks, wanted, taken, given)
    return TaskGradients(tasks, wanted, taken, tuple([loss.detach().reshape(()) for loss in every]), shared)


def rows(
    starts: Sequence[Start],
    parameters: Sequence[Tensor],
    *,
    retain_graph: bool,
    how: How = "auto",
    hidden: Callable[[Start, Sequence[Any]], Row] | None = None,
) -> list[Row]:
    """The gradient of each task by each parameter; ``.grad`` is left alone.

    Args:
        starts: one for each task.
        parameters: leaf tensors, or others of the graph.
        retain_graph: keep the graph for another pass.
        how: see ``dominance.optim.task_gradients``.
        hidden: takes the gradient of a task whose graph has reentrant checkpointing, given its nodes; None: refuse it.

    Raises:
        ValueError: ``how`` is "batched" and the graph has no such way.
        CannotBatch: see there.
        RuntimeError: what autograd raises; and where reentrant checkpointing hides parameters.
    """
    every = _below(starts)
    if _has_reentrant(every):
        if hidden is None:
            refuse_reentrant(every)
        else:
            return [_row_with_hidden(start, parameters, hidden) for start in starts]
    batched = batched_way(starts, parameters, how)
    if batched is None:
        last = len(starts) - 1
        return [
            grad(start.outputs, parameters, start.gradients, retain_graph=retain_graph or k < last)
            for k, start in enumerate(starts)
        ]
    try:
        return batched(retain_graph)
    except RuntimeError as error:
        if any(word in str(error) for word in ("vmap", "Batching rule", "data pointer")):
            raise CannotBatch(
                "something on the way, such as a hook of an activation, cannot take the gradients of several tasks at "
                'once; pass task by task: task_gradients(..., how="loop"), or combiner.how = "loop"'
            ) from error
        _explain(error)
        raise


def batched_way(starts: Sequence[Start], parameters: Sequence[Tensor], how: How) -> Callable[[bool], list[Row]] | None:
    """All tasks at once: a function of ``retain_graph``; None where one pass a task is as fast, or wanted."""
    if how == "loop" or (how == "auto" and len(starts) < FEWEST_TASKS):
        return None
    from dominance.optim.engine.batched import chosen

    return chosen(starts, parameters, how)


def _row_with_hidden(start: Start, parameters: Sequence[Tensor], hidden: Callable[[Start, Sequence[Any]], Row]) -> Row:
    nodes = _below([start])
    if _has_reentrant(nodes):
        return hidden(start, nodes)
    return grad(start.outputs, parameters, start.gradients, retain_graph=True)


def grad(
    outputs: Tensor | Sequence[Any],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor] | None = None,
    *,
    retain_graph: bool,
) -> Row:
    """``torch.autograd.grad``, None where an input is not reached.

    Raises:
        RuntimeError: as there; with what to do about a compiled model that allows one pass only.
    """
    try:
        return list(torch.autograd.grad(outputs, inputs, gradients, retain_graph=retain_graph, allow_unused=True))
    except RuntimeError as error:
        _explain(error)
        raise


def _explain(error: RuntimeError) -> None:
    """Raise it in words that say what to do about it, where that is known."""
    if "donated" in str(error):
        raise RuntimeError(
            "a compiled model's graph allows one pass, and each task needs one: set "
            "torch._functorch.config.donated_buffer = False before it is compiled"
        ) from error


def reentrant(starts: Iterable[Start]) -> bool:
    """Whether the graph below these has reentrant checkpointing."""
    return _has_reentrant(_below(starts))


def _below(starts: Iterable[Start]) -> list[Any]:
    """All nodes of the graph, as far as it may hold re-entrant checkpointing."""
    seen: dict[Any, None] = {}
    waiting: list[Any] = [node for start in starts if not start.flat for node, _ in start.edges if node is not None]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += [below for below, _ in node.next_functions if below is not None]
    return list(seen)


def _has_reentrant(nodes: Iterable[Any]) -> bool:
    return any(kind.__name__ == _REENTRANT for kind in set(map(type, nodes)))


def refuse_reentrant(nodes: Iterable[Any]) -> None:
    """Autograd finds no gradients of parameters within reentrant checkpointing, unless it runs a whole backward().

    Raises:
        RuntimeError: it is among the nodes.
    """
    if _has_reentrant(nodes):
        raise RuntimeError(
            "torch.utils.checkpoint with use_reentrant=True hides its parameters from all but a whole backward(), and "
            "the tasks' gradients are taken apart here: give use_reentrant=False"
        )


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
