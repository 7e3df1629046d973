"""Several tasks' gradients in one pass through the part of the autograd graph that they share.

The nodes of the graph that one loss alone reaches are its task's own (its head); the others are shared (the trunk). An
edge from an own node to a shared one is where the task's gradient enters the trunk. One ordinary pass through all the
heads catches it there for each task apart; one pass with K gradients at once takes it through the trunk. Where the
heads cost next to nothing, they are passed through with K gradients at once too, which saves the catching.

It pays where a pass is dominated by the cost of calling its kernels, not by their arithmetic: from four tasks on, and
while the products in the trunk put out few numbers. Measured by tests/speed/task_gradients.py. The choice depends on
the graph alone, so that the same training takes the same way again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.optim.engine.task_gradients import Edge, Node, Row, Start

MANY_TASKS = 8
MOST_OUTPUTS = {False: 3_500, True: 5_500}
"""Numbers that the trunk's products put out, for each of its nodes, up to which K gradients at once are faster than one
by one: for few and for many tasks."""
MOST_CONVOLVED = {False: 3_500, True: 13_000}
"""The same with convolutions in the trunk."""
MOST_ENTERING = 50_000
"""Numbers that enter the trunk, over all tasks, up to which the heads are passed through with K gradients at once."""

_SHARED = -1
_LEAF = "AccumulateGrad"
_CONVOLUTION = "ConvolutionBackward0"
_PRODUCTS = frozenset(
    {"AddmmBackward0", "MmBackward0", "BmmBackward0", "BaddbmmBackward0", "MvBackward0", _CONVOLUTION}
)
# Checked one by one, against a pass for each task: no warning, the same gradients.
_BATCHES = _PRODUCTS | frozenset(
    f"{name}Backward{overload}"
    for name, overload in (
        line.split()
        for line in """Abs 0|AdaptiveAvgPool2D 0|Add 0|Add 1|Amax 0|AvgPool2D 0|BinaryCrossEntropy 0
        BinaryCrossEntropyWithLogits 0|Cat 0|Clamp 1|ClampMin 0|Clone 0|Cumsum 0|Div 0|Dot 0|Elu 0|Embedding 0|Exp 0
        Expand 0|Gather 0|Gelu 0|Glu 0|Hardtanh 0|HuberLoss 0|Index 0|LeakyRelu 0|LinalgVectorNorm 0|Log 0|LogSigmoid 0
        LogSoftmax 0|Logsumexp 0|Max 0|MaxPool2DWithIndices 0|Mean 0|Mean 1|Minimum 0|MseLoss 0|Mul 0
        NativeBatchNorm 0|NativeGroupNorm 0|NativeLayerNorm 0|Neg 0|NllLoss 0|Permute 0|Pow 0|PreluKernel 0|Prod 1
        Relu 0|ReshapeAlias 0|Rsqrt 0|Rsub 1|Select 0|Sigmoid 0|Silu 0|Sin 0|Slice 0|SmoothL1Loss 0|Softmax 0
        Softplus 0|Split 0|Sqrt 0|Squeeze 1|Stack 0|Sub 0|Sum 0|Sum 1|T 0|Tanh 0|ToCopy 0|Transpose 0|Unbind 0
        UnsafeSplit 0|UnsafeView 0|Unsqueeze 0|UpsampleBilinear2D 0|UpsampleNearest2D 0|Var 0|View 0|Where 0""".replace(
            "\n", "|"
        ).split("|")
    )
)
_EMBEDDINGS = frozenset({"EmbeddingBackward0", "EmbeddingBagBackward0"})
# torch.vmap has rules for convolutions, which autograd.grad's own batching lacks; but it runs these one by one.
_BATCHES_WITHOUT_VMAP = frozenset({"ScaledDotProductFlashAttentionForCpuBackward0", "EmbeddingBagBackward0"})


@dataclass
class Split:
    """The graph of K tasks, parted into heads and a trunk.

    Attributes:
        owner: of each node, the position of the only task that reaches it, or -1 if it is shared.
        following: the edges that leave each node.
        points: where gradients enter the trunk -> the tasks whose gradients do.
        inside: tasks that start in the trunk: where, and with what gradient.
        own: where tasks start that do not: the place among the outputs of the task, and the task.
        entries: own nodes with an edge into the trunk: the node, its task, and which inputs lead to which points.
        leaves: id of each leaf tensor -> its node.
        trunk: the shared nodes and their names, without leaves.
        head_names: names of the own nodes.
        unbatched: nodes of the trunk that K gradients at once are not known to pass, or what else forbids them.
    """

    owner: dict[Node, int]
    following: dict[Node, tuple[Edge, ...]]
    points: dict[Edge, set[int]]
    inside: list[tuple[int, Edge, Tensor]]
    own: list[tuple[int, int]]
    entries: list[tuple[Node, int, list[tuple[int, Edge]]]]
    leaves: dict[int, Node]
    trunk: list[tuple[Node, str]]
    head_names: set[str]
    unbatched: set[str]


def split(starts: Sequence[Start]) -> Split:
    """Part the graph of the tasks: one look at each node, two at shared ones."""
    edges = [start.edges for start in starts]
    owner, following = _owners(edges)
    points: dict[Edge, set[int]] = {}
    entries = []
    leaves: dict[int, Node] = {}
    trunk: list[tuple[Node, str]] = []
    head_names: set[str] = set()
    for node, task in owner.items():
        name = type(node).__name__
        if name == _LEAF:
            leaves[id(node.variable)] = node
            continue
        if name in _EMBEDDINGS and node._saved_sparse:
            name = "a sparse embedding"
        if task == _SHARED:
            trunk.append((node, name))
        else:
            head_names.add(name)
            entering = [
                (i, edge) for i, edge in enumerate(following[node]) if edge[0] is not None and owner[edge[0]] == _SHARED
            ]
            if entering:
                entries.append((node, task, entering))
                for _, edge in entering:
                    points.setdefault(edge, set()).add(task)
    unbatched = {name for _, name in trunk} - _BATCHES - _BATCHES_WITHOUT_VMAP
    inside, own = [], []
    for task, (start, of_task) in enumerate(zip(starts, edges, strict=True)):
        for place, edge in enumerate(of_task):
            if owner[edge[0]] != _SHARED:
                own.append((place, task))
            elif start.gradients is None:
                unbatched.add("one loss is made from another")
            else:
                inside.append((task, edge, start.gradients[place]))
                points.setdefault(edge, set()).add(task)
    return Split(owner, following, points, inside, own, entries, leaves, trunk, head_names, unbatched)


def chosen(starts: Sequence[Start], parameters: Sequence[Tensor], how: str) -> Callable[[bool], list[Row]] | None:
    """The batched pass for this graph, or None where one pass a task is as fast or the only way.

    Args:
        how: "auto", or "batched" to leave the sizes out of account.

    Returns:
        A function of ``retain_graph`` that gives a row for each task.

    Raises:
        ValueError: ``how`` is "batched" and the graph has no such way.
    """
    forced = how == "batched"
    hooked = any(p._backward_hooks or not p.is_leaf for p in parameters)
    if len(starts) < 2 or hooked or any(node is None for start in starts for node, _ in start.edges):
        if forced:
            raise _cannot("there is one task, a parameter has a hook, or a loss is a leaf")
        return None
    parts = split(starts)
    below = {} if parts.unbatched else _below(parts)
    if not any(parts.leaves.get(id(p)) in below for p in parameters):
        if forced:
            raise _cannot(", ".join(sorted(parts.unbatched)) or "no parameter lies behind one shared representation")
        return None
    names = {name for _, name in parts.trunk}
    convolved = _CONVOLUTION in names and names.isdisjoint(_BATCHES_WITHOUT_VMAP)
    if not forced:
        most = (MOST_CONVOLVED if convolved else MOST_OUTPUTS)[len(starts) >= MANY_TASKS]
        if sum(_size((node, 0)) for node, name in parts.trunk if name in _PRODUCTS) > most * len(parts.trunk):
            return None
    entering = len(starts) * sum(map(_size, parts.points))
    if (
        not convolved
        and len(starts) <= MANY_TASKS
        and entering <= MOST_ENTERING
        and parts.head_names <= _BATCHES | _BATCHES_WITHOUT_VMAP
    ):
        return lambda keep: _through_all(starts, parameters, parts, below, keep)
    return lambda keep: _through_trunk(starts, parameters, parts, below, keep, convolved)


def _cannot(reason: str) -> ValueError:
    return ValueError(f'how="batched" cannot be done here ({reason}); use "auto" or "loop"')


def _size(edge: Edge) -> int:
    node, output = edge
    return prod(node._input_metadata[output].shape)


def _owners(starts: Sequence[Sequence[Edge]]) -> tuple[dict[Node, int], dict[Node, tuple[Edge, ...]]]:
    """The only task that reaches each node, or -1; and the edges from each node, which are slow to ask for twice."""
    owner: dict[Node, int] = {}
    following: dict[Node, tuple[Edge, ...]] = {}
    for task, edges_of_task in enumerate(starts):
        waiting: list[Node] = [node for node, _ in edges_of_task]
        while waiting:
            node = waiting.pop()
            known = owner.get(node)
            if known is None:
                owner[node] = task
                edges = following[node] = node.next_functions
            elif known in (task, _SHARED):
                continue
            else:
                owner[node] = _SHARED
                edges = following[node]
            for after, _ in edges:
                if after is not None and owner.get(after) not in (task, _SHARED):
                    waiting.append(after)
    return owner, following


def _below(parts: Split) -> dict[Node, set[int]]:
    """Leaves of the trunk -> the tasks that reach them; empty if a point lies behind another or is a leaf itself."""
    found: dict[Node, set[int]] = {}
    starts: dict[Node, set[int]] = {}
    for (node, _), tasks in parts.points.items():
        starts.setdefault(node, set()).update(tasks)
    for start, tasks in starts.items():
        if type(start).__name__ == _LEAF:
            return {}
        seen = {start}
        waiting = [start]
        while waiting:
            node = waiting.pop()
            for after, _ in parts.following[node]:
                if after is not None and after not in seen:
                    if after in starts:
                        return {}
                    seen.add(after)
                    waiting.append(after)
                    if type(after).__name__ == _LEAF:
                        found.setdefault(after, set()).update(tasks)
    return found


def _through_all(
    starts: Sequence[Start], parameters: Sequence[Tensor], parts: Split, below: dict[Node, set[int]], keep: bool
) -> list[Row]:
    """One pass from the starts to the parameters, with K gradients at once."""
    reached = [(i, p, parts.leaves[id(p)]) for i, p in enumerate(parameters) if id(p) in parts.leaves]
    outputs, entering = _at_once(starts)
    found = torch.autograd.grad(
        outputs, [p for _, p, _ in reached], entering, is_grads_batched=True, retain_graph=keep, allow_unused=True
    )
    rows: list[Row] = [[None] * len(parameters) for _ in starts]
    for (i, _, node), gradients in zip(reached, found, strict=True):
        own = parts.owner[node]
        _share_out(rows, i, gradients, below[node] if own == _SHARED else {own})
    return rows


def _at_once(starts: Sequence[Start]) -> tuple[list[Any], list[Tensor]]:
    """All outputs, and for each the gradients of the K tasks that enter there."""
    losses = [o for start in starts if start.gradients is None for o in start.outputs if isinstance(o, Tensor)]
    if len(losses) == len(starts) == sum(len(start.outputs) for start in starts):
        with torch.enable_grad():
            stacked = torch.stack([loss if loss.dim() == 0 else loss.reshape(()) for loss in losses])
        return [stacked], [torch.eye(len(losses), dtype=stacked.dtype, device=stacked.device)]
    outputs: list[Any] = []
    entering: list[Tensor] = []
    for task, start in enumerate(starts):
        for output, gradient in zip(start.outputs, _gradients(start), strict=True):
            outputs.append(output)
            entering.append(gradient.new_zeros(len(starts), *gradient.shape))
            entering[-1][task] = gradient
    return outputs, entering


def _gradients(start: Start) -> Sequence[Tensor]:
    if start.gradients is not None:
        return start.gradients
    return [torch.ones_like(output) for output in start.outputs if isinstance(output, Tensor)]


def _through_trunk(
    starts: Sequence[Start],
    parameters: Sequence[Tensor],
    parts: Split,
    below: dict[Node, set[int]],
    keep: bool,
    convolved: bool,
) -> list[Row]:
    """One ordinary pass through all the heads, and one with K gradients at once through the trunk."""
    nodes = [parts.leaves.get(id(p)) for p in parameters]
    heads = [(i, parts.owner[node]) for i, node in enumerate(nodes) if node is not None and node not in below]
    trunk = [(i, below[node]) for i, node in enumerate(nodes) if node is not None and node in below]
    caught: dict[Edge, dict[int, Tensor]] = {edge: {} for edge in parts.points}
    handles = [node.register_hook(_catching(caught, task, entering)) for node, task, entering in parts.entries]
    rows: list[Row] = [[None] * len(parameters) for _ in starts]
    try:
        # The points are asked for too: an own node makes the gradient of an edge only if somebody wants it.
        asked: list[Any] = [*(parameters[i] for i, _ in heads), *(GradientEdge(*edge) for edge in caught)]
        given: list[Any] = [starts[task].outputs[place] for place, task in parts.own]
        into = None
        if any(start.gradients is not None for start in starts):
            into = [_gradients(starts[task])[place] for place, task in parts.own]
        found = torch.autograd.grad(given, asked, into, retain_graph=keep, allow_unused=True) if given else ()
    finally:
        for handle in handles:
            handle.remove()
    for (i, task), gradient in zip(heads, found, strict=False):
        rows[task][i] = gradient
    for task, edge, gradient in parts.inside:
        of_task = caught[edge]
        of_task[task] = of_task[task] + gradient if task in of_task else gradient
    outputs, entering = [], []
    for edge, of_task in caught.items():
        if of_task:
            zero = torch.zeros_like(next(iter(of_task.values())))
            outputs.append(GradientEdge(*edge))
            entering.append(torch.stack([of_task.get(k, zero) for k in range(len(starts))]))
    inputs = [parameters[i] for i, _ in trunk]
    at_once: Sequence[Tensor | None]
    if convolved:

        def back(*gradients: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(outputs, inputs, gradients, retain_graph=keep)

        at_once = torch.vmap(back)(*entering)
    else:
        at_once = torch.autograd.grad(
            outputs, inputs, entering, is_grads_batched=True, retain_graph=keep, allow_unused=True
        )
    for (i, tasks), gradients in zip(trunk, at_once, strict=True):
        _share_out(rows, i, gradients, tasks)
    return rows


def _share_out(rows: list[Row], position: int, gradients: Tensor | None, tasks: set[int]) -> None:
    if gradients is None:
        return
    if len(tasks) == 1:
        (task,) = tasks
        rows[task][position] = gradients[task]
        return
    for task, (row, gradient) in enumerate(zip(rows, gradients.unbind(), strict=True)):
        if task in tasks:
            row[position] = gradient


def _catching(
    caught: dict[Edge, dict[int, Tensor]], task: int, entering: list[tuple[int, Edge]]
) -> Callable[[tuple[Tensor | None, ...], Any], None]:
    """A hook that keeps what an own node of the task sends into the trunk."""

    def catch(sent: tuple[Tensor | None, ...], _: Any) -> None:
        for i, edge in entering:
            gradient = sent[i]
            if gradient is not None:
                of_task = caught[edge]
                of_task[task] = of_task[task] + gradient if task in of_task else gradient

    return catch
