"""A run that is read again and again while a training writes it: no reader sees less than before, or half a row."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from forks import Forks
from store_rows import du

from dominance.errors import NotARun
from dominance.store.reader import open_run
from faults.trainings import train

BUDGET = 3_000_000  # bytes: less than the training would take, so the schedule has to stretch


@dataclass(frozen=True)
class Polls:
    """How many polls there were, how many steps the last one saw, and what was wrong with any."""

    count: int
    steps: int
    wrong: list[str]


def polls(forks: Forks, folder: Path, wanted: int) -> Polls:
    """Trainings, one after the other, until they were polled so often."""
    count, steps = 0, 0
    wrong: list[Any] = []
    while count < wanted:
        place = folder / f"training-{count}"
        place.mkdir()
        found = _one(forks, place, wanted - count)
        count, steps, wrong = count + found.count, max(steps, found.steps), wrong + found.wrong
        shutil.rmtree(place)
    return Polls(count, steps, wrong)


def _one(forks: Forks, folder: Path, most: int) -> Polls:
    run = folder / "run"
    options = ["--every", "1", "--exact", "--budget", f"{BUDGET // 1000}kB", "-o", str(run)]
    training = threading.Thread(target=train, args=(forks, folder), kwargs={"record": options, "steps": 4 * most})
    training.start()
    count, seen, wrong = 0, 0, []
    while training.is_alive():
        try:
            now, problem = _look(run, seen)
        except NotARun:
            continue  # the first step is still to come
        seen, count = max(seen, now), count + 1
        wrong += [problem] if problem else []
    training.join()
    return Polls(count, seen, wrong)


def _look(path: Path, seen: int) -> tuple[int, str]:
    run = open_run(path)
    steps = run["step"].values
    if len(steps) < seen:
        return len(steps), f"{len(steps)} steps, after {seen}"
    if not len(steps):
        return 0, ""
    if (np.diff(steps) <= 0).any():
        return len(steps), "steps out of order"
    last = run["update"].dataset.isel(step=slice(-20, None)).load()
    parts = last["update"].sum("task") + last["residual"] + last["unattributed"] + last["decay"]
    if not np.allclose(parts, last["total"], rtol=0, atol=5e-4 * float(np.abs(last["total"]).max())):
        return len(steps), "parts that do not add up: half a row"
    size = du(path)
    return len(steps), f"{size} bytes of {BUDGET}" if size > BUDGET else ""
