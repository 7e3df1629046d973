"""Graphs whose backward pass talks to other processes, as with SyncBatchNorm or a gather over all batches.

Each pass of our own through such a graph talks as well. All processes have to make the same ones, or none.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from types import CodeType
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

from dominance.record.group import Group
from dominance.record.guest.limits import CannotLook
from dominance.record.tasks.graph import Node, walk

_COLLECTIVES = {
    "all_reduce", "all_gather", "all_gather_into_tensor", "reduce_scatter", "reduce_scatter_tensor", "all_to_all",
    "all_to_all_single", "broadcast", "reduce", "send", "recv", "isend", "irecv", "batch_isend_irecv",
}  # fmt: skip


class Meeting:
    """All processes of a training, before they make passes of their own through a graph that talks.

    Args:
        group: the processes.
        name: the function that talks.
        graph: what their graphs have to have in common, so that they make the same passes.
    """

    def __init__(self, group: Group, name: str, graph: int) -> None:
        self._group: Group | None = group
        self._name = name
        self._graph = graph

    def hold(self, *, looks: bool) -> None:
        """Make sure that all of them are about to make the same passes. Once; then it does nothing.

        Args:
            looks: whether this process is about to make any.

        Raises:
            CannotLook: they would not make the same.
        """
        group, self._group = self._group, None
        if group is None:
            return
        everyone = group.gather({"looks": looks, "graph": self._graph})
        if not all(each["looks"] for each in everyone) or any(each["graph"] != self._graph for each in everyone):
            raise CannotLook(f"{self._name} talks to other processes in its backward, and their graphs are not alike")


def meeting_for(nodes: Collection[Node], group: Group | None, gathers: str | None = None) -> Meeting | None:
    """The meeting that passes through the graph below ``nodes`` need; None where nothing in it talks.

    Args:
        nodes: where they start.
        group: the processes, where all of them are known to record.
        gathers: what is gathered from all processes for the passes; None: nothing.

    Raises:
        CannotLook: something talks, and not all of the processes are known to record.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    name = next(_talking(nodes), None) if torch.distributed.get_world_size() > 1 else None
    if name is None:
        return None if gathers is None or group is None else Meeting(group, "FSDP2", zlib.crc32(gathers.encode()))
    if group is None:
        raise CannotLook(f"{name} talks to other processes in its backward, and would in a pass of the recorder")
    graph = zlib.crc32(" ".join((gathers or "", *(node.name() for node in walk(nodes)))).encode())
    return Meeting(group, name, graph)


def _talking(nodes: Collection[Node]) -> Iterator[str]:
    for node in walk(nodes):
        if isinstance(node, BackwardCFunction):
            function: Any = node._forward_cls  # type: ignore[attr-defined]
            if _talks(function):
                yield function.__name__
        elif "c10d" in node.name().lower():
            yield node.name()


def _talks(function: Any) -> bool:
    if function.__module__.startswith("torch.distributed.fsdp."):
        return False  # it is kept quiet in a pass of ours
    if function.__module__.startswith("torch."):
        return bool(function.__module__.startswith("torch.distributed.") or function.__name__ == "SyncBatchNorm")
    backward = function.vjp if function.backward is torch.autograd.Function.backward else function.backward
    code = getattr(backward, "__code__", None)
    return isinstance(code, CodeType) and bool(_names(code) & _COLLECTIVES)


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))
