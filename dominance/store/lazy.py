"""Arrays of a run that are read when they are used, in the form in which xarray takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME
from dominance.store.codec import decode_into, little_endian
from dominance.store.files import Files, Scratch
from dominance.store.grid import Grid, Tile

if TYPE_CHECKING:  # chunks are read without Zarr, which takes as long to import as a small summary to make
    import zarr

RunArray: TypeAlias = "zarr.Array[Any]"
Index = tuple[Any, ...]

_AT_ONCE = 32
"""Chunks that are asked for together: far away, what costs is the wait."""


class LazyArray(BackendArray):
    """Reads by integers, slices and one-dimensional integer arrays, the latter orthogonally."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, index: Index) -> npt.NDArray[Any]:
        raise NotImplementedError

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

    def variable(self, dims: Sequence[str]) -> xr.Variable:
        return xr.Variable(tuple(dims), indexing.LazilyIndexedArray(self))


class StoredArray(LazyArray):
    """The first ``rows`` rows of one array of a run.

    Args:
        files: of the run.
        grid: which array, and its chunks.
        rows: rows that are committed; there may be more in the store.
        since: the first row that knows each task; earlier chunks of a task need not be there.
    """

    def __init__(self, files: Files, grid: Grid, rows: int, since: Sequence[int] = ()) -> None:
        self.files = files
        self.grid = grid
        self.since = since
        self.shape = (rows, *grid.spec.shape)
        self.dtype = np.dtype(grid.spec.dtype)
        self._opened: RunArray | None = None

    @property
    def stored(self) -> RunArray:
        """The array as Zarr opens it, which knows nothing of rows and of chunks that are missing."""
        if self._opened is None:
            import zarr

            path = f"{DATA_NAME}/{self.grid.path}"
            self._opened = zarr.open_array(store=self.files.store, path=path, mode="r", zarr_format=3)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # another process opens the store itself

    def must_exist(self, index: int, tile: Tile) -> bool:
        """Whether the chunk was written: ``index`` counts along the growing dim."""
        return self.grid.must_exist(index, tile, self.shape[0], self.since)

    def missing(self, key: str) -> CorruptRun:
        """What to raise where a chunk that must exist is not there: it held numbers, which are not NaN."""
        return CorruptRun(
            f"{self.files.where}: chunk {key} is missing", fix="see what is damaged: dominance info --verify"
        )

    def read(self, index: Index = ()) -> npt.NDArray[Any]:
        """Raises CorruptRun when a chunk is missing or does not match its checksum."""
        index += (slice(None),) * (len(self.shape) - len(index))
        bounded = [_bounded(part, size) for part, size in zip(index, self.shape, strict=True)]
        lengths = [1 if isinstance(part, int) else _length(part) for part in bounded]
        kept: Any = tuple(0 if isinstance(part, int) else slice(None) for part in bounded)
        if 0 in lengths:
            return np.asarray(np.empty(lengths, self.dtype)[kept])
        self._check_there(bounded)
        pieces = [list(_pieces(part, length)) for part, length in zip(bounded, self.grid.chunk, strict=True)]
        result = np.empty(lengths, self.dtype)
        chunk = np.empty(self.grid.chunk, little_endian(self.grid.spec.dtype))
        places, scratch = product(*pieces), Scratch()
        while group := list(islice(places, _AT_ONCE)):
            keys = [self._key(place) for place in group]
            chunks = self.files.stream([f"{DATA_NAME}/{key}" for key in keys], scratch, self.grid.largest)
            for place, key, data in zip(group, keys, chunks, strict=True):
                target = _of([piece.outside for piece in place])
                if data is None:
                    if self.must_exist(place[0].number, tuple(piece.number for piece in place[1:])):
                        raise self.missing(key)
                    result[target] = self.grid.fill
                    continue
                self._decode(key, data, chunk)
                result[target] = chunk[_of([piece.inside for piece in place])]
        return np.asarray(result[kept])

    def _key(self, place: Sequence[_Piece]) -> str:
        return self.grid.key(place[0].number, tuple(piece.number for piece in place[1:]))

    def _check_there(self, bounded: Sequence[int | slice | npt.NDArray[np.int64]]) -> None:
        """Before memory is taken for the rows that the metadata say there are: that their files are there."""
        first, *others = (_pieces(part, length) for part, length in zip(bounded, self.grid.chunk, strict=True))
        tiles = [tuple(piece.number for piece in place) for place in product(*others)]
        due = ((piece.number, tile) for piece in first for tile in tiles if self.must_exist(piece.number, tile))
        missing = self.files.first_missing(f"{DATA_NAME}/{self.grid.key(*place)}" for place in due)
        if missing is not None:
            raise self.missing(missing.removeprefix(f"{DATA_NAME}/"))

    def _decode(self, key: str, data: npt.NDArray[np.uint8], chunk: npt.NDArray[Any]) -> None:
        try:
            decode_into(data, chunk)
        except ValueError as error:
            raise CorruptRun(
                f"{self.files.where}: {self.grid.path} cannot be read (chunk {key}: {error})",
                fix="see what is damaged: dominance info --verify",
            ) from error


