"""Models that FSDP2 has sharded: each process has a piece of every parameter, and the whole of it only in passes.

Three tensors stand for one parameter: the DTensor that the script's optimizer steps, the whole one that lies in the
graph and whose memory comes and goes, and the plain tensor that this process has of the first. The last, a ``Piece``,
is what is recorded; what is asked of the others is translated here.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.record.live_objects import anywhere

_FSDP = "torch.distributed.fsdp"

_OF_PARTS = "of which only whole parameters, sharded by rows over all processes of the training, are recorded"


class Piece(nn.Parameter):
    """What this process has of a sharded parameter. It shares the memory of the script's own."""

    of: weakref.ref[Any]
    """What FSDP2 knows of the parameter."""
    whole: tuple[int, ...]
    """Shape of the parameter."""
    start: int
    """Where the piece begins in it, of its numbers in a row."""


_known: dict[int, weakref.ref[Any]] = {}
"""By the ids of the sharded and of the whole parameter."""
_plain: dict[int, weakref.ref[Tensor]] = {}
"""Parameters that no sharded model was found to have: looking through the program takes its time."""
_pieces: weakref.WeakKeyDictionary[Any, Piece] = weakref.WeakKeyDictionary()
_views: weakref.WeakKeyDictionary[Optimizer, Optimizer] = weakref.WeakKeyDictionary()


