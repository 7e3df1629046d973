"""All runs below a folder, each by what it says of itself. Nothing here loads xarray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.study.settings import Settings, differing, found_by_itself, seed_of, settings_of, telling
from dominance.errors import BadOption, DominanceError, NotARun
from dominance.schema import AFFINITY, GROUPS
from dominance.store.ended import written
from dominance.store.outline import Outline, find_runs, in_order, read_outline

LAST = 5
"""The last part of the recorded steps over which a loss is averaged: a fifth."""

SPLITS = ("final", "test", "val", "valid", "validation", "eval", "train")
"""Of metrics, those that say most of a training first."""

STATES = ("recording", "complete", "interrupted", "failed", "killed", "no run")
_ERROR = "dominance: error: "
_MOST_LOG = 4096
_RUNNERS = ("runs",)
"""What our own runner calls the folder of its jobs."""


@dataclass(frozen=True)
class ListedRun:
    """One run, or a job that has left none.

    Attributes:
        name: its path below the folder of the study; where that is the run itself, its name.
        path: of the run directory.
        state: one of ``STATES``: "killed" says recording, and nobody writes it; "no run": a job of our own runner, of
            which there is only a log yet, whose last line is ``said``.
        settings, seed: see ``dominance.analyse.study.settings``.
        metrics: (split, task, name) -> last value.
        losses: task -> mean over the last fifth of the recorded steps; NaN where it is not known.
    """

    name: str
    path: str
    state: str
    settings: Settings
    seed: int | None
    metrics: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    by_itself: Settings = field(default_factory=dict)
    directions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    trial: int | str | None = None
    steps: int = 0
    steps_taken: int | None = None
    seconds: float = float("nan")
    changed: float = 0.0
    said: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.losses)


@dataclass(frozen=True)
class Listing:
    """The runs of a study.

    Attributes:
        folder: where they lie.
        runs: in the order of their names, numbers in these by size.
        unreadable: name -> why, of what looks like a run and cannot be read.
    """

    folder: str
    runs: list[ListedRun]
    unreadable: dict[str, str]

    @cached_property
    def there(self) -> list[ListedRun]:
        """Those that have left a run."""
        return [run for run in self.runs if run.state != "no run"]

    @cached_property
    def names(self) -> list[str]:
        """Of the settings that differ, those that tell the runs apart."""
        settings, seeds = [run.settings for run in self.there], [run.seed for run in self.there]
        return differing(settings) + telling(settings, seeds, [run.by_itself for run in self.there])

    @cached_property
    def same(self) -> Settings:
        """The settings that all have alike."""
        first = self.there[0].settings if self.there else {}
        return {name: value for name, value in first.items() if name not in self.names}

    @cached_property
    def split(self) -> str:
        """The first of ``SPLITS`` under which any run logged; "" for none."""
        there = {split for run in self.runs for split, _, _ in run.metrics}
        return next((split for split in SPLITS if split in there), "")

    def chosen(self, run: ListedRun, names: Sequence[str]) -> tuple[Any, ...]:
        """What the run has of the settings; None for one that it lacks."""
        known = {**run.by_itself, **run.settings}
        return tuple(known.get(name) for name in names)


def listing(folder: str | os.PathLike[str]) -> Listing:
    """List the runs at any depth below a folder, which may still grow.

    Read are attributes, metrics and losses. Links are not followed.

    Raises:
        BadOption: it is no local folder.
        NotARun: there is no run below it.
    """
    if "://" in os.fspath(folder):
        raise BadOption(f"{os.fspath(folder)}: only local folders are studies", fix="open_runs takes addresses of runs")
    root = Path(folder)
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise NotARun(f"{root}: {what}", fix="give a folder below which runs lie, such as runs")
    runs: dict[str, Outline] = {}
    unreadable: dict[str, str] = {}
    paths: dict[str, Path] = {}
    for path in find_runs(root):
        name = os.path.relpath(path, root) if path != root else root.resolve().name
        paths[name] = path
        try:
            runs[name] = read_outline(path, part=LAST)
        except DominanceError as error:
            unreadable[name] = error.message.removeprefix(f"{path}: ")
    moved = any(each.attrs.get("seed_run") for each in runs.values())
    found = [_listed(name, paths[name], each, moved) for name, each in runs.items()]
    found += _without_run(root, {str(path) for path in paths.values()})
    if not found:
        first, why = next(iter(unreadable.items()), ("", ""))
        what = f"no run below it can be read ({first}: {why})" if first else "there is no run below it"
        raise NotARun(f"{root}: {what}", fix="give a folder below which runs lie, such as runs")
    return Listing(str(root), sorted(found, key=lambda run: in_order(run.name)), unreadable)


def _listed(name: str, path: Path, outline: Outline, moved: bool) -> ListedRun:
    attrs = outline.attrs
    means = known_mean(outline.losses) if len(outline.losses) else np.full(len(attrs["tasks"]), np.nan)
    sweeps = [sweep["trial"] for sweep in attrs.get("sweeps") or () if sweep.get("trial") is not None]
    ways = attrs.get("metrics") or {}
    return ListedRun(
        name,
        str(path),
        _state(path, attrs),
        settings_of(attrs),
        seed_of(attrs, moved=moved),
        {key: value for key, value in outline.metrics.items() if key[0] not in (GROUPS, AFFINITY)},
        dict(zip(map(str, attrs["tasks"]), map(float, means), strict=True)),
        found_by_itself(attrs),
        {(task, metric): way for task, metrics in ways.items() for metric, way in metrics.items()},
        sweeps[-1] if sweeps else None,
        int(attrs["committed_steps"]),
        attrs.get("steps_taken"),
        float(attrs.get("seconds", np.nan)),
        outline.written,
    )


def _state(path: Path, attrs: Mapping[str, Any]) -> str:
    status = str(attrs.get("status"))
    if status == "recording":
        return "killed" if written(path, attrs) is False else "recording"
    return "failed" if status == "interrupted" and attrs.get("ended") == "failed" else status


def _without_run(root: Path, runs: set[str]) -> Iterator[ListedRun]:
    """Jobs of our own runner that have a log, and no run: it has not begun yet, or will not."""
    folders = {os.path.dirname(run) for run in runs if os.path.exists(f"{run}.log")}
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if name[:1] != "." and os.path.join(folder, name) not in runs]
        ours = folder in folders or os.path.basename(folder) in _RUNNERS
        for file in sorted(files) if ours else ():
            place = os.path.join(folder, file[: -len(".log")])
            # What is done without a run, such as a timing, or has one for each task below it, was no recording.
            if not file.endswith(".log") or place in runs or any(run.startswith(f"{place}{os.sep}") for run in runs):
                continue
            if not os.path.exists(f"{place}.done"):
                yield ListedRun(
                    os.path.relpath(place, root), place, "no run", {}, None, said=_last_line(f"{place}.log")
                )


def _last_line(log: str) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(max(os.path.getsize(log) - _MOST_LOG, 0))
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith(_ERROR)]
    return (errors or lines or [""])[-1].removeprefix(_ERROR)
