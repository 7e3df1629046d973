"""Where the runs of models lie that one process trains one after the other."""

from __future__ import annotations

import shutil
from pathlib import Path

from dominance.schema import DATA_NAME, MODEL_OF
from dominance.store.typed import Unfit, fields, listed, parse, text


def model_path(path: Path, number: int) -> Path:
    """The run directory of a process's model by its number: PATH itself, PATH-2, PATH-3 …"""
    return path if number == 1 else path.with_name(f"{path.name}-{number}")


def free_path(path: Path, number: int) -> Path:
    """Where a further model's run can lie: what somebody else has put there stays."""
    while (other := model_path(path, number)).exists():
        number += 1
    return other


def _models_named(data: Path) -> list[str]:
    """The models that a run names; none where it is no run, or one that cannot be read."""
    root = data / "zarr.json"
    if data.is_symlink() or root.is_symlink() or not root.is_file():
        return []
    try:
        found = parse(root.read_bytes())
        fields({"attributes": fields({MODEL_OF: listed(text)})})(found, "")
    except Unfit:
        return []
    return list(found["attributes"][MODEL_OF])


def remove_models(path: Path) -> None:
    """Delete the runs of further models that belong to a run which is about to be replaced; nothing else."""
    number = 2
    while (other := model_path(path, number)).is_dir():
        if path.name not in _models_named(other / DATA_NAME):
            return
        shutil.rmtree(other / DATA_NAME)
        if not any(other.iterdir()):
            other.rmdir()
        number += 1
