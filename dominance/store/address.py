"""A run in an object store, to be written: its objects, and who writes it.

What is read from there goes through fsspec or Zarr (``files``). What is written goes through obstore, which puts whole
objects and knows how to put one only where there is none.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from dominance.errors import BadOption, RunExists, Unreachable
from dominance.schema import DATA_NAME

LOCK = ".lock"
"""The object beside ``data.zarr`` that says who writes the run; its writer puts it anew every minute."""
STALE = timedelta(minutes=15)
"""An older one was left by a machine that is gone."""
# Obstore takes none of these out of the environment where some are given. Plain http: where an endpoint says so.
_ANSWER = {"timeout": "30s", "connect_timeout": "10s", "allow_http": True}
_RETRY = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_LOCAL = ("file", "memory")


def split(address: str) -> tuple[str, str]:
    """What a run lies in, and its name there.

    >>> split("s3://bucket/runs/first/")
    ('s3://bucket/runs', 'first')

    Raises:
        BadOption: it names no run.
    """
    scheme, _, rest = address.partition("://")
    parent, _, name = rest.rstrip("/").rpartition("/")
    if not scheme or not parent or not name:
        raise BadOption(f"{address}: names no run in a bucket", fix="give one like s3://bucket/runs/first")
    return f"{scheme}://{parent}", name


class Objects:
    """The objects below one address.

    Args:
        address: of what the run lies in, such as "s3://bucket/runs".

    Raises:
        Unreachable: obstore is not installed.
        BadOption: no address that it knows.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            import obstore
            import obstore.store
        except ImportError:
            raise Unreachable(f"{address}: needs the package obstore", fix="pip install 'dominance[remote]'") from None
        self._obstore: Any = obstore
        # An operation that a store lacks is Python's NotImplementedError, of others one of obstore's own.
        self._lacking = (obstore.exceptions.NotSupportedError, NotImplementedError)
        self._raised = (obstore.exceptions.BaseError, NotImplementedError, OSError)
        far: dict[str, Any] = {"client_options": _ANSWER, "retry_config": _RETRY}
        try:
            near = address.partition("://")[0] in _LOCAL
            self._store: Any = obstore.store.from_url(address, **({} if near else far))
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            raise BadOption(f"{address}: {_line(error)}", fix="give one like s3://bucket/runs/first") from None

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except self._raised as error:
            fix = "check the address, the network and the credentials"
            raise Unreachable(f"{self.address}/{key}: {_line(error)}", fix=fix) from error

    def put(self, key: str, data: bytes) -> None:
        """Write or replace an object, whole. Raises Unreachable."""
        with self._told(key):
            self._obstore.put(self._store, key, data, use_multipart=False)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object where there is none; False where there is one.

        A store that cannot be asked for that is asked whether there is one.
        """
        try:
            with self._told(key):
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except Unreachable as error:
            cause, known = error.__cause__, self._obstore.exceptions
            if isinstance(cause, known.AlreadyExistsError | known.PreconditionError):
                return False
            if not isinstance(cause, self._lacking):
                raise
            if self.get(key) is not None:
                return False
            self.put(key, data)
        return True

    def get(self, key: str) -> bytes | None:
        """The object, None where there is none. Raises Unreachable."""
        try:
            with self._told(key):
                return bytes(self._obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None

    def written(self, key: str) -> datetime | None:
        """When the object was put, None where there is none. Raises Unreachable."""
        try:
            with self._told(key):
                found: datetime = self._obstore.head(self._store, key)["last_modified"]
                return found
        except FileNotFoundError:
            return None

    def below(self, folder: str) -> list[str]:
        """Every key that begins with ``folder/``. Raises Unreachable."""
        with self._told(folder):
            listed = self._obstore.list(self._store, prefix=folder)
            return [each["path"] for batch in listed for each in batch]

    def delete(self, key: str) -> None:
        """Raises Unreachable."""
        try:
            with self._told(key):
                self._obstore.delete(self._store, key)
        except FileNotFoundError:
            pass


class OnlyWriter:
    """One writer of the run ``name``: the object LOCK says which. Taken when it is made.

    Args:
        replace: a run that is there is deleted.

    Raises:
        RunExists: another recording writes it; or there is something, and it is not to be replaced, or is no run.
        Unreachable: the store does not answer.
    """

    def __init__(self, objects: Objects, name: str, *, replace: bool) -> None:
        self.where = f"{objects.address}/{name}"
        self._objects, self._key = objects, f"{name}/{LOCK}"
        holder = {"host": platform.node(), "pid": os.getpid(), "id": uuid4().hex}
        self._token = json.dumps(holder).encode()
        self._refreshed = time.monotonic()
        if not objects.put_new(self._key, self._token):
            self._take_over()
        try:
            self._make_room(name, replace)
        except BaseException:
            self.release()
            raise

    def _take_over(self) -> None:
        since = self._objects.written(self._key)
        if since is not None and datetime.now(UTC) - since < STALE:
            minutes = int(STALE.total_seconds() // 60)
            fix = f"give another -o; if it was cut off, wait until {minutes} minutes after that"
            raise RunExists(
                f"{self.where}: a recording in progress writes into it, at {since:%H:%M:%S} UTC last", fix=fix
            )
        self._objects.put(self._key, self._token)

    def _make_room(self, name: str, replace: bool) -> None:
        there = [key for key in self._objects.below(name) if key != self._key]
        if not there:
            return
        if not replace:
            raise RunExists(f"{self.where} exists", fix="give --force to replace it, or another -o")
        data = f"{name}/{DATA_NAME}/"
        if not any(key == f"{data}zarr.json" or key.startswith(f"{data}coord/") for key in there):
            raise RunExists(f"{self.where}: holds something that is no dominance run", fix="choose another -o")
        for key in sorted((key for key in there if key.startswith(data)), key=lambda key: key != f"{data}zarr.json"):
            self._objects.delete(key)  # the root first: what a kill leaves is no run any more

    def check(self) -> None:
        """Say that it is still written. Raises RunExists where another recording has taken it over."""
        if self._objects.get(self._key) != self._token:
            raise RunExists(f"{self.where}: another recording has taken it over", fix="see which of them is to go on")
        if time.monotonic() - self._refreshed > 60:
            self._objects.put(self._key, self._token)
            self._refreshed = time.monotonic()

    def release(self) -> None:
        """Let others write."""
        if self._objects.get(self._key) == self._token:
            self._objects.delete(self._key)


def _line(error: BaseException) -> str:
    """What obstore says, without its debugging part, in one line."""
    said = str(error).split("Debug source:")[0]
    return f"cannot be used ({' '.join(said.split())[:200] or type(error).__name__})"
