"""Processes that record one training together talk over connections of their own.

The script's own collectives keep their order and their numbering: nothing of ``torch.distributed``'s groups is used but
the store by which the processes find each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_FRAME = 1024
"""Bytes that every process sends at once; longer messages take a second round."""

_BUCKET = 1 << 25
"""Bytes of gradients that are reduced in one go: this much memory is needed besides."""

_CONNECT = timedelta(seconds=60)


class Lost(Exception):
    """The processes cannot record together any more."""


class Group:
    """Some processes that record one training. Every method is called by all of them, in the same order.

    Args:
        store: by which they find each other; of this group alone.
        rank: the number of this process among them.
        size: how many they are.
        timeout: how long one waits for the others before it goes on alone, unrecorded.

    Raises:
        Lost: they do not find each other.
    """

    def __init__(self, store: Any, rank: int, size: int, timeout: timedelta) -> None:
        self.rank = rank
        self.size = size
        try:
            self._of_gloo: Any = dist.ProcessGroupGloo(store, rank, size, min(timeout, _CONNECT))
            self._of_gloo._set_default_timeout(timeout)
        except (RuntimeError, AttributeError) as error:
            raise Lost(f"processes that train together cannot reach each other: {_first_line(error)}") from error

    def gather(self, told: Any) -> list[Any]:
        """What each of them tells, by rank: numbers, strings, lists and dicts of them.

        Raises:
            Lost: one of them is gone, or does not come.
        """
        message = json.dumps(told).encode()
        short = self._gathered(message[: _FRAME - 8], len(message), _FRAME - 8)
        longest = max(length for length, _ in short)
        parts = short if longest <= _FRAME - 8 else self._gathered(message, len(message), longest)
        return [json.loads(data[:length]) for length, data in parts]

    def _gathered(self, message: bytes, length: int, room: int) -> list[tuple[int, bytes]]:
        frame = torch.frombuffer(
            bytearray(length.to_bytes(8, "little") + message.ljust(room, b"\0")), dtype=torch.uint8
        )
        frames = [torch.empty_like(frame) for _ in range(self.size)]
        self._wait(lambda: self._of_gloo.allgather([frames], [frame]))
        found = [bytes(each.numpy()) for each in frames]
        return [(int.from_bytes(each[:8], "little"), each[8:]) for each in found]

    def mean(self, tensors: Sequence[Tensor], count: int) -> list[Tensor]:
        """The sums of these over the processes, divided by ``count``: new tensors, of the same shapes and kinds.

        Raises:
            Lost: one of them is gone, or does not come.
        """
        found: list[Tensor] = []
        for bucket in _buckets(tensors):
            flat = torch.cat([each.reshape(-1) for each in bucket]).cpu()
            self._wait(lambda flat=flat: self._of_gloo.allreduce([flat]))
            flat = flat.div_(count).to(bucket[0].device)
            pieces = torch.split(flat, [each.numel() for each in bucket])
            found += [piece.view(each.shape) for piece, each in zip(pieces, bucket, strict=True)]
        return found

    def _wait(self, start: Any) -> None:
        try:
            start().wait()
        except RuntimeError as error:
            raise Lost(f"another process of the training ended, or stopped recording ({_first_line(error)})") from error

    def close(self) -> None:
        """Talk no more; whoever waits for this process hears of it at once."""
        of_gloo, self._of_gloo = self._of_gloo, None
        if of_gloo is not None:
            of_gloo.abort()


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in order, those of one kind that follow each other together."""
    buckets: list[list[Tensor]] = []
    room = 0
    for each in tensors:
        alike = buckets and buckets[-1][0].dtype == each.dtype and buckets[-1][0].device == each.device
        if not alike or each.nbytes > room:
            buckets.append([])
            room = _BUCKET
        buckets[-1].append(each)
        room -= each.nbytes
    return buckets


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