def whole_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of the parameter that this is, or is a piece of."""
    return tensor.whole if isinstance(tensor, Piece) else tuple(tensor.shape)


def whole_size(tensor: Tensor) -> int:
    """How many numbers it has."""
    size = 1
    for length in whole_shape(tensor):
        size *= length
    return size


# What stands for what


def meet(modules: Iterable[nn.Module]) -> None:
    """Know the parameters of those among these modules that are sharded."""
    for group in groups_of(modules):
        for held in group.fsdp_params:
            for tensor in (held.sharded_param, getattr(held, "_unsharded_param", None)):
                if tensor is not None:
                    _known[id(tensor)] = weakref.ref(held)


def meet_any(leaves: Iterable[Tensor]) -> None:
    """The same of all models there are, where one of these leaf tensors may be of a sharded one."""
    if _fsdp_module() is None or not (dist.is_available() and dist.is_initialized()):
        return
    strange = [leaf for leaf in leaves if isinstance(leaf, nn.Parameter) and _held(leaf) is None]
    if any((seen := _plain.get(id(leaf))) is None or seen() is not leaf for leaf in strange):
        meet(anywhere(lambda kind: issubclass(kind, nn.Module)))
        _plain.update((id(leaf), weakref.ref(leaf)) for leaf in strange if _held(leaf) is None)


def piece_of(tensor: Tensor) -> Tensor:
    """The piece that stands for a parameter which is sharded; any other tensor itself."""
    held = _held(tensor)
    if held is None or refusal([held]) is not None:
        return tensor
    piece = _pieces.get(held)
    if piece is None:
        local = held.sharded_param._local_tensor
        piece = _pieces[held] = Piece(local.detach(), requires_grad=held.sharded_param.requires_grad)
        piece.of, piece.whole = weakref.ref(held), tuple(held._orig_size)
        rows = held.padded_sharded_param_size[0] * held.mesh_info.shard_mesh_rank
        piece.start = min(rows, piece.whole[0]) * (whole_size(piece) // max(piece.whole[0], 1))
    return piece


def leaf_of(tensor: Tensor) -> Tensor:
    """The tensor that lies in the graph for a piece; any other itself."""
    held = tensor.of() if isinstance(tensor, Piece) else None
    return tensor if held is None else getattr(held, "_unsharded_param", tensor)


def cut(tensor: Tensor, gradient: Tensor) -> Tensor:
    """Of what has the shape of the whole parameter, what belongs to this piece of it."""
    if not isinstance(tensor, Piece):
        return gradient
    mine = gradient.reshape(-1)[tensor.start : tensor.start + tensor.numel()]
    return mine.reshape(tensor.shape).to(torch.promote_types(gradient.dtype, tensor.dtype), copy=True)


def refresh(tensors: Iterable[Tensor]) -> None:
    """See to it that the pieces among these are as the script's parameters are: their memory, and what is in ``.grad``.

    To be called wherever the script may have done something to them.
    """
    for tensor in tensors:
        held = tensor.of() if isinstance(tensor, Piece) else None
        if held is None:
            continue
        parameter = held.sharded_param
        local = parameter._local_tensor
        if tensor.data_ptr() != local.data_ptr() or tensor.shape != local.shape:
            tensor.data = local.detach()
        tensor.requires_grad_(parameter.requires_grad)
        gradient = parameter.grad
        tensor.grad = None if gradient is None else gradient._local_tensor


def view(optimizer: Optimizer) -> Optimizer:
    """An optimizer as it is of the pieces: the same class, options and state; itself where it steps nothing sharded."""
    groups = getattr(optimizer, "param_groups", None)
    if not _known or not groups or not any(piece_of(p) is not p for group in groups for p in group["params"]):
        return optimizer
    seen = _views.get(optimizer)
    if seen is None:
        seen = _views[optimizer] = object.__new__(type(optimizer))
        seen.defaults = optimizer.defaults
        seen.param_groups = [{} for _ in groups]
        seen.state = _State(optimizer.state)  # type: ignore[assignment]
    for of_scaler in ("grad_scale", "found_inf"):
        setattr(seen, of_scaler, getattr(optimizer, of_scaler, None))
    seen.param_groups += [{} for _ in groups[len(seen.param_groups) :]]
    for mine, group in zip(seen.param_groups, groups, strict=True):
        mine.update(group)
        mine["params"] = [piece_of(p) for p in group["params"]]
    return seen


def views(optimizers: Iterable[Optimizer]) -> list[Optimizer]:
    """The same of several, none twice: what is a view itself is left out."""
    return [view(optimizer) for optimizer in optimizers if not isinstance(getattr(optimizer, "state", None), _State)]


class _State(Mapping[Tensor, dict[str, Any]]):
    """What an optimizer keeps of each parameter, as it is of the pieces."""

    def __init__(self, state: Mapping[Any, dict[str, Any]]) -> None:
        self._state = state

    def __getitem__(self, parameter: Tensor) -> dict[str, Any]:
        held = parameter.of() if isinstance(parameter, Piece) else None
        key = parameter if held is None else held.sharded_param
        found = self._state.get(key, {})
        return {name: getattr(value, "_local_tensor", value) for name, value in found.items()}

    def __iter__(self) -> Iterator[Tensor]:
        return (piece_of(parameter) for parameter in self._state)

    def __len__(self) -> int:
        return len(self._state)


# What FSDP2 knows of them


def groups_of(modules: Iterable[nn.Module]) -> list[Any]:
    """The groups of parameters that FSDP2 gathers together, of these modules."""
    kind = _fsdp_module()
    if kind is None:
        return []
    found: dict[Any, None] = {}
    for module in modules:
        if issubclass(type(module), kind):
            sharded: Any = module
            state = sharded._get_fsdp_state()
            groups = getattr(state, "_fsdp_param_groups", None)
            found |= dict.fromkeys([state._fsdp_param_group] if groups is None else groups)
    return [group for group in found if group is not None]


def refusal(parameters: Sequence[Any]) -> str | None:
    """Why these parameters of FSDP2 cannot be recorded, in words; None: they can."""
    for held in parameters:
        mesh, placement = held.mesh_info, held.fsdp_placement
        if placement.dim != 0 or held.is_dtensor or not hasattr(mesh, "shard_mesh_rank"):
            return f"the model is sharded by FSDP2 (fully_shard), {_OF_PARTS}"
        copies = getattr(mesh, "replicate_mesh_size", None)
        processes = mesh.shard_mesh_size * (copies or 1)
        by_dimension = mesh.mesh.ndim == (1 if copies is None else 2)
        if not by_dimension or (dist.is_initialized() and processes != dist.get_world_size()):
            return f"the model is sharded by FSDP2 (fully_shard) over a part of the processes, {_OF_PARTS}"
        if held.offload_to_cpu or hasattr(held.sharded_param._local_tensor, "fsdp_pre_all_gather"):
            return "the model is sharded by FSDP2 (fully_shard) with offloading or a gather of its own: left alone"
    return None


def _held(tensor: Tensor) -> Any:
    reference = _known.get(id(tensor))
    held = None if reference is None else reference()
    mine = held is not None and (held.sharded_param is tensor or getattr(held, "_unsharded_param", None) is tensor)
    return held if mine else None


def _fsdp_module() -> type | None:
    """The class that sharded modules are of, where the script has it."""
    found: Callable[..., Any] | None = getattr(sys.modules.get(_FSDP), "FSDPModule", None)
    return found if isinstance(found, type) else None
