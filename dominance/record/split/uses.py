"""The operators of a graph that take in a parameter, and the way from there down to the parameter itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge

from dominance.record.split.group_rules import RULES, OutputRows, generic
from dominance.record.split.row_products import ROWS
from dominance.record.tasks.graph import ACCUMULATE, SCRIPTED, Edge, Node, output_shape, walk

# Functions of one tensor that only say where its numbers are, or in which precision.
_TRANSPARENT = {
    "TBackward0", "ToCopyBackward0", "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0",
    "TransposeBackward0", "PermuteBackward0", "UnsqueezeBackward0", "SqueezeBackward0", "SqueezeBackward1",
    "ExpandBackward0", "SliceBackward0", "SelectBackward0", "CloneBackward0", "AliasBackward0", "SplitBackward0",
    "UnbindBackward0", "ChunkBackward0",
}  # fmt: skip
_LOOK_UP = "EmbeddingBackward0"
_ELEMENTWISE = {"AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0"}


@dataclass(frozen=True)
class Use:
    """An operator that takes in a parameter, or what was only made of it."""

    node: Node
    place: int
    """Which of its inputs."""


def uses_of(starts: Sequence[Node], parameters: Sequence[Tensor]) -> dict[Tensor, list[Use]]:
    """What takes in each parameter; parameters are left out that something takes in of which too little is known."""
    above: dict[Node, list[Use]] = {}
    leaves: dict[Tensor, Node] = {}
    wanted = {id(p) for p in parameters}
    for node in walk(starts):
        for place, (child, _) in enumerate(node.next_functions):
            if child is not None:
                above.setdefault(child, []).append(Use(node, place))
        if node.name() == ACCUMULATE and id(node.variable) in wanted:
            leaves[node.variable] = node
    found = {}
    for parameter, leaf in leaves.items():
        uses = _above(leaf, above)
        if uses and not any(_unknown(use.node) for use in uses):
            found[parameter] = uses
    return found


def _above(leaf: Node, above: dict[Node, list[Use]]) -> list[Use]:
    uses, stack, seen = [], [leaf], {leaf}
    while stack:
        for use in above.get(stack.pop(), ()):
            through = use.node.name() in _TRANSPARENT or _is_spread(use.node, above)
            if not through:
                uses.append(use)
            elif use.node not in seen:
                seen.add(use.node)
                stack.append(use.node)
    return uses


def _is_spread(node: Node, above: dict[Node, list[Use]]) -> bool:
    """Whether rows are looked up that all examples have alike, like embeddings of positions."""
    if node.name() != _LOOK_UP:
        return False
    shape = output_shape((node, 0))
    outer = [use.node for use in above.get(node, ())]
    return bool(outer) and all(n.name() in _ELEMENTWISE and output_shape((n, 0)) != shape for n in outer)


def _unknown(node: Node) -> bool:
    """Whether an operator may not be asked by itself."""
    if isinstance(node, BackwardCFunction) or node.name().endswith(SCRIPTED):
        return True
    raw = (getattr(node, name) for name in dir(node) if name.startswith("_raw_saved_"))
    saved = [entry for each in raw for entry in (each if isinstance(each, list | tuple) else [each])]
    return any(getattr(entry, "unpack_hook", None) is not None for entry in saved)  # a checkpoint, say


def is_by_rows(use: Use, parameter: Tensor) -> bool:
    """Whether an operator is a product of rows with the parameter itself, turned perhaps."""
    child = use.node.next_functions[use.place][0]
    while child is not None and child.name() in ("ToCopyBackward0", "TBackward0"):
        child = child.next_functions[0][0]
    known = (use.node.name(), use.place) in ROWS
    return known and child is not None and child.name() == ACCUMULATE and child.variable is parameter


def line_of(use: Use) -> list[Edge] | None:
    """From where an operator takes a parameter in down to it, one operator after the other; None where they branch."""
    found, (child, output) = [], use.node.next_functions[use.place]
    while child is not None and child.name() != ACCUMULATE:
        below = [edge for edge in child.next_functions if edge[0] is not None]
        if len(below) != 1:
            return None
        found.append((child, output))
        child, output = below[0]
    return None if child is None else found


def along(line: Sequence[Edge], gradient: Tensor) -> Tensor:
    """A gradient taken down a line of operators, one by one: no pass is made in which hooks of the script would run."""
    for node, output in line:
        given: list[Tensor | None] = [None] * len(node._input_metadata)
        given[output] = gradient
        made = node(*given)
        place = next(i for i, (child, _) in enumerate(node.next_functions) if child is not None)
        gradient = made[place] if isinstance(made, tuple) else made
    return gradient.to_dense() if gradient.is_sparse else gradient


def by_rule(use: Use, rows: OutputRows) -> Tensor:
    rule = RULES.get((use.node.name(), use.place))
    found = None if rule is None else rule(use.node, rows)
    return generic(use.node, use.place, rows) if found is None else found


def down(gradients: Tensor, use: Use, parameter: Tensor) -> Tensor:
    """From where an operator takes the parameter in down to the parameter itself."""
    child, output = use.node.next_functions[use.place]
    if child.name() == "ToCopyBackward0":
        gradients, (child, output) = gradients.to(parameter.dtype), child.next_functions[0]
    if child.name() == "TBackward0" and gradients.dim() == 3:
        gradients, (child, output) = gradients.transpose(1, 2), child.next_functions[0]
    if child.name() == "ToCopyBackward0":
        gradients, (child, output) = gradients.to(parameter.dtype), child.next_functions[0]
    if child.name() == ACCUMULATE and child.variable is parameter:
        return gradients.to(parameter.dtype)
    edge = GradientEdge(child, output)
    found = [torch.autograd.grad([edge], [parameter], [gradient], retain_graph=True)[0] for gradient in gradients]
    return torch.stack([g.to_dense() if g.is_sparse else g for g in found])
