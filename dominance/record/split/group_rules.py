"""A weight's gradient of each group of rows, from the gradient that enters an operator and what the operator was given.

Each rule gives (group, ...), of the form of the operator's input; None where it does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dominance.record.tasks.graph import Node, output_shape


@dataclass(frozen=True)
class OutputRows:
    """The gradient that enters an operator at each of its outputs, and whose the rows are.

    Attributes:
        gradients: None at outputs that nobody uses.
        codes: the group of each row (all dimensions but the last; all entries of a vector), -1 for rows of zeros.
        groups: how many groups there are.
    """

    gradients: Sequence[Tensor | None]
    codes: Sequence[Tensor | None]
    groups: int

    @property
    def only(self) -> tuple[Tensor, Tensor]:
        """The gradient at the first output, (row, entry), and the rows' groups."""
        gradient, codes = self.gradients[0], self.codes[0]
        assert gradient is not None
        assert codes is not None
        return gradient.reshape(codes.numel(), -1), codes.reshape(-1)

    def summed(self, rows: Tensor) -> Tensor:
        """(group, entry): sums over the rows of each group."""
        _, codes = self.only
        member = codes == torch.arange(self.groups, device=codes.device).unsqueeze(1)
        return member.to(rows.dtype) @ rows


GroupRule = Callable[[Node, OutputRows], Tensor | None]


def generic(node: Node, place: int, rows: OutputRows) -> Tensor:
    """The operator's own backward, once for each group, of that group's rows alone."""
    below = output_shape(node.next_functions[place])
    found = []
    for group in range(rows.groups):
        given = [_of(d, c, group) for d, c in zip(rows.gradients, rows.codes, strict=True)]
        made = node(*given)
        gradient = made[place] if isinstance(made, tuple) else made
        gradient = gradient.to_dense() if gradient.is_sparse else gradient
        found.append(gradient if below is None else gradient.sum_to_size(below))
    return torch.stack(found)


def _of(gradient: Tensor | None, codes: Tensor | None, group: int) -> Tensor | None:
    if gradient is None or codes is None:
        return None
    mine = codes == group
    return gradient * (mine if gradient.dim() == mine.dim() else mine.unsqueeze(-1))


def _product(given: Tensor, rows: OutputRows, factor: float) -> Tensor | None:
    """Of a matrix that ``given`` (row, input) is multiplied by: (group, input, output)."""
    gradient, codes = rows.only
    if given.dim() != 2 or given.is_complex():
        return None
    order = torch.argsort(codes, stable=True)
    ends = torch.bincount(codes + 1, minlength=rows.groups + 1).cumsum(0).tolist()
    gradient, given = gradient[order], given[order].to(gradient.dtype)
    # As the weights of a layer lie in memory: (output, input).
    found = gradient.new_empty(rows.groups, gradient.shape[1], given.shape[1])
    for group, (start, end) in enumerate(pairwise(ends)):
        torch.mm(gradient[start:end].t(), given[start:end], out=found[group])
    return (found if factor == 1 else found.mul_(factor)).transpose(1, 2)


def _added(node: Node, rows: OutputRows) -> Tensor | None:
    gradient, _ = rows.only
    if output_shape(node.next_functions[0]) != (gradient.shape[1],):
        return None
    return rows.summed(gradient) * float(node._saved_beta)


def _looked_up(node: Node, rows: OutputRows) -> Tensor | None:
    if node._saved_sparse or node._saved_scale_grad_by_freq:
        return None
    gradient, codes = rows.only
    index = node._saved_indices.reshape(-1)
    padding = node._saved_padding_idx
    size = output_shape(node.next_functions[0])
    if size is None or index.numel() != codes.numel():
        return None
    mine = (codes >= 0) & (index != (padding if padding < 2**63 else padding - 2**64))
    found = gradient.new_zeros(rows.groups * size[0], gradient.shape[1])
    found.index_add_(0, (codes * size[0] + index)[mine], gradient[mine])
    return found.view(rows.groups, *size)


def _normalised(node: Node) -> Tensor | None:
    given, mean, scale = node._saved_input, node._saved_result1, node._saved_result2
    if len(node._saved_normalized_shape) != 1:
        return None
    rows: Tensor = ((given - mean) * scale).reshape(-1, given.shape[-1])
    return rows


def _layer_norm_weight(node: Node, rows: OutputRows) -> Tensor | None:
    gradient, given = rows.only[0], _normalised(node)
    return None if given is None else rows.summed(gradient * given)


def _layer_norm_bias(node: Node, rows: OutputRows) -> Tensor | None:
    return rows.summed(rows.only[0]) if len(node._saved_normalized_shape) == 1 else None


def _convolution(place: int) -> GroupRule:
    def rule(node: Node, rows: OutputRows) -> Tensor | None:
        gradient, codes = rows.gradients[0], rows.codes[0]
        assert gradient is not None
        assert codes is not None
        images = codes.reshape(len(gradient), -1)
        groups = images.amax(1)
        if bool(((images != groups.unsqueeze(1)) & (images >= 0)).any()):
            return None  # one example holds several groups
        given, weight = node._saved_input, node._saved_weight
        mask = [False, place == 1, place == 2]
        found = []
        for group in range(rows.groups):
            mine = torch.nonzero(groups == group).flatten()
            made = torch.ops.aten.convolution_backward(
                gradient[mine], given[mine], weight, [weight.shape[0] if not node._saved_transposed else
                weight.shape[1] * node._saved_groups], node._saved_stride, node._saved_padding, node._saved_dilation,
                node._saved_transposed, node._saved_output_padding, node._saved_groups, mask,
            )  # fmt: skip
            found.append(made[place])
        return torch.stack(found)

    return rule


RULES: dict[tuple[str, int], GroupRule] = {
    ("AddmmBackward0", 0): _added,
    ("AddmmBackward0", 2): lambda node, rows: _product(node._saved_mat1, rows, node._saved_alpha),
    ("MmBackward0", 1): lambda node, rows: _product(node._saved_self, rows, 1),
    ("EmbeddingBackward0", 0): _looked_up,
    ("NativeLayerNormBackward0", 1): _layer_norm_weight,
    ("NativeLayerNormBackward0", 2): _layer_norm_bias,
    ("ConvolutionBackward0", 1): _convolution(1),
    ("ConvolutionBackward0", 2): _convolution(2),
}
"""By the name of the operator's node, and which of its inputs."""
