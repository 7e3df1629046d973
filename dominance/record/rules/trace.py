"""A step of an optimizer is run once, and every part of its input is carried along through each of its operations.

Every operation that is linear in what a part went into (a sum, a product with a number or with something that no part
is in, a matrix product, a mean, a copy) takes the parts with it; every other one (a square, a root, a norm, a sign)
gives a number that belongs to no part: a denominator, a trust ratio, a preconditioner, with the value that this step
gave it. Where two factors of a product hold parts (g * g, G Gᵀ), the product belongs to none. So the parts of the
parameter after the step sum to what it is there exactly where its step is linear in its gradients, given the
optimizer's own denominators, and how far they do not is how far it is not.

Of Newton-Schulz iterations (Muon) what is left is P M: the momentum M times the polynomial P of M Mᵀ (or of Mᵀ M on the
other side, whichever the optimizer computes), with P as this step had it, in the place of Adam's denominator.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from dominance.record.rules.linear_operations import HANDLERS
from dominance.record.rules.parts import THETA, Parts

_PURGED_EVERY = 64
_HALF = (torch.bfloat16, torch.float16)
_COARSE = (*_HALF, torch.float32)
_VIEWS = ("t_", "transpose_", "squeeze_", "unsqueeze_", "as_strided_", "swapaxes_", "swapdims_", "detach_")
"""Operations in place that leave the numbers where they are."""


class _Twins:
    """The parts of everything that lies in one storage: flat tensors of its length."""

    def __init__(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.alive = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        self.length = storage.nbytes() // tensor.element_size()
        self.dtype = tensor.dtype
        self.parts: Parts = {}


class Trace(TorchDispatchMode):
    """Follows parts through every operation that runs in the ``with`` block.

    Parts are kept by storage, so views and steps in place see each other's. They are held in single precision or better
    whatever the tensors are, and the parameter's own in double, since of it only the difference is wanted.

    Args:
        exact: let no operation round to a coarser format, such as half precision for Newton-Schulz iterations.
    """

    def __init__(self, *, exact: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.eps = 0.0
        """Spacing of the coarsest numbers that parts went through."""
        self._exact = exact
        self._twins: dict[int, _Twins] = {}
        self._ran = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in here: else torch would load its compiler for the sake of this class."""
        return False

    def tag(self, tensor: Tensor, parts: Mapping[Hashable, Tensor]) -> None:
        """Say what ``tensor`` is the sum of; parts broadcast to it, and those that it had are gone."""
        if tensor.layout is not torch.strided or not tensor.is_floating_point():
            if parts:
                raise TypeError(f"parts of a tensor of {tensor.layout} and {tensor.dtype} cannot be followed")
            return
        twins = self._of(tensor)
        if twins is None:
            if not parts:
                return
            twins = self._twins[tensor.untyped_storage()._cdata] = _Twins(tensor)
        geometry = (tensor.size(), tensor.stride(), tensor.storage_offset())
        if tensor.numel() == twins.length:
            for name in twins.parts.keys() - parts.keys():
                del twins.parts[name]
            if not parts:
                del self._twins[tensor.untyped_storage()._cdata]
                return
        for name in [*twins.parts, *(name for name in parts if name not in twins.parts)]:
            part = parts.get(name)
            flat = twins.parts.get(name)
            if flat is None:
                wide = name == THETA or tensor.dtype == torch.float64
                dtype = torch.float64 if wide else torch.float32
                flat = twins.parts[name] = torch.zeros(twins.length, dtype=dtype, device=tensor.device)
            room = flat.as_strided(*geometry)
            if part is None:
                room.zero_()
            elif part.data_ptr() != room.data_ptr() or part.stride() != room.stride():
                room.copy_(part)

    def parts(self, value: Any) -> Parts:
        """The parts of a tensor, as views; empty for one that holds none, and for anything else."""
        twins = self._of(value) if isinstance(value, Tensor) else None
        if twins is None or twins.dtype != value.dtype:
            return {}
        geometry = (value.size(), value.stride(), value.storage_offset())
        return {name: flat.as_strided(*geometry) for name, flat in twins.parts.items()}

    def _of(self, tensor: Tensor) -> _Twins | None:
        if tensor.layout is not torch.strided:
            return None
        return self._twins.get(tensor.untyped_storage()._cdata)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._purge()
        name = func.overloadpacket.__name__
        dtype = kwargs.get("dtype")
        if self._exact and dtype in _COARSE and args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            kwargs = {**kwargs, "dtype": torch.float64}
        if func.is_view or name in _VIEWS or not any(self._holds(value) for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        if name == "_to_copy" and dtype in _HALF and not self._exact:
            self.eps = max(self.eps, torch.finfo(dtype).eps)
        each = name.startswith("_foreach_")
        name = (name[len("_foreach_") :] if each else name).rstrip("_")
        handler = HANDLERS.get(name)
        given = {key: value for key, value in kwargs.items() if key != "out"}
        # Before the operation: it may overwrite what it is given.
        made: list[Parts] = []
        if handler is not None:
            calls = _one_by_one(args, given) if each else [(args, given)]
            plain = getattr(torch.ops.aten, name)
            made = [handler(self, plain, *call) for call in calls]
        out = func(*args, **kwargs)
        written = _written(func, args, kwargs)
        targets = written or ([out] if isinstance(out, Tensor) else list(out) if isinstance(out, (list, tuple)) else [])
        if name == "copy" and args[0].dtype == torch.uint8:
            self._copy_bytes(args[0], args[1])
            return out
        for place, target in enumerate(targets):
            if not isinstance(target, Tensor):
                continue
            if handler is not None and len(made) == len(targets) and target.is_floating_point():
                if target.dtype in _HALF:
                    _round(made[place], target)
                self.tag(target, made[place])
            elif written:
                self.tag(target, {})
        return out

    def _holds(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return self._of(value) is not None
        return isinstance(value, (list, tuple)) and any(
            isinstance(v, Tensor) and self._of(v) is not None for v in value
        )

    def _copy_bytes(self, target: Tensor, source: Tensor) -> None:
        """A storage is copied byte by byte (deepcopy of a tensor): its parts go along."""
        twins = self._of(source)
        if twins is not None and target.numel() == source.numel() == source.untyped_storage().nbytes():
            made = self._twins[target.untyped_storage()._cdata] = _Twins(target)
            made.length, made.dtype = twins.length, twins.dtype
            made.parts = {key: flat.clone() for key, flat in twins.parts.items()}

    def _purge(self) -> None:
        """Let go of the parts of what is no more."""
        self._ran += 1
        if self._ran % _PURGED_EVERY == 0:
            for key in [key for key, twins in self._twins.items() if _gone(twins)]:
                del self._twins[key]


def _round(parts: Parts, value: Tensor) -> None:
    """Share the rounding of an operation in half precision out to the parts, by their size, in place.

    Iterations like Newton and Schulz's blow it up by hundreds: parts that were not rounded with their sum would run
    away from it. What is more than rounding stays as it is. A parameter's own rounding is no part's.
    """
    if not parts or THETA in parts:
        return
    sizes = torch.stack([part.abs().float().expand(value.shape) for part in parts.values()])
    size, number = sizes.sum(0), value.float()
    off = number - torch.stack([part.float().expand(value.shape) for part in parts.values()]).sum(0)
    bound = 2 * torch.finfo(value.dtype).eps * torch.maximum(size, number.abs())
    share = torch.where(size > 0, off.clamp(-bound, bound) / size, torch.zeros_like(size))
    for name, each in zip(list(parts), sizes, strict=True):
        parts[name] = parts[name] + share * each


def _gone(twins: _Twins) -> bool:
    return bool(twins.alive.expired())  # type: ignore[no-untyped-call]


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The tensors that an operation writes to."""
    found: list[Any] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += value if isinstance(value, (list, tuple)) else [value]
    return [value for value in found if value is not None]


def _one_by_one(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[list[Any], dict[str, Any]]]:
    """The calls that an operation on lists of tensors stands for."""

    def at(value: Any, place: int) -> Any:
        return value[place] if isinstance(value, (list, tuple)) else value

    return [
        ([at(value, place) for value in args], {key: at(value, place) for key, value in kwargs.items()})
        for place in range(len(args[0]))
    ]
