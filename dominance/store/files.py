"""Where the files of a run lie: a local directory, or an object store behind a URL or a Zarr store."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from errno import EINVAL, EISDIR, ELOOP
from functools import cached_property
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from dominance.errors import BadOption, CorruptRun, Unreachable

if TYPE_CHECKING:  # the writer, which lives in the training process, does without Zarr
    import obstore.store
    from zarr.abc.store import Store

_FOLLOWED = "a link in a run is not followed"

RunPath: TypeAlias = "str | os.PathLike[str] | Store | obstore.store.ObjectStore"
"""What a run is opened by: a path, a URL, a Zarr store or a store of obstore."""


def _no_link(path: str, flags: int) -> int:
    # A pipe of that name would be waited for.
    file = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(file).st_mode
    if not S_ISREG(mode):
        os.close(file)
        raise OSError(EISDIR, os.strerror(EISDIR)) if S_ISDIR(mode) else OSError(EINVAL, "it is no file")
    return file


class Scratch:
    """Memory that is used again for every file that is read: fresh pages cost as much as the reading."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, dtype=np.uint8)

    def room(self, size: int) -> npt.NDArray[np.uint8]:
        if len(self._bytes) < size:
            self._bytes = np.empty(size, dtype=np.uint8)
        return self._bytes[:size]


class Files(ABC):
    """The files of one run, by key: "data.zarr/update/update/c.0.0.0".

    Attributes:
        where: path or URL, for messages and for opening the run again.
    """

    where: str

    @property
    @abstractmethod
    def store(self) -> Store:
        """The same for Zarr, read-only."""

    @abstractmethod
    def read(self, keys: Sequence[str], most: int) -> list[bytes | None]:
        """The contents, None for a file that is not there.

        Raises:
            CorruptRun: one has more than ``most`` bytes.
            Unreachable: the store does not answer.
        """

    @abstractmethod
    def stream(self, keys: Sequence[str], scratch: Scratch, most: int) -> Iterator[npt.NDArray[np.uint8] | None]:
        """The same, one after the other; each is valid until the next is asked for."""

    @abstractmethod
    def first_missing(self, keys: Iterable[str]) -> str | None:
        """The first of these files that is not there, where that can be told without reading them."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of all files. Raises Unreachable."""

    def get(self, key: str, most: int) -> bytes:
        """Raises FileNotFoundError when there is no such file; else as ``read``."""
        (found,) = self.read([key], most)
        if found is None:
            raise FileNotFoundError(f"{self.where}/{key}")
        return found

    def _check_size(self, key: str, size: int, most: int) -> None:
        if size > most:
            raise CorruptRun(f"{self.where}/{key}: has {size} bytes, {most} are the most", fix="record the run again")


