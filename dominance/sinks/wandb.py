"""Weights & Biases: an offline run in ``RUN/wandb``, which ``wandb sync`` uploads; online where WANDB_MODE says so."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

_SAID = ("script", "argv", "git_commit", "seed", "schedule", "options", "optimizers", "attribution", "versions")
"""What the run says of itself that becomes W&B's config."""


class WandB:
    """One history row a step."""

    def __init__(self, path: Path, attrs: Mapping[str, Any]) -> None:
        mode = os.environ.get("WANDB_MODE", "offline")
        config = {name: attrs[name] for name in _SAID if name in attrs}
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        self._run = wandb.init(dir=str(path), name=path.name, mode=mode, config=config, settings=settings)
        folder = Path(self._run.dir).parent
        self.where = f"wandb sync {shlex.quote(str(folder))}" if mode == "offline" else str(self._run.url or folder)

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """The numbers of one step."""
        self._run.log({**numbers, "time": seconds}, step=step)

    def close(self) -> None:
        """End W&B's run."""
        self._run.finish()


def begin(folder: Path, attrs: Mapping[str, Any]) -> WandB:
    """Of this run."""
    return WandB(folder, attrs)
