"""What a pass of the script starts from, and what it reaches."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dominance.record.graph import edge_of, leaves, walk
from dominance.record.weights import Root


def roots_of(outputs: Sequence[Any], gradients: Sequence[Any]) -> list[Root]:
    """What a backward() is called on."""
    return [
        Root(edge_of(output), torch.ones_like(output) if gradient is None else gradient.detach(), output)
        for output, gradient in zip(outputs, gradients, strict=True)
        if isinstance(output, Tensor) and output.requires_grad and output.grad_fn is not None
    ]


def reached_by(roots: Sequence[Root]) -> list[Tensor]:
    """The leaf tensors that a pass from these roots reaches."""
    return leaves([root.edge[0] for root in roots])


def in_checkpoints(roots: Sequence[Root]) -> list[Tensor]:
    """What modules train inside checkpoints of the old kind: their graph is made in the backward pass, and reaches it
    then."""
    functions = [getattr(node, "run_function", None) for node in walk([root.edge[0] for root in roots])]
    modules = [module for function in functions for module in _modules_of(function)]
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def _modules_of(function: Any) -> Iterator[nn.Module]:
    """The module that a function is, is a method of, or holds in what it closes over."""
    if isinstance(function, nn.Module):
        yield function
    elif isinstance(function, functools.partial):
        for part in (function.func, *function.args, *function.keywords.values()):
            yield from _modules_of(part)
    elif isinstance(owner := getattr(function, "__self__", None), nn.Module):
        yield owner
    else:
        cells = getattr(function, "__closure__", None) or ()
        yield from (cell.cell_contents for cell in cells if isinstance(_content(cell), nn.Module))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
