"""Where the runs of models lie that one process trains one after the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dominance.schema import DATA_NAME, MODEL_OF


def model_path(path: Path, number: int) -> Path:
    """The run directory of a process's model by its number: PATH itself, PATH-2, PATH-3 …"""
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def free_path(path: Path, number: int) -> Path:
    """Where a further model's run can lie: what somebody else has put there stays."""
    while (other := model_path(path, number)).exists():
        number += 1
    return other


def remove_models(path: Path) -> None:
    """Delete the runs of further models that belong to a run which is about to be replaced; nothing else."""
    number = 2
    while (other := model_path(path, number)).is_dir():
        attributes = other / DATA_NAME / "zarr.json"
        known = json.loads(attributes.read_text())["attributes"] if attributes.is_file() else {}
        if path.name not in known.get(MODEL_OF, ()):
            return
        shutil.rmtree(other / DATA_NAME)
        if not any(other.iterdir()):
            other.rmdir()
        number += 1
