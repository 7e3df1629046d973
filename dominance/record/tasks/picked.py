"""What the script takes gradients of: losses, or entries of a vector of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dominance.record.tasks.weights import Root

_LOSSES = 32
"""Entries of a vector that was not stacked from scalars which are still taken for losses, not for samples."""


def picked(roots: Sequence[Root]) -> list[Root]:
    """What a row starts from: without the outputs that it leaves out, and the one loss that it takes of a vector."""
    chosen = [root for root in roots if bool(root.gradient.any())]
    return [_entry(root) for root in chosen]


def may_be_losses(roots: Sequence[Root]) -> bool:
    """Whether these outputs are losses, or a vector of some, and not what a model puts out."""
    for root in roots:
        if root.gradient.dim() > 1:
            return False
        if root.gradient.numel() > _LOSSES and root.edge[0].name() not in ("StackBackward0", "CatBackward0"):
            return False
    return True


def _entry(root: Root) -> Root:
    tensor, gradient = root.tensor, root.gradient
    if tensor is None or gradient.dim() != 1 or gradient.numel() < 2 or int(gradient.count_nonzero()) != 1:
        return root
    place = int(gradient.nonzero())
    with torch.enable_grad():
        entry = tensor[place]
    return Root((entry.grad_fn, 0), gradient[place], entry)
