"""How the rows of operators follow the examples: seen once, it need not be asked of each step of the same graph."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.tasks.graph import Edge, Node, output_shape, walk

_SEEN = 2
"""Steps of a graph after which its rows are taken to lie as they did."""
_AGAIN = 10
"""One step in so many is looked at all the same."""

_MODES = ("_saved_training", "_saved_train")
"""What BatchNorm keeps of whether it normalises over the batch."""

FIRST, LAST = "first", "last"
"""Rows follow each other example by example; or, as where the sequence comes first, one of each example in turn."""


@dataclass
class ExampleGroups:
    """The group of each entry of the first dimension of the tensor that is split, -1 where it has none."""

    codes: Tensor
    block: int
    """So many neighbours are of one group at least, as tokens of one example are that are laid flat."""


@dataclass
class _Seen:
    lies: tuple[str, ...]
    block: int
    times: int = 1


@dataclass
class Layouts:
    """The graphs whose operators' rows have been seen to be of one group each, and how they lie there."""

    _seen: dict[Hashable, _Seen] = field(default_factory=dict)

    def known(self, graph: Hashable, owners: ExampleGroups | None) -> tuple[str, ...] | None:
        """How rows lie at each place that was looked at; None where it is to be looked at again.

        What mixes examples is an operator of the graph, and is there in each step or is seen by the graph's form.
        Tokens laid flat may be of several groups in one example all of a sudden, which attention then mixes.
        """
        seen = self._seen.get(graph)
        if seen is None or owners is None or owners.block % seen.block:
            return None
        seen.times += 1
        return seen.lies if seen.times > _SEEN and seen.times % _AGAIN else None

    def saw(self, graph: Hashable, owners: ExampleGroups | None, codes: Sequence[Tensor | None]) -> None:
        """Rows were of one group each at all places, and of these groups."""
        lies = None if owners is None else [_lies(each, owners.codes) for each in codes]
        if owners is None or lies is None or not all(lies) or len(torch.unique(owners.codes)) < 2:
            self._seen.pop(graph, None)
            return
        before = self._seen.get(graph)
        if before is None or before.lies != tuple(lies):
            self._seen[graph] = _Seen(tuple(lies), owners.block)
        else:
            before.block = math.gcd(before.block, owners.block)


def form_of(starts: Sequence[Node], places: Sequence[Edge]) -> Hashable:
    """What a graph has in common with those of other steps of the same model."""
    nodes = list(walk(starts))
    at = {node: number for number, node in enumerate(nodes)}
    return (
        tuple(
            (node.name(), output_shape((node, 0)), *(getattr(node, name, None) for name in _MODES)) for node in nodes
        ),
        tuple((at[node], output) for node, output in places),
    )


def owners_of(starts: Sequence[Sequence[Tensor]]) -> ExampleGroups | None:
    """Of the gradients of each group at one tensor; None where entries of the first dimension are of several groups.

    Args:
        starts: at each tensor that is split, the gradient of each group.
    """
    if len(starts) != 1 or starts[0][0].dim() == 0:
        return None
    gradients = starts[0]
    member = torch.stack([(each != 0).reshape(len(each), -1).any(1) for each in gradients])
    if bool((member.sum(0) > 1).any()):
        return None
    codes = torch.where(member.any(0), member.int().argmax(0), -1)
    if gradients[0].dim() < 3 and bool((codes < 0).any()):
        return None  # rows may be tokens: of which example those without a group are is not seen
    changes = (torch.nonzero(codes[1:] != codes[:-1]).flatten() + 1).tolist()
    return ExampleGroups(codes, math.gcd(len(codes), *changes))


def laid_out(shape: Sequence[int], owners: ExampleGroups, lies: str) -> Tensor:
    """The group of each row of a tensor of rows, as they lie."""
    each = math.prod(shape) // len(owners.codes)
    codes = owners.codes.repeat_interleave(each) if lies == FIRST else owners.codes.repeat(each)
    return codes.reshape(*shape)


def _lies(codes: Tensor | None, owners: Tensor) -> str:
    """How these rows follow the examples; "" where they do not."""
    if codes is None:
        return FIRST  # nobody uses it
    if codes.numel() % len(owners) or not bool((codes >= 0).any()):
        return ""
    for lies, laid in ((FIRST, codes.reshape(len(owners), -1)), (LAST, codes.reshape(-1, len(owners)).T)):
        if bool(((laid == owners.unsqueeze(1)) | (laid < 0)).all()):
            return lies
    return ""
