"""TensorBoard: event files in ``RUN/tensorboard``, by its own writer; neither TensorFlow nor torch is loaded."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.summary import Writer


class TensorBoard:
    """One scalar a name, at the time when the step was taken."""

    def __init__(self, folder: Path) -> None:
        self.where = f"tensorboard --logdir {shlex.quote(str(folder))}"
        self._writer = Writer(str(folder))

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """The numbers of one step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step, wall_time=seconds)

    def close(self) -> None:
        """Write what is buffered."""
        self._writer.close()


def begin(folder: Path, attrs: Mapping[str, Any]) -> TensorBoard:
    """Of this run."""
    return TensorBoard(folder / "tensorboard")
