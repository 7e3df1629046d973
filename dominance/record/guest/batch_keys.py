"""What a batch of a DataLoader, or an item of a dataset, has under a key of ``record --groups``; its keys in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

TARGET = "target"
_TARGETS = ("target", "targets", "label", "labels", "y")
MOST_SAID = 12


def names_of(key: str) -> tuple[str, ...]:
    """What may be called so."""
    return _TARGETS if key == TARGET else (key,)


def ids_in(batch: Any, key: str) -> Any:
    """What a batch has under a key: an entry of a mapping, an attribute, a position, or what is called a target.

    Raises:
        LookupError: it has nothing under that key; with what it has.
    """
    if key.isdigit() and isinstance(batch, list | tuple):
        if int(key) < len(batch):
            return batch[int(key)]
    elif key == TARGET and isinstance(batch, list | tuple) and len(batch) > 1 and not isinstance(batch[-1], Mapping):
        return batch[-1]
    else:
        for part in batch if isinstance(batch, list | tuple) else [batch]:
            for name in names_of(key):
                if (found := under(part, name)) is not None:
                    return found
    raise LookupError(f"a batch has no {key!r}; it has {described(batch)}")


def under(part: Any, name: str) -> Any:
    """What something has under a dotted name, entry by entry or attribute by attribute; None: nothing."""
    for step in name.split("."):
        if isinstance(part, Mapping) or (hasattr(part, "keys") and hasattr(part, "__getitem__")):
            part = part[step] if step in part.keys() else None  # noqa: SIM118  BatchEncoding and the like are no mappings
        else:
            part = None if isinstance(part, Tensor) else getattr(part, step, None)
        if part is None:
            return None
    return part


def described(batch: Any) -> str:
    """Its keys, or its positions, in words."""
    if hasattr(batch, "keys"):
        return ", ".join(map(str, list(batch.keys())[:MOST_SAID]))
    if isinstance(batch, list | tuple):
        return ", ".join(f"{i}: {_form(each)}" for i, each in enumerate(batch[:MOST_SAID]))
    return _form(batch)


def _form(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of {' x '.join(map(str, value.shape))}"
    return f"{{{described(value)}}}" if hasattr(value, "keys") else type(value).__name__


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Its tensors, in mappings and sequences too."""
    if isinstance(value, Tensor):
        yield value
    elif hasattr(value, "values") and callable(value.values):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
