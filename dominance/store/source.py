"""One opened run: its attributes, its coordinates, and how to get at its arrays, cut to the committed steps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from dominance.errors import CorruptRun
from dominance.schema import METRIC_ARRAYS, UNRECORDED_LOSS, ArraySpec, Layout, Parameter
from dominance.store.attributes import NAMED
from dominance.store.directory import array_forms, read_attributes, read_coordinates
from dominance.store.files import Files, LocalFiles
from dominance.store.grid import Grid
from dominance.store.lazy import StoredArray
from dominance.store.metadata import check_codes, check_coordinates
from dominance.visible import all_visible

Columns = dict[str, npt.NDArray[Any]]
"""A table, by the names of its columns."""


@dataclass(frozen=True)
class StoredRun:
    """``coordinates`` has the arrays of directory.COORDINATES; ``arrays`` every array of the schema, by path."""

    files: Files
    attrs: dict[str, Any]
    parameters: list[Parameter]
    coordinates: dict[str, npt.NDArray[Any]]
    arrays: dict[str, StoredArray]

    @classmethod
    def open(cls, files: Files) -> StoredRun:
        """Raises NotARun, SchemaTooNew, CorruptRun, Unreachable, as open_run says."""
        # The attributes are read first: while the run grows, the arrays are at least as long as they say.
        attrs = read_attributes(files)
        files = resolved(files)
        coordinates = read_coordinates(files)
        parameters = [Parameter.from_json(data) for data in attrs["parameters"]]
        check_coordinates(coordinates, parameters, files.where)
        expected = expected_arrays(attrs, parameters, coordinates)
        forms = array_forms(files, [spec for spec, _ in expected])
        since = task_since(attrs)
        arrays = {}
        for (spec, rows), (found, chunk, separator) in zip(expected, forms, strict=True):
            if found[0] < rows or any(have < want for have, want in zip(found[1:], spec.shape, strict=True)):
                raise CorruptRun(
                    f"{files.where}: {spec.path} has the shape {found} where {(rows, *spec.shape)} was committed",
                    fix="see what is damaged: dominance info --verify",
                )
            arrays[spec.path] = StoredArray(files, Grid(spec, chunk, separator), rows, since)
        # Names are labels from here on: what is drawn, printed or written of them steers nothing.
        seen = {**all_visible(attrs), "path": files.where}
        for part in ("tasks", "layers"):
            if len(set(seen[part])) < len(attrs[part]):
                raise CorruptRun(f"{files.where}: {part} have names that look alike", fix="record the run again")
        return cls(files, seen, [Parameter.from_json(data) for data in seen["parameters"]], coordinates, arrays)

    @property
    def tasks(self) -> list[str]:
        return list(self.attrs["tasks"])

    @property
    def layers(self) -> list[str]:
        return list(self.attrs["layers"])

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        return self.arrays["step"].read()

    def variable(self, path: str, dims: tuple[str, ...]) -> xr.Variable:
        """An array of the step stream, read when used."""
        return self.arrays[path].variable(dims)

    def events(self) -> tuple[Columns, Columns]:
        """The columns of metric/*, names in place of codes, "" for none: of what was logged, and, without ``split``
        and ``name``, of the losses of steps that are not recorded."""
        columns: Columns = {}
        for spec in METRIC_ARRAYS:
            name = spec.path.removeprefix("metric/")
            column = self.arrays[spec.path].read()
            table = self.attrs.get("metric_names", {}).get(name, []) if name in NAMED else None
            if table is not None:
                check_codes(name, column, len(table), self.files.where)
            columns[name] = column if table is None else np.array([*table, ""], dtype=object)[column]
        of_losses = columns["split"] == UNRECORDED_LOSS
        losses = {name: columns[name][of_losses] for name in ("step", "epoch", "task", "value")}
        return {name: column[~of_losses] for name, column in columns.items()}, losses


def resolved(files: Files) -> Files:
    """The same run, even when a link that led to it moves on."""
    return LocalFiles(Path(os.path.realpath(files.root))) if isinstance(files, LocalFiles) else files


def task_since(attrs: dict[str, Any]) -> list[int]:
    """The first row that knows each task."""
    return list(attrs.get("task_since", [0] * len(attrs["tasks"])))


def expected_arrays(
    attrs: dict[str, Any], parameters: list[Parameter], coordinates: dict[str, npt.NDArray[Any]]
) -> list[tuple[ArraySpec, int]]:
    """Every array that a run of these attributes has, and the rows of it that are committed."""
    layout = Layout(
        attrs["tasks"],
        parameters,
        attrs["layers"],
        coordinates["parameter"],
        coordinates["index"],
        coordinates["weight"],
        attrs["attribution"],
        version=int(attrs["schema_version"]),
    )
    steps = [(spec, int(attrs["committed_steps"])) for spec in layout.arrays(exact=bool(attrs.get("exact")))]
    return steps + [(spec, int(attrs.get("committed_events", 0))) for spec in METRIC_ARRAYS]
