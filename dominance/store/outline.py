"""What a run says of itself, its metrics and its last losses, and nothing else: a thousand runs are read in a second.

Nothing here loads xarray or Zarr.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME, METRIC_ARRAYS, UNRECORDED_LOSS, ArraySpec
from dominance.store.codec import decode
from dominance.store.directory import array_form, array_forms, read_root
from dominance.store.files import Files, LocalFiles
from dominance.store.grid import Grid
from dominance.store.metadata import check_codes
from dominance.visible import all_visible, visible

_LARGE = ("parameters", "layers")
"""Attributes that grow with the model, and are left out."""

_COLUMNS = ("step", "task", "split", "name", "value")


@dataclass(frozen=True)
class Outline:
    """One run.

    Attributes:
        attrs: its root attributes without those that grow with the model.
        metrics: (split, task, name) -> the value that was logged last; "" for a metric of no task. Steps that were
            gone over again after a resume do not count.
        losses: (step, task) float64, unweighted, of the last of the recorded steps; NaN where a task took no part.
        written: when its root was last written, in seconds since 1970.
    """

    attrs: dict[str, Any]
    metrics: dict[tuple[str, str, str], float]
    losses: npt.NDArray[np.float64]
    written: float


def read_outline(path: Path, *, part: int) -> Outline:
    """Read the outline of a run; of one that is being recorded, what is committed.

    Args:
        path: the run directory.
        part: losses are of the last 1/part of the recorded steps, and of one at least.

    Raises:
        NotARun, SchemaTooNew, CorruptRun, Unreachable: as open_run.
    """
    attrs, arrays = _opened(path)
    steps = int(attrs["committed_steps"])
    metrics = _last(_events(arrays, attrs, _COLUMNS)) if attrs.get("committed_events") else {}
    spec = ArraySpec("loss/loss", ("step", "task"), (len(attrs["tasks"]),), "float64")
    first = steps - max(steps // part, 1)
    losses = arrays.rows(spec, first, steps) if steps else np.empty((0, len(attrs["tasks"])))
    return Outline(_small(attrs), metrics, losses, os.stat(path / DATA_NAME / "zarr.json").st_mtime)


def read_metrics(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The attributes of a run, without those that grow with the model; and the columns of what was logged, with names.

    Raises:
        NotARun, SchemaTooNew, CorruptRun, Unreachable: as open_run.
    """
    attrs, arrays = _opened(path)
    columns = _events(arrays, attrs, (*_COLUMNS, "epoch"))
    named = {
        name: np.array(columns[f"{name}s"], dtype=object)[columns[name]] if f"{name}s" in columns else columns[name]
        for name in (*_COLUMNS, "epoch")
    }
    return _small(attrs), named


def _opened(path: Path) -> tuple[dict[str, Any], _Arrays]:
    # Attributes first: while the run grows, the arrays are at least as long as they say.
    files = LocalFiles(path)
    attrs, nodes = read_root(files)
    return attrs, _Arrays(files, nodes, list(attrs.get("task_since", [0] * len(attrs["tasks"]))))


def _small(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(all_visible({name: value for name, value in attrs.items() if name not in _LARGE}))


def find_runs(folder: Path) -> Iterator[Path]:
    """Every folder below this one, itself included, that holds a run's data; numbers in their names in order.

    Links are not followed, and neither hidden folders nor runs are looked into.
    """
    try:
        with os.scandir(folder) as entries:
            inside = sorted(
                (entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[:1] != "."),
                key=in_order,
            )
    except OSError:  # nobody may look into it, or it has just gone
        return
    if DATA_NAME in inside:
        yield folder
        return
    for name in inside:
        yield from find_runs(folder / name)


def in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers inside of names by their size.

    >>> sorted(["run-10", "run-9", "run"], key=in_order)
    ['run', 'run-9', 'run-10']
    """
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
    return [*parts, (-1, name)]  # 0.01 and 0.1 are alike until here


class _Arrays:
    """Small arrays of one run, each read in one go."""

    def __init__(self, files: Files, nodes: Mapping[str, Any], since: list[int]) -> None:
        self.files, self._nodes, self._since = files, nodes, since

    def rows(self, spec: ArraySpec, first: int, end: int) -> npt.NDArray[Any]:
        """The rows from ``first`` to ``end``, which is the number of those that are committed.

        Raises:
            CorruptRun: a chunk that must be there is missing, or does not match its checksum.
        """
        if spec.path in self._nodes:
            form = array_form(self.files, spec, self._nodes[spec.path])
        else:
            (form,) = array_forms(self.files, [spec])
        (length, *others), chunk, separator = form
        if length < end or any(have < want for have, want in zip(others, spec.shape, strict=True)):
            raise self._damaged(f"{spec.path} is shorter than what was committed")
        grid = Grid(spec, chunk, separator)
        start = first - first % grid.rows
        found = grid.full(end - start)
        for number in range(start // grid.rows, -(-end // grid.rows)):
            here = slice(number * grid.rows - start, (number + 1) * grid.rows - start)
            for tile in grid.tiles():
                key = grid.key(number, tile)
                (data,) = self.files.read([f"{DATA_NAME}/{key}"], grid.largest)
                if data is None:
                    if grid.must_exist(number, tile, end, self._since):
                        raise self._damaged(f"chunk {key} is missing")
                    continue
                try:
                    values = decode(data, spec.dtype, chunk)
                except ValueError as error:
                    raise self._damaged(f"chunk {key}: {error}") from None
                place = (here, *grid.slices(tile))
                found[place] = values[tuple(slice(size) for size in found[place].shape)]
        return found[first - start :]

    def _damaged(self, what: str) -> CorruptRun:
        return CorruptRun(f"{self.files.where}: {what}", fix="see what is damaged: dominance info --verify")


def _events(arrays: _Arrays, attrs: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Columns of what was logged; and what the codes in "task" stand for, in order, under "tasks", and so on."""
    count = int(attrs.get("committed_events", 0))
    specs = {spec.path.removeprefix("metric/"): spec for spec in METRIC_ARRAYS}
    columns: dict[str, Any] = {name: arrays.rows(specs[name], 0, count) for name in names}
    for name in ("task", "split", "name"):
        table = attrs.get("metric_names", {}).get(name, [])
        check_codes(name, columns[name], len(table), arrays.files.where)
        columns[f"{name}s"] = [*map(visible, table), ""]
    if UNRECORDED_LOSS in columns["splits"]:
        kept = columns["split"] != columns["splits"].index(UNRECORDED_LOSS)
        columns |= {name: columns[name][kept] for name in names}
    return columns


def counted(step: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the events at these steps, in the order in which they came, no resumed training has gone over again.

    >>> counted(np.array([0, 1, 2, 3, 2, 3])).astype(int)
    array([1, 1, 1, 0, 1, 1])
    """
    return np.asarray(step <= np.minimum.accumulate(step[::-1])[::-1])


def _last(events: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    step = events["step"]
    counts = counted(step)
    codes = np.stack([events[name] for name in ("split", "task", "name")], axis=1)[counts]
    values = events["value"][counts]
    _, back = np.unique(codes[::-1], axis=0, return_index=True)
    rows = np.sort(len(codes) - 1 - back)
    return {
        (events["splits"][split], events["tasks"][task], events["names"][name]): float(values[row])
        for row, (split, task, name) in zip(rows.tolist(), codes[rows].tolist(), strict=True)
    }
