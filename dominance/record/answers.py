"""What is asked of many tensors at once, so that a device which works on its own is waited for once, not for each.

Reading a number of a tensor on such a device waits for everything that the device has been given to do. Where a loop
over the parameters is about to ask the same of each, it asks for all beforehand (``ask``), within ``asking``; who then
wants to know one of them (``of``) finds the answer there, or measures for itself where there is none. On the CPU
nothing is asked beforehand: each answer costs no more by itself, and many are told by the first entries.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Arrays = Sequence[npt.NDArray[Any]]

AT_HAND = {"cpu"}
"""Types of devices whose numbers can be read without waiting."""


def waits(tensor: Tensor) -> bool:
    """Whether reading a number of this tensor waits for a device."""
    return tensor.device.type not in AT_HAND


@dataclass(frozen=True)
class Query:
    """Something about tensors: ``measure`` makes a few numbers of them, on their device and without waiting."""

    name: str
    measure: Callable[..., Tensor] = field(compare=False)
    either_way: bool = False
    """Whether the order of the tensors makes no difference."""


def _same(one: Tensor, other: Tensor) -> Tensor:
    return ((one == other) | ((one != one) & (other != other))).all()


def _products(one: Tensor, other: Tensor) -> Tensor:
    wide = torch.stack([one.reshape(-1), other.reshape(-1)]).to(widest(one))
    return (wide @ wide.T)[[0, 0, 1], [0, 1, 1]]


def _beyond(left: Tensor, *gradients: Tensor) -> Tensor:
    beyond = left != 0
    for gradient in gradients:
        beyond &= gradient == 0
    return beyond.any()


SAME = Query("same", _same, either_way=True)
"""Of two of one shape and dtype: whether they hold the same numbers, NaN being the same as NaN."""
NONZERO = Query("nonzero", lambda tensor: (tensor != 0).any())
"""Whether any entry is other than zero, NaN included."""
NORM = Query("norm", torch.linalg.vector_norm)
PRODUCTS = Query("products", _products)
"""Of two of one shape: the square of the first, their inner product, the square of the other."""
BEYOND = Query("beyond", _beyond)
"""Of several of one shape: whether the first is other than zero anywhere where all others are zero."""
VALUE = Query("value", lambda tensor: tensor)
"""The number of a tensor of one."""

Asked = tuple[Query, *tuple[Tensor, ...]]
"""A query, and the tensors that it is asked of."""

_known: dict[Hashable, list[float]] | None = None
_held: list[Tensor] = []
"""What the answers are of: as long as it is held, nothing else comes to lie where it lies."""
_made: dict[Hashable, Tensor] = {}
"""What was worked out of tensors to be asked of, for who is going to need it."""
_soon: list[Tensor] = []
"""Scalars whose numbers are read with the next that are."""


class Waiting(Protocol):
    """Who waits for numbers, and can wait until others are read."""

    @property
    def tensors(self) -> list[Tensor]: ...

    def give(self, read: Arrays) -> None: ...


_late: weakref.WeakSet[Waiting] = weakref.WeakSet()


@contextmanager
def asking(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Answers are kept inside, as long as nobody writes to the tensors but by operations that count their version: no
    code of the script may run inside.

    Args:
        parameters: what is going to be asked is of these; where none of them waits nothing is asked beforehand.
    """
    global _known, _held, _soon, _made
    before = _known, _held, _soon, _made
    _known, _held, _soon, _made = ({} if any(map(waits, parameters)) else None), [], [], {}
    try:
        yield
    finally:
        _known, _held, _soon, _made = before


def ask(queries: Iterable[Asked]) -> None:
    """Measure what these ask, all together; what is at hand, and what no answer can be kept of, is passed over.

    Args:
        queries: each with its tensors. It is not gone through outside of ``asking``.
    """
    if _known is None:
        return
    asked: dict[Hashable, Asked] = {}
    for query, *tensors in queries:
        if all(map(waits, tensors)) and all(map(_plain, tensors)) and _alike(tensors):
            asked.setdefault(_key(query, tensors), (query, *tensors))
    new = {key: each for key, each in asked.items() if key not in _known}
    with torch.no_grad():
        measured = [query.measure(*tensors).reshape(-1) for query, *tensors in new.values()]
    for key, found in zip(new, _read(measured), strict=True):
        _known[key] = found
    _held.extend(tensor for _, *tensors in new.values() for tensor in tensors)


def about(query: Query, tensors: Sequence[Tensor]) -> Asked:
    """A query of as many tensors as there are."""
    return (query, *tensors)


