"""What a job is: a module of Python and its arguments, known by what they are. Nothing here runs one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

CHECKPOINT = "checkpoint.pt"
"""What a job that can resume leaves in its folder, to go on with."""


class Job(Protocol):
    """Something to run once; its outcome lies in a folder of its name, for everyone who asks for it."""

    @property
    def name(self) -> str:
        """Of its folder: says what it is; two jobs of one name are the same."""

    @property
    def module(self) -> str:
        """What python runs: ``python -m <module>``."""

    @property
    def can_resume(self) -> bool:
        """Whether ``<module> train --resume <folder>`` goes on with it after a kill; otherwise it begins anew."""

    @property
    def fresh(self) -> bool:
        """Whether it needs a Python that has imported nothing; else it is forked from one that has torch."""

    def command(self, folder: str) -> list[str]:
        """Arguments of the module; the outcome is to lie in ``folder``."""


@dataclass(frozen=True)
class Request:
    """A job, and all that who runs it must know. It is JSON, and holds no code.

    Attributes:
        folder: of the outcome, absolute; beside it lie the log, the mark and, meanwhile, the lock.
        begin, resume: arguments of ``module``, from the beginning and from a checkpoint; ``resume`` may be empty.
        cwd: where it runs.
        versions: what who runs it must have; None: is not compared.
        environment: variables; where ``path`` is given all there are, otherwise in addition to the worker's own.
        path: ``sys.path`` of the caller, where caller and worker are one machine.
    """

    name: str
    folder: str
    module: str
    begin: list[str]
    resume: list[str] = field(default_factory=list)
    fresh: bool = False
    cwd: str = "."
    versions: dict[str, str] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    path: list[str] | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        """What ``to_json`` returned."""
        return cls(**json.loads(text))

    @property
    def outcome(self) -> Path:
        """The folder."""
        return Path(self.folder)

    def words(self) -> list[str]:
        """Of ``python -m``: goes on where there is a checkpoint.

        >>> Request("a", "/runs/a", "dominance", ["train", "digits"]).words()
        ['dominance', 'train', 'digits']
        """
        goes_on = bool(self.resume) and (self.outcome / CHECKPOINT).exists()
        return [self.module, *(self.resume if goes_on else self.begin)]

    def digest(self, versions: Mapping[str, str]) -> str:
        """Of the settings, where the outcome is to lie, and the versions: by it a job is known to other callers."""
        return _digest([self.module, self.begin, self.folder], versions)


def request(job: Job, folder: Path, *, versions: Mapping[str, str] | None) -> Request:
    """The job as a worker is told of it, whose outcome is to lie in ``folder / job.name``."""
    where = str(folder.absolute() / job.name)
    return Request(
        name=job.name,
        folder=where,
        module=job.module,
        begin=job.command(where),
        resume=["train", "--resume", where] if job.can_resume else [],
        fresh=job.fresh,
        cwd=os.getcwd(),
        versions=None if versions is None else dict(versions),
    )


@dataclass(frozen=True)
class Answer:
    """What became of a job on a worker.

    Attributes:
        kind: ``done``; ``there``: somebody had done it; ``held``: somebody else is at it; ``other``: the worker has
            other versions; ``refused``: it cannot do it; ``killed``: by a signal, or its worker was lost; ``failed``:
            by itself.
        said: the last line of its log, or how it ended.
        seconds: that it took.
    """

    kind: Literal["done", "there", "held", "other", "refused", "killed", "failed"]
    said: str = ""
    seconds: float = 0.0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Answer:
        """What ``to_json`` returned."""
        return cls(**json.loads(text))


def beside(folder: Path, ending: str) -> Path:
    """What lies beside the outcome: its ``log``, ``done`` or ``lock``.

    >>> beside(Path("runs/digits-uw-s0"), "log").name
    'digits-uw-s0.log'
    """
    return folder.with_name(f"{folder.name}.{ending}")


def write_mark(told: Request, words: Sequence[str], versions: Mapping[str, str], seconds: float) -> None:
    """Say that the job is done. Whole or not at all, also when two do it."""
    said = {
        "command": ["python", "-m", *words],
        "versions": dict(versions),
        "digest": _digest([told.module, told.begin, told.folder], versions),
        "host": os.uname().nodename if hasattr(os, "uname") else "",
        "seconds": round(seconds, 3),
    }
    mark = beside(told.outcome, "done")
    new = mark.with_name(f".{mark.name}-{os.getpid()}")
    try:
        new.write_text(json.dumps(said) + "\n", encoding="utf-8")
        new.replace(mark)
    finally:
        new.unlink(missing_ok=True)


def is_done(folder: Path) -> bool:
    """Whether the mark and the outcome are there."""
    return beside(folder, "done").exists() and folder.exists()


def versions_of(folder: Path) -> dict[str, str]:
    """Of what made the outcome, as its mark says; empty where it does not say."""
    try:
        said: Any = json.loads(beside(folder, "done").read_text(encoding="utf-8"))
    except ValueError:
        return {}  # a mark from before it said so
    found = said.get("versions") if isinstance(said, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def _digest(settings: Sequence[Any], versions: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([settings, versions], sort_keys=True).encode()).hexdigest()[:16]