class LocalFiles(Files):
    """A local run directory, which may be a stranger's: links in it are not followed; it may be one itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)
        self._plain: set[Path] = {root}

    def _inside(self, key: str) -> Path:
        """The file, none of whose folders is a link."""
        path = self.root / key
        if ".." in path.relative_to(self.root).parts:
            raise OSError(ELOOP, "it lies outside")
        for folder in path.parents:
            if folder in self._plain:
                break
            if folder.is_symlink():
                raise OSError(ELOOP, _FOLLOWED)
        else:
            raise OSError(ELOOP, "it lies outside")
        self._plain.add(path.parent)
        return path

    def _check(self, key: str) -> None:
        with self._told(key):
            if self._inside(key).is_symlink():
                raise OSError(ELOOP, _FOLLOWED)

    def _open(self, key: str) -> io.FileIO:
        return io.FileIO(self._inside(key), opener=_no_link)

    @cached_property
    def store(self) -> Store:
        from dominance.store.inside import InsideStore

        return InsideStore(self.root, self._check)

    def read(self, keys: Sequence[str], most: int) -> list[bytes | None]:
        found: list[bytes | None] = []
        for key in keys:
            with self._told(key):
                try:
                    with self._open(key) as file:
                        self._check_size(key, os.fstat(file.fileno()).st_size, most)
                        found.append(file.readall())
                except (FileNotFoundError, NotADirectoryError):
                    found.append(None)
        return found

    def stream(self, keys: Sequence[str], scratch: Scratch, most: int) -> Iterator[npt.NDArray[np.uint8] | None]:
        for key in keys:
            with self._told(key):
                try:
                    with self._open(key) as file:
                        size = os.fstat(file.fileno()).st_size
                        self._check_size(key, size, most)
                        room = scratch.room(size)
                        size = file.readinto(room.data) or 0
                except (FileNotFoundError, NotADirectoryError):
                    size = None
            yield None if size is None else room[:size]

    def first_missing(self, keys: Iterable[str]) -> str | None:
        return next((key for key in keys if not os.path.lexists(self.root / key)), None)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = _FOLLOWED if error.errno == ELOOP else error.strerror
            reason = f"{self.where}/{key}: cannot be read ({why})"
            raise Unreachable(reason, fix="see what it is and who may read it") from error

    def size(self) -> int:
        return sum(found.st_size for found in self._stats())

    def written(self) -> float:
        """When a file was last written, in seconds since 1970."""
        return max(found.st_mtime for found in self._stats())

    def _stats(self) -> Iterator[os.stat_result]:
        """Of all files; while a run grows, some that are listed are gone when they are looked at."""
        for file in self.root.resolve().rglob("*"):
            with suppress(FileNotFoundError):
                found = file.stat()
                if S_ISREG(found.st_mode):
                    yield found


class StoreFiles(Files):
    """Files in any Zarr store, many of them asked for at once: what costs is the wait for an answer."""

    def __init__(self, store: Store, where: str) -> None:
        self._store, self.where = store, where

    @property
    def store(self) -> Store:
        return self._store

    def read(self, keys: Sequence[str], most: int) -> list[bytes | None]:
        return [None if found is None else found.tobytes() for found in self._arrays(keys, most)]

    def stream(self, keys: Sequence[str], scratch: Scratch, most: int) -> Iterator[npt.NDArray[np.uint8] | None]:
        yield from self._arrays(keys, most)

    def first_missing(self, keys: Iterable[str]) -> str | None:
        return None

    def size(self) -> int:
        import asyncio

        async def total() -> int:
            keys = [key async for key in self.store.list()]
            return sum(await asyncio.gather(*(self.store.getsize(key) for key in keys)))

        return int(self._wait_for(total()))

    def _arrays(self, keys: Sequence[str], most: int) -> list[npt.NDArray[np.uint8] | None]:
        import asyncio

        from zarr.core.buffer import default_buffer_prototype

        async def get() -> list[Any]:
            prototype = default_buffer_prototype()
            return await asyncio.gather(*(self.store.get(key, prototype) for key in keys))

        arrays = [None if found is None else found.as_numpy_array() for found in self._wait_for(get())]
        for key, array in zip(keys, arrays, strict=True):
            self._check_size(key, 0 if array is None else array.nbytes, most)
        return arrays

    def _wait_for(self, answer: Any) -> Any:
        # Connections of fsspec belong to the loop that first used them, which is Zarr's when it reads arrays.
        from zarr.core.sync import sync

        try:
            return sync(answer)
        except Exception as error:  # what stands behind fsspec and obstore raises classes of its own, of no common base
            said = " ".join(str(error).split("Debug source:")[0].split()) or type(error).__name__
            raise Unreachable(
                f"{self.where}: cannot be read ({said[:200]})", fix="check the address, the network and the credentials"
            ) from error


def files_of(path: Any, storage_options: Mapping[str, Any] | None = None) -> Files:
    """The files of the run at ``path``.

    Args:
        path: files, which are given back; a local path; a URL that fsspec knows, such as "s3://bucket/run"; a Zarr
            store or a store of obstore, whose root is the run directory.
        storage_options: for a URL: what fsspec gives to the file system, such as ``{"anon": True}``.

    Raises:
        BadOption: it is none of these, or ``storage_options`` without a URL.
        Unreachable: a package that the URL needs is not installed.
    """
    if isinstance(path, Files):
        return path
    if isinstance(path, str) and "://" in path:
        address = urlsplit(path)
        if address.scheme == "file":
            return LocalFiles(Path(unquote(address.path)))
        return StoreFiles(_fsspec_store(path, dict(storage_options or {})), path.rstrip("/"))
    if storage_options:
        raise BadOption("storage_options without a URL", fix='give a URL such as "s3://bucket/run", or leave them out')
    if isinstance(path, str | os.PathLike):
        return LocalFiles(Path(path))
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, ObjectStore

    if isinstance(path, LocalStore):
        return LocalFiles(path.root)
    if isinstance(path, Store):
        return StoreFiles(path, str(path))
    if type(path).__module__.startswith("obstore"):
        said = repr(path)
        name = type(path).__name__ if said.startswith("<") else said  # <...> is an address in memory
        return StoreFiles(ObjectStore(path, read_only=True), name)
    raise BadOption(f"a {type(path).__name__} is no run", fix="give a path, a URL, a Zarr store or an obstore store")


def _fsspec_store(url: str, options: dict[str, Any]) -> Store:
    from zarr.storage import FsspecStore

    try:
        return FsspecStore.from_url(url, storage_options=options, read_only=True)
    except ImportError as error:
        cause = error if isinstance(error, ModuleNotFoundError) else error.__cause__
        if not options and (found := _obstore_store(url)) is not None:
            return found
        package = getattr(cause, "name", None) or "fsspec"
        raise Unreachable(f"{url}: needs the package {package}", fix=f"pip install fsspec {package}") from error
    except (ValueError, TypeError) as error:
        raise BadOption(f"{url}: {error}", fix="give a URL that fsspec knows, such as s3://bucket/run") from error


def _obstore_store(url: str) -> Store | None:
    """What obstore has for a protocol whose package of fsspec is missing, such as s3://."""
    try:
        import obstore.exceptions
        import obstore.store
    except ImportError:
        return None
    from zarr.storage import ObjectStore

    try:
        return ObjectStore(obstore.store.from_url(url), read_only=True)
    except (obstore.exceptions.BaseError, ValueError):  # it does not know the protocol either
        return None
