"""Processes that a trainer starts by the script's own command, as Lightning does with ``devices=2``.

Such a command would run the script without a recording. It is made one that records, into the same run, where nothing
lies in the way of a recording in the other processes, which would end them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.nn.modules.module import register_module_parameter_registration_hook

from dominance.record.launch import several, with_rank
from dominance.record.patches import replace
from dominance.store.lock import occupied

_LAUNCHERS = [
    f"{package}.strategies.launchers.subprocess_script"
    for package in ("lightning.fabric", "lightning.pytorch", "lightning_fabric", "pytorch_lightning")
]
_COMMAND = "_basic_subprocess_cmd"


class Children:
    """Has the processes recorded that the script's trainer starts.

    Args:
        path: the run directory.
        flags: of ``dominance record``, as this process was given them.
    """

    def __init__(self, path: Path, flags: Sequence[str]) -> None:
        self._path = path
        self._flags = list(flags)
        self._undo: list[Callable[[], None]] = []
        self._seen: set[str] = set()
        # A trainer is imported before its model is made.
        self._undo.append(register_module_parameter_registration_hook(self._look).remove)

    def stop(self) -> None:
        """Leave the trainers as they are."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def _look(self, *_: object) -> None:
        for name in _LAUNCHERS:
            launcher = sys.modules.get(name)
            if name not in self._seen and hasattr(launcher, _COMMAND):
                self._seen.add(name)
                self._undo.append(replace(launcher, _COMMAND, self._recording))

    def _recording(self, original: Callable[[], Sequence[str]]) -> Callable[[], Sequence[str]]:
        def command() -> Sequence[str]:
            words = original()
            return self._recorded(words) if self._may_be_recorded(words) else words

        return command

    def _may_be_recorded(self, words: Sequence[str]) -> bool:
        environment: Any = os.environ
        if not several() or environment.get("NODE_RANK", "0") != "0" or words[:1] != [sys.executable]:
            return False
        return not any(occupied(with_rank(self._path, n)) for n in range(1, int(environment["WORLD_SIZE"])))

    def _recorded(self, words: Sequence[str]) -> Sequence[str]:
        return [words[0], "-m", "dominance", "record", *self._flags, "-o", str(self._path), *words[1:]]
