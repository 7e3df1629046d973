"""Tasks that the user names with ``observe``: losses, of which one may hold others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from dominance.record.tasks.found import Found, FoundTask, WeightedTerms, tasks_of
from dominance.record.tasks.graph import Edge, edge_of, positions_above
from dominance.record.tasks.grouped import reaches_past
from dominance.record.tasks.weights import Root, exact_weights, exact_weights_of_all


def found_of_observed(
    roots: Sequence[Root],
    parameters: set[int],
    observed: Mapping[str, Tensor],
    root_name: str | None,
) -> Found:
    """The tasks that the user named, each counted once.

    Args:
        roots: the outputs that backward() was called on.
        parameters: ids of the parameters that can get a gradient from the call.
        observed: task name -> loss, as the user told with ``observe``.
        root_name: what the script calls the loss.
    """
    labels, edges = list(observed), [edge_of(loss) for loss in observed.values()]
    above = positions_above(edges)
    words, tasks = [], []
    # A sum that was named beside what it is made of is what is left of it without them.
    sums = {upper for each in above for upper in each}
    spare = {
        i
        for i in sums
        if not reaches_past(edges[i], {edges[j] for j in range(len(edges)) if i in above[j]}, parameters)
    }
    for i in sorted(spare):
        inside = ", ".join(labels[j] for j in range(len(edges)) if i in above[j])
        words.append(f"{labels[i]} is the sum of {inside}, and no task beside them")
    kept = [i for i in range(len(edges)) if i not in spare]
    full = exact_weights_of_all(roots, [edges[i] for i in kept])
    for i, weight in zip(kept, full, strict=True):
        if weight is None:
            continue
        (task,) = tasks_of([WeightedTerms(labels[i], [edges[i]], [weight], [observed[labels[i]].detach()])])
        within = [j for j in kept if i in above[j]]
        if within:
            words.append(f"{labels[i]} holds {', '.join(labels[j] for j in within)}: it stands for the rest of it")
            _take_out(task, [edges[j] for j in within], [observed[labels[j]].detach() for j in within])
        tasks.append(task)
    return Found(root_name or "loss", tasks, [], words=words)


def _take_out(task: FoundTask, edges: list[Edge], values: list[Tensor]) -> None:
    """Leave in a task what of its loss is not made of these others."""
    own = Root(task.edges[0], task.gradients[0], None)
    for edge, value, weight in zip(edges, values, exact_weights([own], edges), strict=True):
        if weight is not None:
            task.edges.append(edge)
            task.gradients.append(-weight)
            if task.weight:
                task.loss -= float((weight.double() * value.double()).sum()) / task.weight
