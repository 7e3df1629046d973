"""Several opened runs that are read as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from dominance.errors import BadOption
from dominance.schema import Parameter
from dominance.store.lazy import StackedArray
from dominance.store.source import Columns, StoredRun


@dataclass(frozen=True)
class StackedRuns:
    """The interface of StoredRun, for several of them; ``names`` and ``runs`` go together."""

    names: tuple[str, ...]
    runs: tuple[StoredRun, ...]
    steps: npt.NDArray[np.int64]
    coordinates: dict[str, npt.NDArray[Any]] | None
    _places: tuple[dict[str, npt.NDArray[np.int64]], ...]

    @classmethod
    def of(cls, runs: dict[str, StoredRun]) -> StackedRuns:
        """Raises BadOption when the tasks or layers of two runs have different names."""
        first_name, first = next(iter(runs.items()))
        for name, run in runs.items():
            for what in ("tasks", "layers"):
                ours, theirs = getattr(first, what), getattr(run, what)
                if sorted(ours) != sorted(theirs):
                    raise BadOption(
                        f"run {name} has the {what} {', '.join(theirs)}; run {first_name} has {', '.join(ours)}",
                        fix="open together only runs of the same tasks and layers",
                    )
        steps = np.unique(np.concatenate([run.steps for run in runs.values()]))
        places = tuple(
            {
                "step": _last_rows(run.steps, steps),
                "layer": _positions(run.layers, first.layers),
                "task": _positions(run.tasks, first.tasks),
                "task_other": _positions(run.tasks, first.tasks),
            }
            for run in runs.values()
        )
        same = all(_same_coordinates(first, run) for run in runs.values())
        return cls(tuple(runs), tuple(runs.values()), steps, first.coordinates if same else None, places)

    @property
    def attrs(self) -> dict[str, Any]:
        """What all runs agree on, and under "runs" everything, by name."""
        first = self.runs[0].attrs
        agreed = {
            key: value
            for key, value in first.items()
            if all(key in run.attrs and run.attrs[key] == value for run in self.runs)
        }
        return {
            **agreed,
            "tasks": self.tasks,
            "layers": self.layers,
            "runs": {name: run.attrs for name, run in zip(self.names, self.runs, strict=True)},
        }

    @property
    def tasks(self) -> list[str]:
        return self.runs[0].tasks

    @property
    def layers(self) -> list[str]:
        return self.runs[0].layers

    @property
    def parameters(self) -> list[Parameter]:
        return self.runs[0].parameters

    @property
    def arrays(self) -> set[str]:
        """Paths of the arrays that every run has."""
        return set.intersection(*(set(run.arrays) for run in self.runs))

    def variable(self, path: str, dims: tuple[str, ...]) -> xr.Variable:
        """An array of the step stream of all runs, read when used."""
        arrays = [run.arrays[path] for run in self.runs]
        places = [[places.get(dim) for dim in dims] for places in self._places]
        shape = [min(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True)]  # schemas differ
        return StackedArray(arrays, (len(self.steps), *shape), places).variable(("run", *dims))

    def events(self) -> tuple[Columns, Columns]:
        """As of one run, each column (run, event), runs with fewer events padded with NaN, -1 and ""."""
        logged, losses = zip(*(run.events() for run in self.runs), strict=True)
        return _together(logged), _together(losses)


def _together(tables: Sequence[Columns]) -> Columns:
    length = max(len(table["value"]) for table in tables)
    return {name: np.stack([_padded(table[name], length) for table in tables]) for name in tables[0]}


def _last_rows(have: npt.NDArray[np.int64], want: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The last row in which each step stands, -1 for none."""
    rows = np.full(want.size, -1, np.int64)
    # Assignments to a repeated place are done in order, so the last one stays.
    rows[np.searchsorted(want, have)] = np.arange(have.size)
    return rows


def _positions(have: list[str], want: list[str]) -> npt.NDArray[np.int64]:
    return np.array([have.index(name) for name in want], np.int64)


def _same_coordinates(first: StoredRun, other: StoredRun) -> bool:
    ours, theirs = first.coordinates, other.coordinates
    names = [[(p.name, p.layer, p.shape) for p in run.parameters] for run in (first, other)]
    return names[0] == names[1] and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def _padded(column: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    fill = {"f": np.nan, "O": ""}.get(column.dtype.kind, -1)
    result = np.full(length, fill, column.dtype)
    result[: column.size] = column
    return result
