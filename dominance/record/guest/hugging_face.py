"""Columns of a ``datasets.Dataset``, those among them that were taken away from it before it came to its DataLoader."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from dominance.record.live_objects import anywhere

_views: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


def is_dataset(dataset: Any) -> bool:
    """Whether it is one of that library, with rows in a table."""
    kind = _kind()
    return kind is not None and isinstance(dataset, kind)


def column(dataset: Any, name: str, rows: list[int]) -> list[Any] | None:
    """What a column has in some rows, by no transform of the script's; None: there is none of that name."""
    views = _views.setdefault(dataset, {})
    if name not in views:
        having = next((each for each in [dataset, *_beside(dataset, name)] if name in each.column_names), None)
        views[name] = None if having is None else having.with_format(None, columns=[name])
    view = views[name]
    return None if view is None else list(view[rows][name])


def columns_of(dataset: Any) -> list[str]:
    """Names of its columns, and of those that were taken away from it."""
    return list(dict.fromkeys(name for each in [dataset, *_beside(dataset)] for name in each.column_names))


def _kind() -> Any:
    return getattr(sys.modules.get("datasets.arrow_dataset"), "Dataset", None)


def _beside(dataset: Any, name: str | None = None) -> list[Any]:
    """Datasets that are proven to have the same rows, in the same memory, and columns beside its own.

    ``remove_columns`` gives a dataset that does not know where it came from: transformers' Trainer calls it, and keeps
    the one that it was given. Where two have a column of that name, with different memory, neither is meant.
    """
    kind = _kind()
    alive = anywhere(lambda other: issubclass(other, kind))
    found = [each for each in alive if each is not dataset and _same_rows(dataset, each)]
    if name is None:
        return found
    found = [each for each in found if name in each.column_names]
    return found if all(_memory(each._data, name) == _memory(found[0]._data, name) for each in found) else []


def _same_rows(dataset: Any, other: Any) -> bool:
    if len(dataset) != len(other) or not set(dataset.column_names) <= set(other.column_names):
        return False
    orders = [None if each._indices is None else _memory(each._indices, "indices") for each in (dataset, other)]
    memory = [_memory(dataset._data, name) for name in dataset.column_names]
    there = any(address for chunks in memory for *_, addresses in chunks for address in addresses)
    same = memory == [_memory(other._data, name) for name in dataset.column_names]
    return there and same and orders[0] == orders[1]


def _memory(table: Any, name: str) -> list[tuple[int, int, tuple[int, ...]]]:
    """Where a column lies: offset, length and addresses of each of its chunks."""
    chunks = table.column(name).chunks
    return [(c.offset, len(c), tuple(0 if b is None else b.address for b in c.buffers())) for c in chunks]
