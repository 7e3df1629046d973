"""``record --groups``: the ids that a batch lacks and its dataset has, by the rows that the batch was made of.

The rows are those that the DataLoader's sampler gives it, heard as it draws them: nothing is drawn a second time.
"""

from __future__ import annotations

import bisect
import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, dataloader

from dominance.record.fail_safe import harmless
from dominance.record.guest import hugging_face
from dominance.record.guest.batch_keys import MOST_SAID, described, ids_in, names_of, under


@dataclass
class BatchRows:
    """The rows of one batch."""

    dataset: Any
    indices: list[int] | None
    problem: str
    """Why there are no indices."""
    items: list[Any] | None
    """The ids in the items that the collating function was given; None: they have none, or were not seen."""
    item_keys: str
    """What an item has, in words; "" where none was seen."""

    def ids(self, key: str) -> list[Any]:
        """The ids of the batch's examples.

        Raises:
            LookupError: the dataset has none; with what it has.
        """
        if self.items is not None:
            return self.items
        if self.indices is None:
            raise LookupError(self.problem)
        for name in names_of(key):
            if (found := column(self.dataset, name, self.indices)) is not None:
                return found
        has = ", ".join(dict.fromkeys(part for part in (self.item_keys, columns_of(self.dataset)) if part))
        raise LookupError(f"its dataset has {has}" if has else "its dataset has no columns")


class Drawn:
    """Hears what rows the batches of DataLoaders are made of.

    Args:
        key: as ``--groups`` names it; what items have under it is kept until they are a batch.
        fail: told of an error of ours; the script goes on.
    """

    def __init__(self, key: str, fail: Callable[[BaseException], None]) -> None:
        self._key = key
        self._tell = fail
        self.failure: str | None = None
        self._indices: weakref.WeakKeyDictionary[Any, dict[int, Any]] = weakref.WeakKeyDictionary()
        self._items: weakref.WeakKeyDictionary[Any, tuple[list[Any] | None, str]] = weakref.WeakKeyDictionary()
        self._collating: weakref.WeakKeyDictionary[Any, tuple[Callable[..., Any], Callable[..., Any]]]
        self._collating = weakref.WeakKeyDictionary()
        """Fetchers that collate by way of ours: by what, and what it stands for."""

    def fail(self, error: BaseException) -> None:
        """Hear nothing more."""
        self.failure = str(error)
        self._tell(error)

    @harmless
    def drew(self, iterator: Any, index: Any) -> None:
        """A sampler has given an iterator the rows of its next batch; with workers, of one that is due later."""
        if iterator not in self._indices:
            self._indices[iterator] = {}
            self._listen(iterator)
        # One with workers numbers its batches anew in each epoch.
        self._indices[iterator][getattr(iterator, "_send_idx", 0)] = _whole(index)

    @harmless
    def taken(self, iterator: Any) -> BatchRows:
        """What the batch was made of that an iterator has given last."""
        items, keys = self._items.pop(iterator, (None, ""))
        indices = self._indices.get(iterator, {}).pop(getattr(iterator, "_rcvd_idx", 1) - 1, None)
        problem = ""
        if iterator._dataset_kind == dataloader._DatasetKind.Iterable:
            indices, problem = None, "the rows of an IterableDataset have no numbers to look them up by"
        elif not getattr(iterator, "_in_order", True):
            indices, problem = None, "which rows it was made of cannot be told with in_order=False"
        elif not isinstance(indices, list):
            problem = f"which rows it was made of cannot be told: its sampler gives {indices or 'them unseen'}"
            indices = None
        return BatchRows(iterator._dataset, indices, problem, items, keys)

    def release(self, iterator: Any) -> None:
        """Its batches have the ids themselves: look at no items any more."""
        fetcher: Any = getattr(iterator, "_dataset_fetcher", None)
        if fetcher is None or fetcher not in self._collating:
            return
        ours, original = self._collating.pop(fetcher)
        if fetcher.collate_fn is ours:
            fetcher.collate_fn = original

    def stop(self) -> None:
        """Hear nothing more."""
        for iterator in list(self._indices):
            self.release(iterator)
        self._indices.clear()
        self._items.clear()

    def _listen(self, iterator: Any) -> None:
        """See the items before they are collated, where that is in this process: what collating drops is there."""
        fetcher = getattr(iterator, "_dataset_fetcher", None)
        if fetcher is None or not iterator._auto_collation:
            return
        original, mine, listener = fetcher.collate_fn, weakref.ref(iterator), weakref.ref(self)

        def collate(items: Any) -> Any:
            if (drawn := listener()) is not None and (of := mine()) is not None:
                drawn._see(of, items)
            return original(items)

        fetcher.collate_fn = collate
        self._collating[fetcher] = collate, original

    @harmless
    def _see(self, iterator: Any, items: Any) -> None:
        if not isinstance(items, list | tuple) or not items:
            return
        found = _from_items(items, self._key)
        self._items[iterator] = found, "" if found is not None else described(items[0])


