"""A look at the run directory before a script starts: whether a recording can go there, as far as that is known then.

What the script's model decides is known at its first step only. Nothing heavy is loaded: what the script puts into
``os.environ`` before its own imports must still count.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dominance.errors import BadOption, CorruptRun, RunExists
from dominance.schema import DATA_NAME, SCHEMA_VERSION
from dominance.store.typed import Unfit, fields, listed, parse, text, truth, whole

_READ = fields(
    {"schema_version": whole(1), "exact": truth, "attribution": text, "parameters": listed(fields({"name": text}))}
)


def check_replaceable(path: Path) -> None:
    """Raise RunExists where what is there is no run, so that it is not deleted.

    One that a kill cut short before its root was written has coordinates.
    """
    data = path / DATA_NAME
    known = data.is_dir() and ((data / "zarr.json").exists() or (data / "coord").is_dir() or not any(data.iterdir()))
    if data.is_symlink() or not known:
        raise RunExists(f"{path}: holds something that is no dominance run", fix="choose another -o")


def check_resumable(path: Path, *, exact: bool, attribution: str, records: Callable[[str], bool]) -> None:
    """Raise where the run that is there was recorded otherwise than these options ask for.

    Args:
        records: whether a parameter of this name is to be recorded.

    Raises:
        RunExists: it is no run.
        BadOption: an option differs.
        CorruptRun: its root cannot be read.
    """
    check_replaceable(path)
    root = path / DATA_NAME / "zarr.json"
    if not root.exists():
        return
    try:
        if not root.is_file() or root.is_symlink():
            raise Unfit("it is no file")
        found: dict[str, Any] = parse(root.read_bytes())
        fields({"attributes": _READ})(found, "")
    except Unfit as error:
        raise CorruptRun(f"{root}: cannot be read ({error})", fix="add --force to replace the run") from None
    attrs = found["attributes"]
    names = [parameter["name"] for parameter in attrs["parameters"]]
    why = ""
    if attrs["schema_version"] != SCHEMA_VERSION:
        why = f"another dominance wrote it, with schema {attrs['schema_version']}, not {SCHEMA_VERSION}"
    elif attrs["exact"] != exact:
        why = f"it was recorded {'with' if attrs['exact'] else 'without'} --exact"
    elif attrs["attribution"] not in (attribution, "solo"):  # which is what there is of some optimizers
        why = f"its attribution is {attrs['attribution']}, not {attribution}"
    elif left_out := [name for name in names if not records(name)]:
        why = f"--params leaves out {left_out[0]}, which it holds"
    if why:
        fix = "record as the run was recorded, or add --force to replace it"
        raise BadOption(f"{path}: cannot be resumed, {why}", fix=fix)