def tell(query: Query, tensors: Sequence[Tensor], *answer: float) -> None:
    """The answer, known by other means."""
    if _known is not None and all(map(waits, tensors)) and all(map(_plain, tensors)):
        _known[_key(query, tensors)] = list(answer)
        _held.extend(tensors)


def of(query: Query, *tensors: Tensor) -> list[float] | None:
    """The answer; None where it has not been asked."""
    if not _known or not all(map(_plain, tensors)):
        return None
    return _known.get(_key(query, tensors))


def keep(made: Tensor, of: Sequence[Tensor]) -> None:
    """Who works the same out of these tensors, within ``asking``, may take this instead; once."""
    if _known is not None and all(map(_plain, of)):
        _made[tuple(map(_place, of))] = made
        _held.extend(of)


def kept(of: Sequence[Tensor]) -> Tensor | None:
    """What was kept of these tensors; whoever takes it may write to it."""
    return _made.pop(tuple(map(_place, of)), None) if _made else None


def soon(scalars: Sequence[Tensor]) -> None:
    """Read the ``value`` of these with the next ``numbers``, within ``asking``."""
    if _known is not None:
        _soon.extend(scalars)


def numbers(scalars: Sequence[Tensor]) -> list[float]:
    """The numbers of tensors of one, with one wait for each device."""
    late = list(_soon)
    _soon.clear()
    if not late and not any(map(waits, scalars)):
        return [float(each) for each in scalars]
    found = [float(each[0]) for each in _read([each.detach().reshape(1) for each in (*scalars, *late)])]
    for scalar, number in zip(late, found[len(scalars) :], strict=True):
        tell(VALUE, [scalar], number)
    return found[: len(scalars)]


def norm(tensor: Tensor) -> float:
    """The Euclidean norm over all entries, in the precision of the tensor."""
    found = of(NORM, tensor)
    return float(torch.linalg.vector_norm(tensor)) if found is None else found[0]


def value(tensor: Tensor) -> float:
    """The number of a tensor of one."""
    found = of(VALUE, tensor)
    return float(tensor) if found is None else found[0]


def widest(tensor: Tensor) -> torch.dtype:
    """The most precise floats of its device."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def read_with_next(waiting: Waiting) -> None:
    """Read its tensors with the next numbers of a device that anybody reads; as long as it is there."""
    _late.add(waiting)


def read(tensors: Sequence[Tensor]) -> list[npt.NDArray[Any]]:
    """The numbers of all, in their shapes: one copy from each device, whatever their number formats."""
    found: list[npt.NDArray[Any]] = [np.empty(0)] * len(tensors)
    groups: dict[torch.device, list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault(tensor.device, []).append(i)
    for places in groups.values():
        # The widest first, so that each begins where numbers of its format may.
        places.sort(key=lambda i: -tensors[i].element_size())
        bytes_of = [_bytes(tensors[i]) for i in places]
        flat = torch.cat(bytes_of).cpu().numpy()
        for i, numbers in zip(places, np.split(flat, np.cumsum([len(each) for each in bytes_of])[:-1]), strict=True):
            found[i] = numbers.view(_numpy_format(tensors[i].dtype)).reshape(tensors[i].shape)
    return found


def _bytes(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    # One number that was expanded counts as contiguous, and is not for this.
    return (flat if flat.stride(0) == 1 else flat.clone(memory_format=torch.contiguous_format)).view(torch.uint8)


def _numpy_format(dtype: torch.dtype) -> np.dtype[Any]:
    return torch.empty(0, dtype=dtype).numpy().dtype


def _read(measured: Sequence[Tensor]) -> list[list[float]]:
    if not measured:
        return []
    late = [(each, each.tensors) for each in list(_late)]
    _late.clear()
    wide = [each.to(widest(each)) for each in measured]
    found = read([*wide, *(tensor for _, tensors in late for tensor in tensors)])
    rest = iter(found[len(wide) :])
    for each, tensors in late:
        each.give([next(rest) for _ in tensors])
    return [numbers.tolist() for numbers in found[: len(wide)]]


def _plain(tensor: Tensor) -> bool:
    strided = tensor.layout == torch.strided and not tensor.is_inference()
    return strided and type(tensor) in (Tensor, torch.nn.Parameter)


def _alike(tensors: Sequence[Tensor]) -> bool:
    first = tensors[0]
    return all(each.shape == first.shape and each.device == first.device for each in tensors[1:])


def _key(query: Query, tensors: Sequence[Tensor]) -> Hashable:
    places = map(_place, tensors)
    return query, frozenset(places) if query.either_way else tuple(places)


def _place(tensor: Tensor) -> Hashable:
    return tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride(), tensor.dtype
