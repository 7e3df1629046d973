"""What a loss counts for in what backward() is called on: the derivative of the one by the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.tasks.graph import Edge, positions_above


@dataclass
class Root:
    """What backward() was called on: one edge, its incoming gradient, and the tensor if it is known."""

    edge: Edge
    gradient: Tensor
    tensor: Tensor | None


def picks(root: Root) -> bool:
    """Whether a root takes entries out of a vector."""
    return bool(root.edge[0].name().startswith(("Select", "Unbind", "Split", "Slice", "Index")))


def exact_weights(
    roots: Sequence[Root], edges: Sequence[Edge], above: Sequence[frozenset[int]] | None = None
) -> list[Tensor | None]:
    """Derivative of the roots by each edge, through the linear top of the graph alone; None for an edge not reached.

    Where one edge lies below another, the paths that pass through the upper one count there, and there alone.

    Args:
        roots: what backward() is called on.
        edges: the terms.
        above: ``positions_above`` of them, where it is known.
    """
    if not edges:
        return []
    full = _derivatives([root.edge for root in roots], [root.gradient for root in roots], edges)
    above = positions_above(edges) if above is None else above
    direct: list[Tensor | None] = list(full)
    for position in sorted(range(len(edges)), key=lambda i: len(above[i])):
        weight = full[position]
        for upper in above[position]:
            through = direct[upper]
            if weight is None or through is None:
                continue
            (part,) = _derivatives([edges[upper]], [through], [edges[position]])
            weight = weight if part is None else weight - part
        whole = full[position]
        if above[position] and weight is not None and whole is not None:
            rounding = 8 * torch.finfo(weight.dtype).eps * whole.detach().abs().max()
            weight = None if bool((weight.detach().abs() <= rounding).all()) else weight
        direct[position] = weight
    return direct


def _derivatives(outputs: Sequence[Edge], gradients: Sequence[Tensor], edges: Sequence[Edge]) -> list[Tensor | None]:
    known: Mapping[Edge, Tensor] = dict(zip(outputs, gradients, strict=True))
    inputs = [edge for edge in edges if edge not in known]
    weights: dict[Edge, Tensor | None] = dict(known)
    if inputs:
        found = torch.autograd.grad(
            [GradientEdge(*edge) for edge in outputs],
            [GradientEdge(*edge) for edge in inputs],
            list(gradients),
            retain_graph=True,
            allow_unused=True,
        )
        weights |= dict(zip(inputs, found, strict=True))
    return [weights[edge] for edge in edges]


def exact_weights_of_all(roots: Sequence[Root], edges: Sequence[Edge]) -> list[Tensor | None]:
    """As ``exact_weights``, each edge on its own: what one holds of another counts in both."""
    return [exact_weights(roots, [edge])[0] for edge in edges]
