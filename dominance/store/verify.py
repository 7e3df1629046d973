"""verify: read every committed chunk of a run and say what is wrong."""

from __future__ import annotations

import numpy as np

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME, ArraySpec
from dominance.store.codec import decode
from dominance.store.directory import read_attributes, read_coordinates, read_grids
from dominance.store.files import Files, RunPath, Scratch, files_of
from dominance.store.grid import Grid
from dominance.store.probes import probe_problems
from dominance.store.source import expected_arrays, parameters_of, resolved, stored_shapes


def verify(path: RunPath) -> list[str]:
    """Check every committed chunk against its checksum, and every shape against the committed steps.

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
        parameters = parameters_of(attrs, run.where)
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


def _shape_problems(run: Files, spec: ArraySpec, rows: int) -> list[str]:
    (shape,), due = stored_shapes(run, [spec]), (rows, *spec.shape)
    if any(have < want for have, want in zip(shape, due, strict=True)):
        return [f"{spec.path}: has the shape {shape} where {due} was committed"]
    return []


def _chunk_problems(run: Files, grid: Grid, rows: int, since: list[int]) -> list[str]:
    problems = []
    scratch = Scratch()
    for index in range(-(-rows // grid.rows)):
        keys = [grid.key(index, tile) for tile in grid.tiles() if grid.must_exist(index, tile, rows, since)]
        first, last = index * grid.rows, min(rows, (index + 1) * grid.rows)
        chunks = run.stream([f"{DATA_NAME}/{key}" for key in keys], scratch)
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
