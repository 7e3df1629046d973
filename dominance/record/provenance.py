"""Where a run comes from: versions, optimizers, and the commit of the script."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dominance.record.attribution import Attributor


def describe(attributor: Attributor) -> dict[str, Any]:
    """An optimizer: its class, the hyper-parameters of its groups, and how its steps are split."""
    optimizer = attributor.optimizer
    groups = []
    for group in optimizer.param_groups:
        options = {k: float(v) if isinstance(v, Tensor) else v for k, v in group.items() if k != "params"}
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
        # What is left out is code or tensors (foreach caches, callables): no hyper-parameters.
        groups.append({k: v for k, v in options.items() if isinstance(v, (int, float, bool, str, list, type(None)))})
    return {"class": type(optimizer).__name__, "groups": groups[:20], "note": attributor.note}


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
