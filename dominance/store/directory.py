"""A run directory as a whole: whether it may be written, what is in its root, and its coordinates."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dominance.errors import BadOption, CorruptRun, NotARun, RunExists
from dominance.schema import DATA_NAME, ArraySpec, Layout
from dominance.store.codec import decode, encode, largest, little_endian
from dominance.store.files import Files, LocalFiles
from dominance.store.grid import Grid, array_metadata, chunk_key
from dominance.store.lock import occupied
from dominance.store.metadata import LEAST_LENGTH, MOST_METADATA, check_array, check_root
from dominance.store.seal import sealed, without_seal
from dominance.store.typed import Unfit, anything, fields, keyed, parse

COORDINATES = {"parameter": "int32", "index": "int64", "weight": "float64"}
"""Arrays below coord/, one entry per kept coordinate: Layout.coord_parameter, coord_index, coord_weight."""

Form: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], str]
"""Shape and chunk lengths of an array, and what stands between the numbers of a chunk in its name."""

_COORDINATE_CHUNK = 1 << 20
_ROOT = f"{DATA_NAME}/zarr.json"


def read_attributes(files: Files) -> dict[str, Any]:
    """The root attributes of a run.

    Raises:
        NotARun: there is nothing, or no run.
        SchemaTooNew: a newer dominance wrote it.
        CorruptRun: its root cannot be read.
        Unreachable: the store does not answer.
    """
    return read_root(files)[0]


def read_root(files: Files) -> tuple[dict[str, Any], dict[str, Any]]:
    """The root attributes of a run; and by path the zarr.json of its arrays, unchecked, once the run is closed.

    Raises: as ``read_attributes``.
    """
    where = files.where
    try:
        document = parse(files.get(_ROOT, MOST_METADATA))
        fields({"attributes": keyed(anything)})(document, "")
    except FileNotFoundError:
        if isinstance(files, LocalFiles) and not files.root.exists():
            raise NotARun(f"{where}: no such run", fix="check the path; a run is the directory given to -o") from None
        raise NotARun(
            f"{where}: no dominance run (it has no {DATA_NAME})", fix="name a directory that `dominance record` made"
        ) from None
    except Unfit as error:
        raise CorruptRun(f"{where}/{_ROOT}: cannot be read ({error})", fix="record the run again") from None
    consolidated = document.get("consolidated_metadata")
    nodes = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return check_root(without_seal(document["attributes"]), where), nodes if isinstance(nodes, dict) else {}


def claim(path: Path, *, overwrite: bool, resume: bool) -> dict[str, Any] | None:
    """The attributes of the run to resume, or None when a new one may be made at ``path``. Deletes nothing.

    A directory is a run that a kill cut short before its root was written when it has coordinates and no root: it
    holds no step, and ``resume`` starts anew there.

    Raises:
        RunExists: see RunWriter.
        BadOption: both flags.
    """
    if overwrite and resume:
        raise BadOption("overwriting and resuming exclude each other", fix="give one of --force and --resume")
    if not occupied(path):
        return None
    if not path.is_dir():
        raise RunExists(f"{path}: is a file", fix="choose another directory with -o")
    data = path / DATA_NAME
    if data.is_symlink():
        raise RunExists(f"{data}: is a link, which is not written through", fix="choose another directory with -o")
    unfinished = data.is_dir() and not (data / "zarr.json").exists()
    try:
        if unfinished and any(data.iterdir()) and not (data / "coord").is_dir():
            raise NotARun(str(path))
        found = None if unfinished else read_attributes(LocalFiles(path))
    except NotARun:
        raise RunExists(
            f"{path}: holds something that is no dominance run", fix="choose another directory with -o"
        ) from None
    except CorruptRun:
        if not overwrite:
            raise
        found = None
    if resume:
        return found
    if overwrite:
        return None
    raise RunExists(f"{path}: there is a run already", fix="add --force to replace it or --resume to go on with it")


def clear(path: Path) -> None:
    """Make the directory, without a run in it. Files of others in it stay.

    Raises:
        BadOption: it cannot be made.
    """
    data = path / DATA_NAME
    try:
        path.mkdir(parents=True, exist_ok=True)
        if data.exists():
            # The root goes first: a kill in between leaves what ``claim`` knows as cut short.
            (data / "zarr.json").unlink(missing_ok=True)
            for other in data.iterdir():
                if other.name != "coord":
                    shutil.rmtree(other) if other.is_dir() and not other.is_symlink() else other.unlink()
            shutil.rmtree(data)
        data.mkdir()
    except OSError as error:
        raise BadOption(f"{path}: cannot be made ({error.strerror})", fix="choose another directory with -o") from error


def check_same(found: dict[str, Any], path: Path, layout: Layout, exact: bool) -> None:
    """Raise BadOption unless ``layout`` goes on with the run at ``path``, whose attributes are ``found``."""

    def differs(what: str, fix: str = "record as the run was recorded, or add --force to replace it") -> BadOption:
        return BadOption(f"{path}: cannot be resumed, {what}", fix=fix)

    if found["schema_version"] != layout.version:
        raise differs(f"an older dominance wrote it, with schema {found['schema_version']}, not {layout.version}")
    if found["attribution"] != layout.attribution:
        raise differs(f"its attribution is {found['attribution']}, not {layout.attribution}")
    if found["exact"] != exact:
        raise differs(f"it was recorded {'with' if found['exact'] else 'without'} --exact")
    old = [(parameter["name"], parameter["layer"], tuple(parameter["shape"])) for parameter in found["parameters"]]
    new = [(parameter.name, parameter.layer, tuple(parameter.shape)) for parameter in layout.parameters]
    if old != new:
        unequal = next((a or b for a, b in zip_longest(old, new) if a != b), ("", "", ()))
        raise differs(f"its parameters are others (the first that differs is {unequal[0]})")
    if found["layers"] != list(layout.layers):
        raise differs("its layers are others")
    if list(layout.tasks)[: len(found["tasks"])] != found["tasks"]:
        tasks = ",".join(found["tasks"])
        raise differs(f"its tasks are {tasks}, not {','.join(layout.tasks)}", fix=f"give --tasks {tasks}")
    kept = read_coordinates(LocalFiles(path))
    given = layout.coord_parameter, layout.coord_index, layout.coord_weight
    for name, values in zip(COORDINATES, given, strict=True):
        if not np.array_equal(kept[name], np.asarray(values)):
            raise differs("it keeps other coordinates", fix="give the same --budget, or add --force to replace it")


def coordinate_files(layout: Layout) -> dict[str, bytes]:
    """Every file below coord/, by key."""
    files = {}
    given = layout.coord_parameter, layout.coord_index, layout.coord_weight
    for (name, dtype), values in zip(COORDINATES.items(), given, strict=True):
        array = np.asarray(values, little_endian(dtype))
        length = max(1, min(array.size, _COORDINATE_CHUNK))
        files[f"coord/{name}/zarr.json"] = array_metadata(dtype, array.shape, (length,), ("coord",))
        for number, start in enumerate(range(0, array.size, length)):
            chunk = np.zeros(length, array.dtype)
            piece = array[start : start + length]
            chunk[: piece.size] = piece
            files[chunk_key(f"coord/{name}", (number,))] = encode(chunk)
    return files


def array_forms(files: Files, specs: Sequence[ArraySpec]) -> list[Form]:
    """Of each array as it stands in the store: as ``check_array``.

    Raises:
        CorruptRun: one is missing, cannot be read, has another dtype or number of dims, or chunks that no run has.
    """
    keys = [f"{DATA_NAME}/{spec.path}/zarr.json" for spec in specs]
    read = files.read(keys, MOST_METADATA)
    return [array_form(files, spec, data) for spec, data in zip(specs, read, strict=True)]


def array_form(files: Files, spec: ArraySpec, data: bytes | Mapping[str, Any] | None) -> Form:
    """The same of one array, out of its zarr.json. Raises CorruptRun as ``array_forms``."""
    try:
        if data is None:
            raise Unfit("it has no zarr.json")
        document = parse(data) if isinstance(data, bytes) else data
        shape, chunk, separator = check_array(document, spec.dtype, spec.dims)
        if any(length > max(size, LEAST_LENGTH) for length, size in zip(chunk[1:], spec.shape, strict=True)):
            raise Unfit("its chunks are longer than it is")
    except Unfit as error:
        fix = "record the run again"
        raise CorruptRun(f"{files.where}: array {spec.path} cannot be read ({error})", fix=fix) from None
    return shape, chunk, separator


def read_grids(files: Files, specs: Sequence[ArraySpec]) -> dict[str, Grid]:
    """The chunk grids of a run that is there. Raises CorruptRun as ``array_forms``."""
    forms = array_forms(files, specs)
    found = zip(specs, forms, strict=True)
    return {spec.path: Grid(spec, chunk, separator) for spec, (_, chunk, separator) in found}


def read_coordinates(files: Files) -> dict[str, npt.NDArray[Any]]:
    """The arrays of COORDINATES by name.

    Raises:
        CorruptRun: one is missing or damaged.
    """
    result = {}
    specs = [ArraySpec(f"coord/{name}", ("coord",), (), dtype) for name, dtype in COORDINATES.items()]
    for name, spec, ((size,), (length,), separator) in zip(COORDINATES, specs, array_forms(files, specs), strict=True):
        chunks = []
        try:
            # One after the other: of a size that is not true the first missing chunk is the end.
            for number in range(-(-size // length)):
                key = f"{DATA_NAME}/{chunk_key(spec.path, (number,), separator)}"
                (data,) = files.read([key], largest(spec.dtype, (length,)))
                chunks.append(decode(data or b"", spec.dtype, (length,)))
        except ValueError as error:
            fix = "record the run again"
            raise CorruptRun(f"{files.where}: coord/{name} cannot be read ({error})", fix=fix) from None
        result[name] = np.concatenate(chunks)[:size] if chunks else np.zeros(0, spec.dtype)
    return result


def group_files(keys: Iterable[str]) -> dict[str, bytes]:
    """The zarr.json of every group above the arrays whose zarr.json are among ``keys``."""
    groups = {key.split("/")[0] for key in keys if key.endswith("/zarr.json") and key.count("/") == 2}
    document = sealed({"attributes": {}, "zarr_format": 3, "node_type": "group"})
    return {f"{group}/zarr.json": document for group in sorted(groups)}
