"""verify: read every committed chunk of a run and say what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME, ArraySpec
from dominance.store.codec import decode
from dominance.store.directory import read_attributes, read_coordinates, read_grids
from dominance.store.grid import Grid
from dominance.store.probes import probe_problems
from dominance.store.source import expected_arrays, parameters_of, stored_shape


def verify(path: str | os.PathLike[str]) -> list[str]:
    """Check every committed chunk against its checksum, and every shape against the committed steps.

    Returns:
        One line a problem, naming the array, the chunk and its steps; empty when the run is whole.

    Raises:
        NotARun, SchemaTooNew: as open_run.
    """
    run = Path(path)
    problems: list[str] = []
    try:
        attrs = read_attributes(run)
        run = Path(os.path.realpath(run))
        parameters = parameters_of(attrs, run)
        expected = expected_arrays(attrs, parameters, read_coordinates(run))
    except CorruptRun as error:
        return [error.message]
    since = attrs.get("task_since", [0] * len(attrs["tasks"]))
    for spec, rows in expected:
        try:
            problems += _shape_problems(run, spec, rows)
            grid = read_grids(run, [spec])[spec.path]
        except CorruptRun as error:
            problems.append(error.message)
            continue
        problems += _chunk_problems(run, grid, rows, since)
    return problems + probe_problems(run)


def _shape_problems(run: Path, spec: ArraySpec, rows: int) -> list[str]:
    shape, due = stored_shape(run, spec), (rows, *spec.shape)
    if any(have < want for have, want in zip(shape, due, strict=True)):
        return [f"{spec.path}: has the shape {shape} where {due} was committed"]
    return []


def _chunk_problems(run: Path, grid: Grid, rows: int, since: list[int]) -> list[str]:
    problems = []
    for index in range(-(-rows // grid.rows)):
        for tile in grid.tiles():
            if not grid.must_exist(index, tile, rows, since):
                continue
            key = grid.key(index, tile)
            first, last = index * grid.rows, min(rows, (index + 1) * grid.rows)
            try:
                chunk = decode((run / DATA_NAME / key).read_bytes(), grid.spec.dtype, grid.chunk)
            except FileNotFoundError:
                problems.append(f"{grid.path}: chunk {key} (rows {first} to {last - 1}) is missing")
            except (OSError, ValueError) as error:
                problems.append(f"{grid.path}: chunk {key} (rows {first} to {last - 1}): {error}")
            else:
                if grid.path == "step" and np.any(chunk[: last - first] < 0):
                    problems.append(f"step: rows {first} to {last - 1} hold a row that no step was written to")
    return problems
