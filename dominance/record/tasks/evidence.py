"""Whether a term of a loss is made from data, and not from parameters alone as a regulariser is."""

from __future__ import annotations

from collections.abc import Container

import torch

from dominance.record.tasks.graph import ACCUMULATE, PRODUCTS, QUOTIENTS, SCRIPTED, Node, output_size, saved_tensor
from dominance.record.tasks.questions import question

# Reading data by index, or comparing with targets that need no gradient: no edge of the graph shows the data.
_READS_DATA = (
    "Embedding", "Index", "Gather", "NllLoss", "Ctc", "Scatter", "Take", "SparseMm", "MaskedSelect", "MaskedFill",
    "MseLoss", "L1Loss", "SmoothL1", "HuberLoss", "BinaryCrossEntropy", "KlDiv", "SoftMargin", "MultiMargin",
    "MultilabelMargin", "CrossEntropy", "Cudnn", "Miopen", "Mkldnn", "Thnn", "Lstm", "Gru", "Rnn", "Convolution",
    "Where",
)  # fmt: skip
_MATRIX_PRODUCTS = (
    "Mm",
    "Addmm",
    "Bmm",
    "Baddbmm",
    "Mv",
    "Dot",
    "Addmv",
    "Addbmm",
    "ScaledDotProduct",
    "Einsum",
    "Linear",
)


class Evidence:
    """Whether what the nodes of one graph make is made from data; asked of many nodes, it goes through the graph once.

    Evidence of data: a loss against targets, a lookup by index, a matrix product or convolution with a factor that
    needs no gradient, a product with a constant that is no scalar, a function written by the user, a part of a scripted
    network (one node, once it has run before), a leaf that is none of the parameters: an input that needs gradient, as
    for a gradient penalty.

    Args:
        parameters: their ids; None: every leaf may be one.
    """

    def __init__(self, parameters: Container[int] | None = None) -> None:
        self._parameters = parameters
        self._known: dict[Node, bool] = {}

    def __call__(self, start: Node) -> bool:
        """Whether there is any at or below a node."""
        known = self._known
        if start in known:
            return known[start]
        above: dict[Node, Node | None] = {start: None}
        stack, constants = [start], []
        while stack:
            node = stack.pop()
            found = known.get(node)
            if found is None:
                found = self._shows(node)
            if found:
                self._all_above(node, above)
                return True
            if node in known:
                continue
            name = node.name()
            lacks_input = False
            for child, _ in node.next_functions:
                if child is None:
                    lacks_input = True
                elif child not in above:
                    above[child] = node
                    stack.append(child)
            if lacks_input and (name in PRODUCTS or name in QUOTIENTS):
                constants.append(node)
        # Last, because unpacking a saved tensor can cost a recomputation where the script uses checkpointing.
        for node in constants:
            if _spread_over(node):
                self._all_above(node, above)
                return True
        known.update(dict.fromkeys(above, False))
        return False

    def _all_above(self, node: Node, above: dict[Node, Node | None]) -> None:
        here: Node | None = node
        while here is not None:
            self._known[here] = True
            here = above[here]

    def _shows(self, node: Node) -> bool:
        """Whether a node by itself is evidence, without what it has saved."""
        name = node.name()
        if name == ACCUMULATE:
            leaf = node.variable
            strange = self._parameters is not None and id(leaf) not in self._parameters
            return bool(strange and leaf.dim() >= 2 and not isinstance(leaf, torch.nn.Parameter))
        if name.startswith(_READS_DATA) or isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        if name.endswith(SCRIPTED):
            return True
        return name.startswith(_MATRIX_PRODUCTS) and any(child is None for child, _ in node.next_functions)


@question
def _spread_over(node: Node) -> bool:
    """Whether a constant makes more of what it multiplies, as a batch does; weights of a penalty fit it as they are."""
    given = [edge for edge in node.next_functions if edge[0] is not None]
    if len(given) != 1 or output_size((node, 0)) <= output_size(given[0]):
        return False
    factors = (saved_tensor(node, side) for side in ("self", "other"))
    return any(factor is not None and factor.dim() > 0 and not factor.requires_grad for factor in factors)
