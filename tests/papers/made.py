"""Small runs of trainings, written to disk, for figures that are made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from runs import make_rows

from dominance.papers.item import Wish
from dominance.papers.jobs import TIMING, Training
from dominance.store.writer import RunWriter


def trainings(of: Any, wish: Wish) -> list[Training]:
    """The trainings that a table or an item needs."""
    return [job for job in of.needs(wish) if isinstance(job, Training)]


def trained(
    path: Path,
    benchmark: str = "small",
    method: str = "equal-weight",
    *,
    seed: int = 0,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    higher: bool = False,
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    architecture: str = "hps",
    scale: float = 1.0,
    lr: float = 0.01,
    every: int = 1,
) -> Path:
    """A run as ``dominance train`` leaves it, with final scores {task: {metric: value}}."""
    scores = scores or {"A": {"error": 0.5}, "B": {"error": 0.25}}
    tasks = list(scores)
    updates = np.random.default_rng(seed).normal(size=(4, len(tasks), 6)) * np.array([1, scale])[:, None][: len(tasks)]
    events = [
        {"step": 3, "epoch": 0, "task": task, "split": "final", "name": metric, "value": value}
        for task, metrics in scores.items()
        for metric, value in metrics.items()
    ]
    attrs = {
        "benchmark": benchmark,
        "method": method,
        "architecture": architecture,
        "training": {
            "seed": seed, "epochs": 1, "batch_size": 4, "optimizer": "adam", "lr": lr,
            "settings": dict(settings or {}), "options": dict(options or {}),
        },
        "options": {"every": every},
        "metrics": {t: dict.fromkeys(m, "higher" if higher else "lower") for t, m in scores.items()},
        "steps_taken": 4,
    }  # fmt: skip
    layout, rows = make_rows(updates, tasks=tasks, loss=np.ones((4, len(tasks))), metrics=[])
    layout.attrs.pop("metrics", None)
    layout.attrs.update(attrs)
    writer = RunWriter(path, layout)
    for i in range(len(rows["step"])):
        writer.append({key: values[i] for key, values in rows.items()})
    for event in events:
        writer.append_event(event)
    writer.close()
    return path


def timed(path: Path, benchmark: str = "small", architecture: str = "hps", **ratios: float) -> Path:
    """A timing, with these ratios of methods ("equal_weight": 1.0)."""
    methods = {
        name.replace("_", "-"): {
            "seconds": 0.01 * ratio, "backward": 0.005 * ratio, "ratio": [0.9 * ratio, ratio, 1.1 * ratio],
            "backward_ratio": [ratio, ratio, ratio], "state": 10,
        }
        for name, ratio in ratios.items()
    }  # fmt: skip
    found = {
        "benchmark": benchmark, "architecture": architecture, "optimizer": "adam", "batch_size": 4, "settings": {},
        "tasks": ["A", "B"], "shared": 8, "private": 2, "shared_layers": 1, "laps": 3, "steps": 2, "threads": 1,
        "device": "cpu", "versions": {"python": "3", "torch": "2"}, "methods": methods, "sample": "",
    }  # fmt: skip
    path.mkdir(parents=True)
    (path / TIMING).write_text(json.dumps(found))
    return path
