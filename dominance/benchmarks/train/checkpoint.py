"""The state of a training on disk: enough to go on to the bit. It loads without running any code that is in it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dominance.errors import CorruptRun, NotARun, SchemaTooNew

NAME = "checkpoint.pt"
VERSION = 1


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint of a run. Atomic: a kill leaves the old one or the new one.

    Args:
        state: tensors, numbers, strings, None, and lists, tuples and dicts of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    new = path.with_name(f".{NAME}-{os.getpid()}")
    try:
        with new.open("wb") as file:
            torch.save({"version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def load(folder: Path) -> dict[str, Any]:
    """The state that ``save`` was given.

    Raises:
        NotARun: there is no checkpoint.
        SchemaTooNew: a newer dominance wrote it.
        CorruptRun: it cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        fix = "name a directory that `dominance train` made" if folder.exists() else "check the path"
        raise NotARun(f"{folder}: no {NAME}", fix=fix)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state.pop("version")
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise CorruptRun(f"{path}: cannot be read ({type(error).__name__})", fix="train anew with --force") from None
    if version > VERSION:
        raise SchemaTooNew(f"{path}: version {version}, this dominance reads up to {VERSION}", fix="upgrade dominance")
    assert isinstance(state, dict)
    return state


def there(folder: Path) -> bool:
    """Whether there is a checkpoint."""
    return (folder / NAME).is_file()


def remove(folder: Path) -> None:
    """Take the checkpoint away, if there is one."""
    (folder / NAME).unlink(missing_ok=True)
