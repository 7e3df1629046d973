"""What probes found, beside the steps of a run: groups below ``probe/``, each written whole, after the fact.

``data.zarr/probe/zarr.json`` says, in its attribute ``groups``, which folder below ``probe/`` holds each probe. A new
result is written into a new folder, then that file is replaced, and only then the old folder goes: a kill in between
leaves the old result. Names stand in the attributes of a group and numbers in its arrays, as everywhere in a run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import CorruptRun, RecordingFailed
from dominance.schema import DATA_NAME, ArraySpec
from dominance.store.codec import decode, encode, little_endian
from dominance.store.directory import read_attributes
from dominance.store.disk import PARTIAL, refuse_links
from dominance.store.files import Files, LocalFiles, RunPath, files_of
from dominance.store.grid import array_metadata
from dominance.store.lazy import StoredArray

GROUP = "probe"


def write_probe(run: str | os.PathLike[str], name: str, found: xr.Dataset) -> None:
    """Put the result of a probe into a run, in place of an older one of that name.

    Args:
        run: the run directory.
        name: of the probe, such as "noise".
        found: numeric variables; coordinates may be text. Attributes are what JSON can hold.

    Raises:
        NotARun, SchemaTooNew, CorruptRun: as ``open_run``.
        RecordingFailed: it does not fit into the run's budget; nothing was written.
        OSError: the disk is full, or gone; an older result is still there.
    """
    path = Path(os.path.realpath(run))
    there = LocalFiles(path)
    attributes = read_attributes(there)
    root = path / DATA_NAME
    refuse_links((root, root / GROUP, root / GROUP / "zarr.json"))
    groups = _groups(there)
    number = 1 + max((_number(folder.name) for folder in _folders(root)), default=0)
    folder = f"{name}.{number}"
    files = _files(found, folder)
    pointer = _group_document({"groups": {**groups, name: folder}})
    budget = attributes.get("budget")
    size = sum(map(len, files.values())) + len(pointer)
    if budget is not None and size + sum(f.stat().st_size for f in root.rglob("*") if f.is_file()) > budget:
        raise RecordingFailed(
            f"{path}: the probe {name} does not fit into the budget of {budget} bytes",
            fix="record with a larger budget",
        )
    for key, data in files.items():
        file = root / GROUP / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    unfinished = root / GROUP / f"zarr.json{PARTIAL}"
    unfinished.write_bytes(pointer)
    os.replace(unfinished, root / GROUP / "zarr.json")
    for old in _folders(root):
        if old.name not in {**groups, name: folder}.values():
            shutil.rmtree(old)


def read_probes(run: RunPath | Files, tasks: Sequence[str] | None = None) -> dict[str, xr.Dataset]:
    """The results of all probes of a run, by name; arrays are read when they are used.

    Args:
        tasks: the tasks of the run, on which results are aligned: it may have got more of them since.

    Raises:
        CorruptRun: a result cannot be read.
    """
    files = files_of(run)
    return {name: _aligned(_opened(files, folder), tasks) for name, folder in _groups(files).items()}


def probe_problems(run: Files) -> list[str]:
    """One line for each array of a probe that is missing or does not match its checksum."""
    problems = []
    try:
        groups = _groups(run)
        for folder in groups.values():
            for name, dims, shape, dtype in _arrays(_contents(run, folder)):
                if 0 in shape:
                    continue
                key = f"{GROUP}/{folder}/{name}/c/{'/'.join('0' for _ in dims)}"
                try:
                    decode(run.get(f"{DATA_NAME}/{key}"), dtype, shape)
                except FileNotFoundError:
                    problems.append(f"{GROUP}/{folder}/{name}: chunk {key} is missing")
                except ValueError as error:
                    problems.append(f"{GROUP}/{folder}/{name}: chunk {key}: {error}")
    except CorruptRun as error:
        problems.append(error.message)
    return problems


def _files(found: xr.Dataset, folder: str) -> dict[str, bytes]:
    """Every file of the group, by its key below ``probe/``."""
    arrays, labels, files = {}, {}, {}
    for key, variable in found.variables.items():
        name, dims = str(key), [str(dim) for dim in variable.dims]
        values = variable.to_numpy()
        if values.dtype.kind not in "fiu" or not dims:
            labels[name] = {"dims": dims, "values": values.tolist()}
            continue
        dtype = "float64" if values.dtype.kind == "f" else "int64"
        values = np.ascontiguousarray(values, little_endian(dtype))
        arrays[name] = {"dims": dims, "shape": list(values.shape), "dtype": dtype}
        chunk = [max(1, size) for size in values.shape]
        files[f"{folder}/{name}/zarr.json"] = array_metadata(dtype, values.shape, chunk, dims)
        if values.size:
            files[f"{folder}/{name}/c/{'/'.join('0' for _ in dims)}"] = encode(values)
    coordinates = [str(name) for name in found.coords]
    contents = {"arrays": arrays, "labels": labels, "coordinates": coordinates, "attributes": dict(found.attrs)}
    return {f"{folder}/zarr.json": _group_document(contents), **files}


def _group_document(attributes: dict[str, Any]) -> bytes:
    document = {"attributes": attributes, "zarr_format": 3, "node_type": "group"}
    return json.dumps(document, allow_nan=False).encode()


def _groups(files: Files) -> dict[str, str]:
    """The folder of each probe; none where nothing was probed."""
    try:
        return {str(name): str(folder) for name, folder in _attributes(files, "zarr.json")["groups"].items()}
    except FileNotFoundError:
        return {}
    except (KeyError, AttributeError) as error:
        where = f"{files.where}: {GROUP}/zarr.json"
        raise CorruptRun(f"{where} cannot be read ({error!r})", fix="probe the run again") from None


def _contents(files: Files, folder: str) -> dict[str, Any]:
    try:
        return _attributes(files, f"{folder}/zarr.json")
    except FileNotFoundError:
        raise CorruptRun(f"{files.where}: {GROUP}/{folder} is missing", fix="probe the run again") from None


def _attributes(files: Files, key: str) -> dict[str, Any]:
    try:
        found = json.loads(files.get(f"{DATA_NAME}/{GROUP}/{key}"))["attributes"]
        if not isinstance(found, dict):
            raise TypeError(type(found).__name__)
    except (ValueError, KeyError, TypeError) as error:
        where = f"{files.where}: {GROUP}/{key}"
        raise CorruptRun(f"{where} cannot be read ({error!r})", fix="probe the run again") from None
    return found


def _arrays(contents: dict[str, Any]) -> list[tuple[str, list[str], tuple[int, ...], str]]:
    """Name, dims, shape and dtype of each array of a group."""
    listed = contents.get("arrays", {}).items()
    return [(name, entry["dims"], tuple(entry["shape"]), entry["dtype"]) for name, entry in listed]


def _opened(files: Files, folder: str) -> xr.Dataset:
    contents = _contents(files, folder)
    variables: dict[str, Any] = {}
    for name, dims, shape, dtype in _arrays(contents):
        spec = ArraySpec(f"{GROUP}/{folder}/{name}", tuple(dims), shape[1:], dtype)
        variables[name] = StoredArray(files, spec, shape[0]).variable(dims)
    for name, entry in contents["labels"].items():
        values = np.array(entry["values"])
        variables[name] = (entry["dims"], values.astype(object) if values.dtype.kind == "U" else values)
    coordinates = {name: variables.pop(name) for name in contents["coordinates"]}
    return xr.Dataset(variables, coordinates, contents["attributes"])


def _aligned(found: xr.Dataset, tasks: Sequence[str] | None) -> xr.Dataset:
    if tasks is None or "task" not in found.coords or found["task"].to_numpy().tolist() == list(tasks):
        return found
    return found.reindex(task=list(tasks))


def _folders(root: Path) -> list[Path]:
    if not (root / GROUP).is_dir():
        return []
    return [folder for folder in (root / GROUP).iterdir() if folder.is_dir() and not folder.is_symlink()]


def _number(folder: str) -> int:
    """What stands behind the last dot.

    >>> _number("noise.12")
    12
    """
    last = folder.rpartition(".")[2]
    return int(last) if last.isdecimal() else 0
