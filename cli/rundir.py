"""Where a run goes when nobody says: runs/<script>-<UTC time>-<pid>, and runs/latest points to it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dominance.errors import NotARun
from dominance.schema import DATA_NAME, MODEL_NUMBER, MODEL_OF

RUNS = "Run directories, such as runs/latest, folders of some, or URLs."


def default_folder(target: str, *, module: bool) -> Path:
    """Relative to the current folder.

    >>> default_folder("src/train.py", module=False).name.startswith("train-")
    True
    """
    name = target if module else Path(target).absolute().stem
    name = re.sub(r"[^\w.+-]", "_", name).strip(".-") or "run"
    return Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"


def place(run: str) -> str:
    """A run as it was typed, its path put straight: ``runs/latest/`` is ``runs/latest``; a URL stays as it is.

    >>> place("runs//first/"), place("s3://bucket/run")
    ('runs/first', 's3://bucket/run')
    """
    return run if "://" in run else str(Path(run))


def expanded(runs: Sequence[str]) -> list[str]:
    """The runs, with the runs inside it in the place of each folder of runs, numbers in their names in order."""
    from dominance.store.outline import in_order

    found: list[str] = []
    for run in runs:
        path = Path(run)
        folder = "://" not in run and os.path.isdir(path) and not (path / DATA_NAME).exists()
        inside = [child for child in path.iterdir() if (child / DATA_NAME).exists()] if folder else []
        inside = [child for child in inside if not child.is_symlink()]  # runs/latest, a link to one of them
        found += [str(child) for child in sorted(inside, key=lambda child: in_order(child.name))] or [run]
    return found


def models(run: str, attrs: Mapping[str, Any]) -> str:
    """Which of the models that one process trained this run is of, and where the others are; "" for a single one."""
    from dominance.store.directory import read_attributes
    from dominance.store.files import LocalFiles
    from dominance.visible import visible

    number, names = int(attrs.get(MODEL_NUMBER, 1)), list(attrs.get(MODEL_OF, ()))
    if "://" not in run:
        path = Path(run).resolve()
        first = path.with_name(path.name.removesuffix(f"-{number}")) if number > 1 else path
        following = max(len(names), 1)
        while (other := first.with_name(f"{first.name}-{following + 1}") / DATA_NAME).exists():
            following += 1
            known = read_attributes(LocalFiles(other.parent)).get(MODEL_OF, ())
            if path.name in known:  # else it is a run of its own, whose name happens to be like this
                names = list(known)
    return (
        f"model {number} of {len(names)} that one process trained: {visible(', '.join(names))}"
        if len(names) > 1
        else ""
    )


def opened(run: str) -> Any:
    """The run, as ``open_run`` gives it.

    Raises:
        NotARun: there is none; it says where there are some, or that the training there was not recorded.
    """
    from dominance.store.reader import open_run

    path = Path(run)
    try:
        return open_run(run)
    except NotARun:
        if "://" in run or not path.is_dir():
            raise
        inside = [shlex.quote(each) for each in expanded([run]) if each != run]
        if inside:
            raise NotARun(f"{path}: is a folder of runs", fix=f"name one, such as {' or '.join(inside[:3])}") from None
        if (path / "checkpoint.pt").is_file():
            raise NotARun(f"{path}: this training was not recorded", fix="train without --no-record") from None
        raise


class Latest:
    """The relative link ``latest`` beside a run directory."""

    def __init__(self, run: Path) -> None:
        self.run = run.absolute()
        self.link = self.run.parent / "latest"
        self.before: str | None = None
        self.pointed = False

    def point(self) -> str | None:
        """Make the link point to the run; returns what kept it from that. What is there and is no link stays."""
        if self.link.is_symlink():
            self.before = os.readlink(self.link)
        elif self.link.exists():
            return f"{self.link} is no link and was left alone; the run is {self.run.name}"
        try:
            self.link.parent.mkdir(parents=True, exist_ok=True)
            self._set(self.run.name)
        except OSError as error:
            return f"{self.link} could not be made to point to the run ({error.strerror})"
        self.pointed = True
        return None

    def restore(self) -> None:
        """Nothing was recorded: put back the link as it was, and leave no empty folder."""
        if not self.pointed or not self.link.is_symlink() or os.readlink(self.link) != self.run.name:
            return
        if self.before is not None:
            self._set(self.before)
            return
        self.link.unlink()
        if not any(self.link.parent.iterdir()):
            self.link.parent.rmdir()

    def _set(self, to: str) -> None:
        """Atomic: another process sees the old link or the new one."""
        new = self.link.with_name(f".latest-{os.getpid()}")
        new.symlink_to(to)
        new.replace(self.link)