def column(dataset: Any, name: str, rows: list[int]) -> list[Any] | None:
    """What a dataset has of some rows under a name, without an item of it being made; None: nothing.

    Raises:
        LookupError: it has something of another length.
    """
    if hugging_face.is_dataset(dataset):
        return hugging_face.column(dataset, name, rows)
    if type(dataset) in (list, tuple):
        return _from_items([dataset[row] for row in rows], name)
    values = under(dataset, name)
    if (length := _length(values)) is not None:
        if length != len(dataset):
            raise LookupError(f"{name} of its dataset has {length} entries for {len(dataset)} rows")
        values = values if isinstance(values, Tensor | Sequence) else values.__array__()
        return [_plain(values[row]) for row in rows]
    if isinstance(dataset, Subset):
        return column(dataset.dataset, name, [operator.index(dataset.indices[row]) for row in rows])
    if isinstance(dataset, ConcatDataset):
        return _from_parts(dataset, name, [row % len(dataset) for row in rows])
    return None


def _from_parts(dataset: ConcatDataset[Any], name: str, rows: list[int]) -> list[Any] | None:
    found: dict[int, Any] = {}
    ends = dataset.cumulative_sizes
    for number, part in enumerate(dataset.datasets):
        mine = [row for row in dict.fromkeys(rows) if bisect.bisect_right(ends, row) == number]
        start = ends[number - 1] if number else 0
        values = column(part, name, [row - start for row in mine]) if mine else []
        if values is None:
            return None
        found.update(zip(mine, values, strict=True))
    return [found[row] for row in rows]


def columns_of(dataset: Any) -> str:
    """What a dataset has for each of its rows, in words."""
    if hugging_face.is_dataset(dataset):
        names = hugging_face.columns_of(dataset)
    elif type(dataset) in (list, tuple):
        return described(dataset[0]) if dataset else ""
    else:
        held = getattr(dataset, "__dict__", {}).items()
        # What torch's own wrappers hold are no columns.
        names = [name for name, values in held if not name.startswith("_") and name not in ("indices", "datasets")
                 and _length(values) == len(dataset)]  # fmt: skip
        below = dataset.dataset if isinstance(dataset, Subset) else None
        below = dataset.datasets[0] if isinstance(dataset, ConcatDataset) else below
        if below is not None and (more := columns_of(below)):
            names.append(more)
    return ", ".join(names[:MOST_SAID])


def _from_items(items: Sequence[Any], key: str) -> list[Any] | None:
    try:
        return [_plain(ids_in(item, key)) for item in items]
    except LookupError:
        return None


def _whole(index: Any) -> list[int] | str:
    """The rows of a batch, as whole numbers; or what they are."""
    if not isinstance(index, list | tuple | Tensor) and not hasattr(index, "__array__"):
        return type(index).__name__
    try:
        return [operator.index(each) for each in index]
    except TypeError:
        return f"a {type(index).__name__} of other things than whole numbers"


def _length(values: Any) -> int | None:
    """Of a sequence of values, one for each row; None: it is none."""
    if isinstance(values, str | bytes) or not (isinstance(values, Sequence) or hasattr(values, "__array__")):
        return None
    return None if getattr(values, "ndim", 1) == 0 else len(values)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
