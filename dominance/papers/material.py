"""The runs that an item is made from, opened when they are used."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from dominance.errors import BadData, NothingRecorded
from dominance.papers.jobs import TIMING, Training
from dominance.store.reader import open_run

T = TypeVar("T")


class Material:
    """Runs, found by what was trained, and timings.

    Args:
        paths: run directories, as ``dominance train`` made them; those of single-task learning hold one run a task;
            and folders with a timing.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._known: dict[Any, Any] = {}

    @cached_property
    def runs(self) -> list[xr.DataTree]:
        """All of them, in the order given.

        Raises:
            NotARun: one of the paths is none.
        """
        return [open_run(part) for path in self.paths if not (path / TIMING).exists() for part in _parts(path)]

    @cached_property
    def timings(self) -> list[dict[str, Any]]:
        """What ``dominance.benchmarks.train.timing`` measured, in the order given.

        Raises:
            BadData: a file cannot be read.
        """
        return [_read(path / TIMING) for path in self.paths if (path / TIMING).exists()]

    def once(self, key: Any, find: Callable[[], T]) -> T:
        """What ``find`` returns, found once for each key: a figure and its claims look at the same."""
        if key not in self._known:
            self._known[key] = find()
        found: T = self._known[key]
        return found

    def select(self, **wanted: Any) -> list[xr.DataTree]:
        """The runs of which all this holds, in the order of their seeds.

        Args:
            wanted: benchmark, method, architecture, tasks, or another field of ``Training``: a value, or several in a
                list. Settings and options are given as mappings, of which each entry must agree.

        Raises:
            NothingRecorded: none; says which training would give one.
        """
        found = [run for run in self.runs if all(_agrees(run, name, value) for name, value in wanted.items())]
        if not found:
            said = ", ".join(f"{name} {value}" for name, value in wanted.items())
            raise NothingRecorded(f"no run with {said} was given", fix=_fix(wanted))
        return sorted(found, key=lambda run: int(run.attrs.get("training", {}).get("seed", 0)))

    def timing(self, benchmark: str, architecture: str | None = None) -> dict[str, Any]:
        """The timing on this benchmark, and architecture if one is named.

        Raises:
            NothingRecorded: there is none.
        """
        for found in self.timings:
            if found["benchmark"] == benchmark and architecture in (None, found["architecture"]):
                return found
        raise NothingRecorded(
            f"no timing on {benchmark} {architecture or ''}".rstrip() + " was given",
            fix=f"make one with `python -m dominance.benchmarks.train.timing {benchmark}`",
        )

    def given(self, benchmark: str) -> bool:
        """Whether a run or a timing is of data that the user gave for this benchmark."""
        found = [
            *(self.timings),
            *({"benchmark": run.attrs.get("benchmark"), **run.attrs.get("training", {})} for run in self.runs),
        ]
        return any(one["benchmark"] == benchmark and "data" in one.get("settings", {}) for one in found)

    def has(self, **wanted: Any) -> bool:
        """Whether ``select`` would find one."""
        return any(all(_agrees(run, name, value) for name, value in wanted.items()) for run in self.runs)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{path} cannot be read: {error}", fix="delete it, and measure again") from None
    return found


def _parts(path: Path) -> list[Path]:
    """The run itself, or the runs of single tasks that lie in it."""
    if (path / "data.zarr").exists() or not path.is_dir():
        return [path]
    inside = [child for child in sorted(path.iterdir()) if (child / "data.zarr").exists()]
    return inside or [path]


def _agrees(run: xr.DataTree, name: str, value: Any) -> bool:
    training = run.attrs.get("training", {})
    if isinstance(value, Mapping):  # a run's own "options" are those of its record
        given = {key: str(part) for key, part in training.get(name, {}).items()}
        return all(given.get(key) == str(part) for key, part in value.items())
    has = run.attrs.get(name, training.get(name))
    if name == "tasks":
        return sorted(has or ()) == sorted(value)
    return has in value if isinstance(value, list) else bool(has == value)


def _fix(wanted: Mapping[str, Any]) -> str:
    if "benchmark" not in wanted or "method" not in wanted:
        return "give one more run"
    fields = {name: value for name, value in wanted.items() if not isinstance(value, list)}
    if not {"benchmark", "method"} <= fields.keys():
        return "give one more run"
    return f"make one with `dominance {shlex.join(Training(**fields).arguments())}`"
