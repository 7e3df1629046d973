"""verify: read every committed chunk of a run and say what is wrong."""

from __future__ import annotations

import numpy as np

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME, Parameter
from dominance.store.codec import decode
from dominance.store.directory import COORDINATES, array_forms, read_attributes, read_coordinates
from dominance.store.files import Files, RunPath, Scratch, files_of
from dominance.store.grid import Grid
from dominance.store.metadata import MOST_METADATA, check_coordinates
from dominance.store.probes import probe_problems
from dominance.store.seal import intact
from dominance.store.source import expected_arrays, resolved, task_since


def verify(path: RunPath) -> list[str]:
    """Check every committed chunk and all metadata against their checksums, and every shape against what was committed.

    Args:
        path: as for open_run.

    Returns:
        One line a problem, naming the array, the chunk and its steps; empty when the run is whole.

    Raises:
        NotARun, SchemaTooNew, Unreachable: as open_run.
    """
    run = files_of(path)
    problems: list[str] = []
    try:
        attrs = read_attributes(run)
        run = resolved(run)
        parameters = [Parameter.from_json(data) for data in attrs["parameters"]]
        coordinates = read_coordinates(run)
        expected = expected_arrays(attrs, parameters, coordinates)
        problems += _metadata_problems(run, [spec.path for spec, _ in expected])
        check_coordinates(coordinates, parameters, run.where)
    except CorruptRun as error:
        return [*problems, error.message]
    since = task_since(attrs)
    for spec, rows in expected:
        try:
            ((shape, chunk, separator),) = array_forms(run, [spec])
            if any(have < want for have, want in zip(shape, (rows, *spec.shape), strict=True)):
                problems.append(f"{spec.path}: has the shape {shape} where {(rows, *spec.shape)} was committed")
            problems += _chunk_problems(run, Grid(spec, chunk, separator), rows, since)
        except CorruptRun as error:
            problems.append(error.message)
    return problems + probe_problems(run)


def has_checksums(path: RunPath) -> bool:
    """Whether the metadata of the run have checksums; runs that an older dominance wrote have some of chunks alone.

    Raises:
        Unreachable: as open_run.
    """
    run = files_of(path)
    return any(_intact(run, name) is not None for name in ("", "step", "loss/total"))


def _metadata_problems(run: Files, arrays: list[str]) -> list[str]:
    """One line for each document of metadata, but for those of probes, that is not as it was written."""
    coordinates = [f"coord/{name}" for name in COORDINATES]
    groups = sorted({name.split("/")[0] for name in (*arrays, *coordinates) if "/" in name})
    found = {name: _intact(run, name) for name in ("", *groups, *coordinates, *arrays)}
    if all(whole is None for whole in found.values()):
        return []
    said = {False: "checksum does not match", None: "its checksum is missing"}
    return [f"{name}/zarr.json".lstrip("/") + f": {said[whole]}" for name, whole in found.items() if not whole]


def _intact(run: Files, name: str) -> bool | None:
    """As ``seal.intact``; a document that is not there is left to others to tell."""
    key = "/".join(part for part in (DATA_NAME, name, "zarr.json") if part)
    (data,) = run.read([key], MOST_METADATA)
    return True if data is None else intact(data)


def _chunk_problems(run: Files, grid: Grid, rows: int, since: list[int]) -> list[str]:
    problems = []
    scratch = Scratch()
    for index in range(-(-rows // grid.rows)):
        keys = [grid.key(index, tile) for tile in grid.tiles() if grid.must_exist(index, tile, rows, since)]
        first, last = index * grid.rows, min(rows, (index + 1) * grid.rows)
        chunks = run.stream([f"{DATA_NAME}/{key}" for key in keys], scratch, grid.largest)
        for key, data in zip(keys, chunks, strict=True):
            chunk = f"chunk {key} (rows {first} to {last - 1})"
            if data is None:
                problems.append(f"{grid.path}: {chunk} is missing")
                continue
            try:
                values = decode(data.tobytes(), grid.spec.dtype, grid.chunk)
            except ValueError as error:
                problems.append(f"{grid.path}: {chunk}: {error}")
            else:
                if grid.path == "step" and np.any(values[: last - first] < 0):
                    problems.append(f"step: rows {first} to {last - 1} hold a row that no step was written to")
    return problems
