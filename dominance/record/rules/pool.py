"""Room for temporary tensors that is used again: fresh memory costs ten times what is computed in it, page by page."""

from __future__ import annotations

import torch
from torch import Tensor


class Pool:
    """Hands out uninitialised tensors; those handed out before ``restart`` are handed out again after it.

    Args:
        reuse: False gives new tensors, for results that are to be kept.
    """

    def __init__(self, *, reuse: bool = True) -> None:
        self._reuse = reuse
        self._buffers: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        self._views: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        self._taken: dict[tuple[torch.dtype, torch.device], int] = {}
        self._largest = 0
        """The largest that was asked for since ``trim``."""

    def restart(self) -> None:
        """Let everything that was handed out be overwritten."""
        self._taken.clear()

    def trim(self) -> None:
        """Let go of what is more than twice as large as anything asked for since the last call: a step has become one
        of tiles, or of kept coordinates."""
        for key, buffers in self._buffers.items():
            if any(buffer.numel() > 2 * self._largest for buffer in buffers):
                del buffers[:], self._views[key][:]
        self._taken.clear()
        self._largest = 0

    def take(self, like: Tensor) -> Tensor:
        """An uninitialised tensor of the shape, strides, dtype and device of ``like``."""
        if not self._reuse or type(like) is not Tensor:
            return torch.empty_like(like)
        key = (like.dtype, like.device)
        buffers = self._buffers.setdefault(key, [])
        index = self._taken.get(key, 0)
        self._taken[key] = index + 1
        self._largest = max(self._largest, like.numel())
        if index == len(buffers):
            buffers.append(like.new_empty(like.numel()))
            self._views.setdefault(key, []).append(buffers[index])
        elif buffers[index].numel() < like.numel():
            buffers[index] = like.new_empty(like.numel())
        views = self._views[key]
        if views[index].shape != like.shape or views[index].stride() != like.stride():
            views[index] = _laid(buffers[index][: like.numel()], like)
        return views[index]


def _laid(room: Tensor, like: Tensor) -> Tensor:
    """A view with the shape of another tensor, and with its strides where these leave no gaps."""
    if like.is_contiguous():
        return room.view(like.shape)
    return room.as_strided(like.shape, torch.empty_like(like, device="meta").stride())
