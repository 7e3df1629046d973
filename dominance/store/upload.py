"""A process of its own that keeps an address in step with a folder in which a run is recorded.

    python -m dominance.store.upload FOLDER ADDRESS [--force]

The training knows nothing of the network: it writes into FOLDER/NAME, and this reads there as any reader does. It says
"ready" in a line on stdout, or in JSON why it cannot begin; goes on until its stdin ends, which it does with the
training, however that ends; and has the rest to say in further lines. FOLDER is deleted once all of it is there.
"""

from __future__ import annotations

import json
import select
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dominance.errors import DominanceError, RunExists, Unreachable
from dominance.schema import DATA_NAME
from dominance.store.address import LOCK, Objects, OnlyWriter, split
from dominance.store.disk import PARTIAL

EVERY = 2.0
"""Seconds from one look to the next."""
PATIENCE = 10.0
"""Seconds for which a store that does not answer is tried again once the training is over."""
_AT_ONCE = 8

Stamp = tuple[int, int, int]


class Mirror:
    """The runs in ``folder``, each under its name below an address.

    What a reader there sees is whole at every moment, by the order in which runs are written themselves: the metadata
    are read first, the root before all; then chunks are put, which hold what was announced, and perhaps more; then the
    metadata as they were read, the root last.
    """

    def __init__(self, folder: Path, objects: Objects) -> None:
        self.folder, self._objects = folder, objects
        self._there: dict[str, Stamp] = {}
        """What has been put, as it was then."""
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    def sync(self, claim: OnlyWriter) -> None:
        """Put what has changed. Raises Unreachable; RunExists as ``OnlyWriter.check``."""
        for run in sorted(self.folder.iterdir()):
            if run.is_dir():
                self._sync(run, claim)

    def _sync(self, run: Path, claim: OnlyWriter) -> None:
        root = f"{run.name}/{DATA_NAME}/zarr.json"
        documents = {}
        for key in sorted(self._changed(run, "zarr.json"), key=lambda key: (key != root, key.count("/"))):
            documents[key] = self._read(key)
        listed = set(self._keys(run))
        self._put([(key, self._read(key)) for key in self._changed(run, "") if not key.endswith("/zarr.json")])
        for depth in sorted({key.count("/") for key in documents if key != root}, reverse=True):
            self._put([each for each in documents.items() if each[0].count("/") == depth and each[0] != root])
        claim.check()
        self._put([each for each in documents.items() if each[0] == root])
        for key in [key for key in self._there if key.startswith(f"{run.name}/") and key not in listed]:
            if not (self.folder / key).exists():
                self._objects.delete(key)
                del self._there[key]

    def _keys(self, run: Path) -> Iterator[str]:
        for file in run.rglob("*"):
            if file.name != LOCK and not file.name.endswith(PARTIAL) and not file.is_symlink() and file.is_file():
                yield file.relative_to(self.folder).as_posix()

    def _changed(self, run: Path, name: str) -> Iterator[str]:
        return (key for key in self._keys(run) if key.endswith(name) and self._stamp(key) != self._there.get(key))

    def _stamp(self, key: str) -> Stamp | None:
        try:
            found = (self.folder / key).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self, key: str) -> tuple[Stamp, bytes] | None:
        stamp = self._stamp(key)  # before the content: one that is replaced in between is put once more
        try:
            return None if stamp is None else (stamp, (self.folder / key).read_bytes())
        except FileNotFoundError:
            return None

    def _put(self, files: list[tuple[str, tuple[Stamp, bytes] | None]]) -> None:
        def one(key: str, found: tuple[Stamp, bytes]) -> None:
            self._objects.put(key, found[1])
            self._there[key] = found[0]

        asked = [self._pool.submit(one, key, found) for key, found in files if found is not None]
        for each in asked:
            each.result()


def _over(seconds: float) -> bool:
    """Wait, but not longer than the training goes on."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def follow(mirror: Mirror, claim: OnlyWriter) -> None:
    """Until stdin ends, and once more. Raises what the last look raised; RunExists at once."""
    end: float | None = None
    while True:
        if end is None and _over(EVERY):
            end = time.monotonic() + PATIENCE
        try:
            mirror.sync(claim)
        except Unreachable:
            if end is not None and time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            if end is not None:
                return


def main(folder: Path, address: str, *, force: bool) -> int:
    """Returns the exit code."""
    try:
        parent, name = split(address)
        objects = Objects(parent)
        claim = OnlyWriter(objects, name, replace=force)
    except DominanceError as error:
        print(json.dumps({"refused": error.message, "fix": error.fix}), flush=True)
        return 2
    print("ready", flush=True)
    try:
        follow(Mirror(folder, objects), claim)
        claim.release()
    except (Unreachable, RunExists) as error:
        print(f"{error.message}; the run is in {folder / name}, copy it from there", flush=True)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], force="--force" in sys.argv[3:]))