class StackedArray(LazyArray):
    """One array of several runs along a first dim.

    Args:
        arrays: the runs' arrays.
        shape: of the stack without its first dim.
        places: per run and dim, where each position of the stack lies in the run's array, -1 where the run has nothing;
            None for a dim that is the same in both.
    """

    def __init__(
        self,
        arrays: Sequence[StoredArray],
        shape: tuple[int, ...],
        places: Sequence[Sequence[npt.NDArray[np.int64] | None]],
    ) -> None:
        self._arrays = list(arrays)
        self._places = places
        self.shape = (len(self._arrays), *shape)
        self.dtype = self._arrays[0].dtype

    def chosen(self, key: Index) -> StoredArray | None:
        """The array of one run, if ``key`` chooses that run and all that it has, in its own order."""
        if not isinstance(key[0], int | np.integer):
            return None
        run = self._arrays[int(key[0])]
        places = self._places[int(key[0])]
        for size, place, part, length in zip(self.shape[1:], places, key[1:], run.shape, strict=True):
            if isinstance(part, int | np.integer):
                return None
            found = np.arange(size)[part] if place is None else place[part]
            if not np.array_equal(found, np.arange(length)):
                return None
        return run

    def read(self, index: Index = ()) -> npt.NDArray[Any]:
        index += (slice(None),) * (len(self.shape) - len(index))
        wanted = [np.atleast_1d(np.arange(size)[part]) for size, part in zip(self.shape, index, strict=True)]
        fill = np.nan if self.dtype.kind == "f" else -1
        result = np.full([part.size for part in wanted], fill, self.dtype)
        for row, run in enumerate(wanted[0]):
            places = zip(wanted[1:], self._places[run], strict=True)
            inside = [part if place is None else place[part] for part, place in places]
            there = [np.flatnonzero(part >= 0) for part in inside]
            if all(part.size for part in there):
                found = self._arrays[run].read(tuple(part[known] for part, known in zip(inside, there, strict=True)))
                target: Any = (row, *np.ix_(*there))
                result[target] = found
        kept: list[int | slice] = [slice(None) if isinstance(part, slice | np.ndarray) else 0 for part in index]
        return np.asarray(result[tuple(kept)])


def behind(variable: xr.Variable) -> StoredArray | None:
    """The array of one run that is the whole of ``variable``, or None; one run chosen out of several counts too."""
    # xarray has no public way to look behind a lazy variable; should this change, the answer is None, which is allowed.
    lazy = getattr(variable, "_data", None)
    if not isinstance(lazy, indexing.LazilyIndexedArray):
        return None
    if isinstance(lazy.array, StackedArray):
        return lazy.array.chosen(lazy.key.tuple)
    if not isinstance(lazy.array, StoredArray):
        return None
    return lazy.array if _is_all(lazy.key.tuple, lazy.array.shape) else None


def unchunked(variable: xr.Variable) -> xr.Variable | None:
    """The lazy variable that ``.chunk()`` was called upon and nothing since, such as an array of a run; else None.

    Args:
        variable: backed by dask.
    """
    # What ``dask.array.from_array`` makes: one layer that holds the array, and one that cuts it. Should this change,
    # the answer is None, and what is computed stays right.
    name, layers = variable.data.name, variable.data.dask.layers
    if set(layers) != {name, f"original-{name}"}:
        return None
    wrapped = getattr(layers[f"original-{name}"][f"original-{name}"], "array", None)
    return xr.Variable(variable.dims, wrapped) if isinstance(wrapped, indexing.LazilyIndexedArray) else None


def _is_all(key: Index, shape: Sequence[int]) -> bool:
    return len(key) == len(shape) and all(
        isinstance(part, slice) and part.indices(size) == (0, size, 1) for part, size in zip(key, shape, strict=True)
    )


def _bounded(part: Any, size: int) -> int | slice | npt.NDArray[np.int64]:
    """``part`` inside the committed ``size``, as a slice where that is possible: Zarr reads slices much faster."""
    if isinstance(part, slice):
        start, stop, step = part.indices(size)
        return slice(start, max(start, stop), step)
    if isinstance(part, np.ndarray):
        places = np.where(part < 0, part + size, part).astype(np.int64)
        if places.size and np.array_equal(places, np.arange(places[0], places[0] + places.size)):
            return slice(int(places[0]), int(places[0]) + places.size, 1)
        return places
    return int(part) + size if part < 0 else int(part)


@dataclass(frozen=True)
class _Piece:
    """What lies in one chunk along one dim: which chunk, where in it, and where in the result."""

    number: int
    inside: slice | npt.NDArray[np.int64]
    outside: slice | npt.NDArray[np.int64]


def _pieces(part: int | slice | npt.NDArray[np.int64], length: int) -> Iterator[_Piece]:
    """The parts of a selection that lie in chunks of this length."""
    if isinstance(part, int):
        part = slice(part, part + 1, 1)
    if isinstance(part, slice):
        done = 0
        while (first := part.start + done * part.step) < part.stop:
            number = first // length
            end = min(part.stop, (number + 1) * length)
            count = len(range(first, end, part.step))
            start = first - number * length
            yield _Piece(number, slice(start, end - number * length, part.step), slice(done, done + count))
            done += count
        return
    numbers = part // length
    order = np.argsort(numbers, kind="stable")
    places, starts = np.unique(numbers[order], return_index=True)
    for number, inside in zip(places.tolist(), np.split(order, starts[1:]), strict=True):
        yield _Piece(number, part[inside] - number * length, inside)


def _of(parts: Sequence[slice | npt.NDArray[np.int64]]) -> Any:
    """Orthogonal selection; the slices start inside their dim and are of step 1 or more."""
    if all(isinstance(part, slice) for part in parts):
        return tuple(parts)
    return np.ix_(*(np.arange(part.start, part.stop, part.step) if isinstance(part, slice) else part for part in parts))


def _length(part: slice | npt.NDArray[np.int64]) -> int:
    return len(range(part.start, part.stop, part.step)) if isinstance(part, slice) else part.size
