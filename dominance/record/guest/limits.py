"""Where a pass of our own could change the training, none is made: the kinds, and how they show in the graph."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from dominance.record.guest.forward_hooks import forward_hooks, may_be_left_out
from dominance.record.guest.repeatable import Effect, effect, filled, trusted
from dominance.record.guest.sharded import cannot_gather
from dominance.record.sharded_models import groups_of, refusal
from dominance.record.tasks.graph import ACCUMULATE, Node, walk


class CannotLook(Exception):
    """This backward() goes unrecorded, because a pass of our own through its graph might change it.

    Args:
        reason: why, as it follows "not recorded: ".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def look_at(nodes: Iterable[Node], modules: Iterable[nn.Module] = ()) -> tuple[list[Node], bool]:
    """Make sure that a pass through the graph below ``nodes`` changes nothing, before the first is made.

    Nothing is unpacked: a saved tensor is asked for its hook only. Where a region is to be computed again, the forward
    hooks of the ``modules`` run once more as well.

    Returns:
        Functions of the script whose code does not show that a further call leaves what they saved alone: to be made in
        ``unaltered``. And whether there is any function that does not come with torch.

    Raises:
        CannotLook: a pass could not be repeated, or would leave a trace.
    """
    doubtful: list[Node] = []
    hooks: set[Any] = set()
    recomputed = functions = False
    for node in walk(nodes):
        recomputed = recomputed or node.name() == "CheckpointFunctionBackward"
        if isinstance(node, BackwardCFunction):
            functions |= _function(node, doubtful)
        elif node.name() == ACCUMULATE and is_dtensor(node.variable):
            raise CannotLook(_DTENSOR)
        kind: Any = type(node)
        for name in _raw_saved(kind):
            hooks |= _unpack_hooks(node, name)
    for hook in hooks:
        _unpacking(hook)
    if recomputed or any(hook.__module__ == "torch.utils.checkpoint" for hook in hooks if trusted(hook)):
        _forward_hooks(modules)
    return doubtful, functions


def _forward_hooks(modules: Iterable[nn.Module]) -> None:
    for layer, hook in forward_hooks(modules):
        if effect(hook) is not Effect.NONE and not may_be_left_out(hook):
            name = getattr(hook, "__qualname__", type(hook).__qualname__)
            raise CannotLook(
                f"a checkpoint computes {layer} again, and its forward hook {name} may not be called once more"
            )


def _function(node: Any, doubtful: list[Node]) -> bool:
    """Whether it does not come with torch."""
    function = node._forward_cls
    if trusted(function):
        _of_torch(node, function)
        return False
    backward = function.vjp if function.backward is torch.autograd.Function.backward else function.backward
    what = effect(backward)
    if what is Effect.SURE:
        raise CannotLook(f"the backward of {function.__name__} changes something that a second pass would meet changed")
    if what is Effect.UNKNOWN:
        doubtful.append(node)
    return True


def _of_torch(node: Any, function: Any) -> None:
    if function.__module__.startswith("torch.distributed.fsdp."):
        group = getattr(node, "param_group", None)
        if (reason := _FSDP2 if group is None else cannot_gather([group])) is not None:
            raise CannotLook(reason)
    if function.__name__ == "_DDPSink":
        parallel = node.ddp_weakref()
        if parallel is not None and parallel.static_graph and not parallel._static_graph_delay_allreduce_enqueued:
            raise CannotLook(
                "DistributedDataParallel(static_graph=True) learns the graph in its first backward(), and takes any "
                "pass for it"
            )
    metadata = getattr(function, "metadata", None)
    if getattr(metadata, "bw_donated_idxs", None):
        raise CannotLook(
            "a compiled backward pass gives its buffers away and can run once only: it was compiled before the "
            "recording began, or with donated_buffer=True"
        )


@functools.cache
def _raw_saved(kind: Any) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


