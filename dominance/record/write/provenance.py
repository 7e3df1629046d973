"""Where a run comes from: versions, optimizers, and the commit of the script."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dominance.record.split.steppers import Splits
from dominance.schema import STATE_DOMINATED


def describe(attributor: Splits) -> dict[str, Any]:
    """An optimizer: its class, the hyper-parameters that its groups were given, and how its steps are split."""
    found = {"class": type(attributor.optimizer).__name__, "groups": attributor.given, "note": attributor.note}
    return found | ({STATE_DOMINATED: True} if getattr(attributor, "state_dominated", False) else {})


def versions() -> dict[str, str]:
    """Versions of what made the run."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("dominance", "numpy", "zarr"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            # Run from a source tree that is not installed.
            found[package] = "unknown"
    return found


def git_commit(script: str | None) -> str | None:
    """Commit of the repository that the script lies in; None where there is none.

    Read from the repository's files: starting a process would touch the script's warning filters.
    """
    folder = Path(script).resolve().parent if script is not None and Path(script).exists() else None
    for parent in () if folder is None else (folder, *folder.parents):
        git = parent / ".git"
        try:
            if git.is_file():
                git = parent / git.read_text().removeprefix("gitdir:").strip()
            if git.is_dir():
                return _head(git)
        except (OSError, UnicodeDecodeError):
            # A repository that cannot be read: the attribute is then empty.
            return None
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    common = git / "commondir"
    shared = (git / common.read_text().strip()).resolve() if common.exists() else git
    for place in (git / name, shared / name):
        if place.exists():
            return place.read_text().strip()
    packed = shared / "packed-refs"
    lines = packed.read_text().splitlines() if packed.exists() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def processes() -> dict[str, int]:
    """Which of how many processes this is, as its process group knows, or else its launcher."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return {"rank": dist.get_rank(), "world_size": dist.get_world_size()}
    return {"rank": int(os.environ.get("RANK", "0")), "world_size": int(os.environ.get("WORLD_SIZE", "1"))}
