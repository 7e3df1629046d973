"""What probes found, beside the steps of a run: groups below ``probe/``, each written whole, after the fact.

``data.zarr/probe/zarr.json`` says, in its attribute ``groups``, which folder below ``probe/`` holds each probe. A new
result is written into a new folder, then that file is replaced, and only then the old folder goes: a kill in between
leaves the old result. Names stand in the attributes of a group and numbers in its arrays, as everywhere in a run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import CorruptRun, RecordingFailed
from dominance.schema import DATA_NAME, ArraySpec
from dominance.store.codec import decode, encode, little_endian
from dominance.store.directory import array_forms, read_attributes
from dominance.store.disk import PARTIAL, refuse_links
from dominance.store.files import Files, LocalFiles, RunPath, files_of
from dominance.store.grid import Grid, array_metadata, chunk_key
from dominance.store.lazy import StoredArray
from dominance.store.metadata import MOST_METADATA
from dominance.store.room import Room, block_of
from dominance.store.seal import intact, sealed, without_seal
from dominance.store.typed import Type, Unfit, anything, fields, keyed, listed, names, one_of, parse, text, whole
from dominance.visible import all_visible

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
    if budget is not None and _taken(root, files, pointer) > budget:
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


def _taken(root: Path, files: dict[str, bytes], pointer: bytes) -> int:
    """Bytes of the disk that the run takes once these files are below ``probe/``, and before an older result goes."""
    room = Room(block_of(root))
    for file in root.rglob("*"):
        if file.is_file():
            room.put(file.relative_to(root).as_posix(), file.stat().st_size)
    for key, data in files.items():
        room.put(f"{GROUP}/{key}", len(data))
    return room.total + room.beside(f"{GROUP}/zarr.json", len(pointer))


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
    """One line for each array or document of a probe that is missing or does not match its checksum."""
    problems = []
    try:
        groups = _groups(run)
        documents = ["zarr.json"] if groups else []
        for folder in groups.values():
            arrays = _arrays(run, folder)
            documents += [f"{folder}/zarr.json", *(f"{folder}/{name}/zarr.json" for name in arrays)]
            for array in arrays.values():
                problems += _array_problems(run, array)
    except CorruptRun as error:
        return [*problems, error.message]
    keys = [f"{DATA_NAME}/{GROUP}/{document}" for document in documents]
    sound = {key: data is None or intact(data) for key, data in zip(keys, run.read(keys, MOST_METADATA), strict=True)}
    if any(whole is not None for whole in sound.values()):
        said = {False: "checksum does not match", None: "its checksum is missing"}
        problems += [f"{key.removeprefix(f'{DATA_NAME}/')}: {said[whole]}" for key, whole in sound.items() if not whole]
    return problems


def _array_problems(run: Files, array: StoredArray) -> list[str]:
    if 0 in array.shape:
        return []
    key = array.grid.key(0, (0,) * (len(array.shape) - 1))
    try:
        decode(run.get(f"{DATA_NAME}/{key}", array.grid.largest), array.grid.spec.dtype, array.grid.chunk)
    except FileNotFoundError:
        return [f"{array.grid.path}: chunk {key} is missing"]
    except ValueError as error:
        return [f"{array.grid.path}: chunk {key}: {error}"]
    return []


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
            files[chunk_key(f"{folder}/{name}", [0] * len(dims))] = encode(values)
    coordinates = [str(name) for name in found.coords]
    contents = {"arrays": arrays, "labels": labels, "coordinates": coordinates, "attributes": dict(found.attrs)}
    return {f"{folder}/zarr.json": _group_document(contents), **files}


def _group_document(attributes: dict[str, Any]) -> bytes:
    return sealed({"attributes": attributes, "zarr_format": 3, "node_type": "group"})


_NAME = re.compile(r"[^/\\]+")
_FOLDER = re.compile(r"[^/\\]+\.\d+")

_POINTER = fields({"attributes": fields({"groups": keyed(text)})})

_ENTRY = fields({"dims": names, "shape": listed(whole(0, 2**48)), "dtype": one_of("float64", "int64")})

_CONTENTS = fields(
    {
        "attributes": fields(
            {
                "arrays": keyed(_ENTRY),
                "labels": keyed(fields({"dims": names, "values": anything})),
                "coordinates": names,
                "attributes": keyed(anything),
            }
        )
    }
)


def _groups(files: Files) -> dict[str, str]:
    """The folder of each probe; none where nothing was probed."""
    try:
        groups: dict[str, str] = _attributes(files, "zarr.json", _POINTER)["groups"]
    except FileNotFoundError:
        return {}
    for name, folder in groups.items():
        if not _NAME.fullmatch(name) or not _FOLDER.fullmatch(folder):
            raise _unreadable(files, "zarr.json", "a name that no probe has")
    return groups


def _contents(files: Files, folder: str) -> dict[str, Any]:
    try:
        return _attributes(files, f"{folder}/zarr.json", _CONTENTS)
    except FileNotFoundError:
        raise CorruptRun(f"{files.where}: {GROUP}/{folder} is missing", fix="probe the run again") from None


def _attributes(files: Files, key: str, kind: Type) -> dict[str, Any]:
    try:
        document = parse(files.get(f"{DATA_NAME}/{GROUP}/{key}", MOST_METADATA))
        kind(document, "")
    except Unfit as error:
        raise _unreadable(files, key, str(error)) from None
    return without_seal(document["attributes"])


def _unreadable(files: Files, key: str, why: str) -> CorruptRun:
    return CorruptRun(f"{files.where}: {GROUP}/{key} cannot be read ({why})", fix="probe the run again")


def _arrays(files: Files, folder: str) -> dict[str, StoredArray]:
    """The arrays of a group by name. Raises CorruptRun where one has not the form that the group says."""
    found = {}
    for name, entry in _contents(files, folder)["arrays"].items():
        dims, shape = tuple(entry["dims"]), tuple(entry["shape"])
        if not _NAME.fullmatch(name) or name == ".." or not dims or len(shape) != len(dims):
            raise _unreadable(files, f"{folder}/zarr.json", f"arrays.{name}")
        spec = ArraySpec(f"{GROUP}/{folder}/{name}", dims, shape[1:], entry["dtype"])
        (form,) = array_forms(files, [spec])
        if form[0] != shape:
            raise _unreadable(files, f"{folder}/{name}/zarr.json", f"its shape is not {shape}")
        found[name] = StoredArray(files, Grid(spec, *form[1:]), shape[0], [0] * max(shape, default=0))
    return found


def _opened(files: Files, folder: str) -> xr.Dataset:
    contents = _contents(files, folder)
    variables: dict[str, Any] = {
        name: array.variable(array.grid.spec.dims) for name, array in _arrays(files, folder).items()
    }
    try:
        for name, entry in all_visible(contents["labels"]).items():
            values = np.array(entry["values"])
            variables[name] = (entry["dims"], values.astype(object) if values.dtype.kind == "U" else values)
        coordinates = {name: variables.pop(name) for name in contents["coordinates"]}
        return xr.Dataset(variables, coordinates, all_visible(contents["attributes"]))
    except (ValueError, KeyError) as error:  # dims of two variables that do not agree, or lists of uneven lengths
        raise _unreadable(files, f"{folder}/zarr.json", str(error).splitlines()[0][:200]) from None


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