def _unpack_hooks(node: Any, name: str) -> set[Any]:
    try:
        saved = getattr(node, name)
    except RuntimeError:
        # Freed: the script's own pass says so, if it comes this way.
        return set()
    entries = saved if isinstance(saved, list | tuple) else [saved]
    found = {getattr(entry, "unpack_hook", None) for entry in entries}
    return found - {None}


def _unpacking(hook: Any) -> None:
    """A hook that brings back what a node saved, and would be called once more for each of our passes."""
    if trusted(hook):
        if _once_only(hook):
            raise CannotLook("selective activation checkpointing lets a region be gone through once only")
    elif effect(hook) is not Effect.NONE:
        name = getattr(hook, "__qualname__", type(hook).__qualname__)
        raise CannotLook(f"saved tensors are brought back by {name}, which may not be called once more than it is now")


def _once_only(hook: Any) -> bool:
    """Whether it recomputes a region of a checkpoint inside a context of the script's, as a selective one does."""
    for inner in _closure(hook).values():
        if callable(inner) and getattr(inner, "__name__", "") == "unpack_hook" and _once_only(inner):
            return True
    frame = _closure(hook).get("frame")
    context = _closure(getattr(frame, "recompute_fn", None)).get("recompute_context")
    return context is not None and type(context).__name__ != "nullcontext"


def _closure(function: Any) -> dict[str, Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if filled(cell)}


@contextmanager
def unaltered(nodes: Iterable[Node]) -> Iterator[None]:
    """Put back what passes inside have changed of the tensors that these nodes keep.

    Raises:
        CannotLook: something had changed.
    """
    kept: list[tuple[Node, Tensor, Tensor]] = []
    attributes = [(node, dict(node.__dict__)) for node in nodes]
    for node, held in attributes:
        for tensor in (*node.saved_tensors, *_tensors(held.values())):
            kept.append((node, tensor.detach(), tensor.detach().clone()))
    try:
        yield
    finally:
        changed: set[str] = set()
        for node, held in attributes:
            if not _same(node.__dict__, held):
                changed.add(node._forward_cls.__name__)
                node.__dict__.clear()
                node.__dict__.update(held)
        for node, tensor, before in kept:
            if not torch.equal(tensor, before) and not torch.equal(_bits(tensor), _bits(before)):
                changed.add(node._forward_cls.__name__)
                tensor.data.copy_(before)
    if changed:
        raise CannotLook(f"the backward of {', '.join(sorted(changed))} changes what it saved: it can run once only")


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return now.keys() == before.keys() and all(now[name] is before[name] for name in before)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


_FSDP2 = "the model is sharded by FSDP2 (fully_shard), whose training is left alone"
_FSDP1 = "the model is sharded by FullyShardedDataParallel, whose training is left alone"
_DTENSOR = "parameters are DTensors, spread over processes by tensor parallelism or FSDP2: left alone"


def unrecordable(parameters: Iterable[Tensor], modules: Iterable[nn.Module] = ()) -> str | None:
    """Why nothing of a training can be recorded, in one sentence; None: it can. To be asked before the first pass.

    Args:
        parameters: those that the loss reaches, and those that the optimizer steps.
        modules: the models.
    """
    inside = [inner for module in modules for inner in module.modules()]
    kinds = {kind.__name__ for inner in inside for kind in type(inner).__mro__}
    if "FSDPModule" in kinds:
        groups = groups_of(inside)
        reason = refusal([held for group in groups for held in group.fsdp_params]) if groups else _FSDP2
        if reason is not None:
            return reason
    if "FullyShardedDataParallel" in kinds:
        return _FSDP1
    return _DTENSOR if any(map(is_dtensor, parameters)) else None


def is_dtensor(parameter: Tensor) -> bool:
    """Whether it is one shard of a tensor that several processes share."""
    return "DTensor" in (type(parameter).__name__, type(parameter.data).__name__)
