"""Jobs that are scripts of the user: each in a Python of its own, which has imported nothing yet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ScriptJob:
    """One recorded run of a script.

    Attributes:
        name: of its folder.
        label: what it is, in a few words.
        flags: of ``dominance record``.
        script: the script and its arguments, with ``-m`` before a module.
        seed: which repeat of it this is.
    """

    name: str
    label: str
    flags: tuple[str, ...]
    script: tuple[str, ...]
    seed: int = 0

    module: ClassVar[str] = "dominance"
    can_resume: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def command(self, folder: str) -> list[str]:
        """What ``dominance`` is given."""
        return ["record", "-q", "--force", "-o", folder, *self.flags, *self.script]


def share_cores(workers: int) -> None:
    """Scripts that run at the same time share the cores, unless the user says how many threads each takes."""
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
