"""The runs below a folder: what each says, and in which state it is."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import planted_rows, write_run

from dominance.analyse.study.listing import listing
from dominance.errors import BadOption, NotARun
from dominance.store.writer import RunWriter


def begun(path: Path, *, ended: str | None = None, **attrs: Any) -> RunWriter:
    layout, rows = planted_rows(steps=4, layers={"trunk": 5})
    layout.attrs |= attrs
    writer = RunWriter(path, layout, exact=True)
    writer.append({key: values[0] for key, values in rows.items()})
    writer.flush()
    if ended is not None:
        writer.set_attrs(ended=ended)
        writer.close(complete=ended == "complete")
    return writer


def test_states(tmp_path: Path) -> None:
    for state in ("complete", "interrupted", "failed"):
        begun(tmp_path / state, ended=state)
    here = platform.node()
    writers = [begun(tmp_path / "recording", host=here), begun(tmp_path / "elsewhere", host=f"not {here}")]
    killed = begun(tmp_path / "killed", host=here)
    killed._unlock()  # as the system does of a process that is gone
    found = {run.name: run.state for run in listing(tmp_path).runs}
    assert found == {
        "complete": "complete",
        "elsewhere": "recording",
        "failed": "failed",
        "interrupted": "interrupted",
        "killed": "killed",
        "recording": "recording",
    }
    for writer in (*writers, killed):
        writer.close()


def test_a_run_says_its_losses_metrics_and_settings(tmp_path: Path) -> None:
    logged = [{"step": 3, "epoch": 0, "task": "price", "split": "val", "name": "mse", "value": 2.5}]
    logged.append({**logged[0], "split": "groups", "name": "examples"})
    layout, rows = planted_rows(steps=10, layers={"trunk": 5}, metrics=logged)
    rows["loss/loss"][8:, 0] = [np.nan, 4.0]
    rows["loss/loss"][8:, 1] = np.nan
    layout.attrs |= {"argv": ["t.py", "--k", "3"], "seed": 5, "steps_taken": 99, "seconds": 1.5}
    layout.attrs["sweeps"] = [{"by": "optuna", "trial": 7, "parameters": {}}]
    write_run(tmp_path / "deep/er/run", layout, rows)
    found = listing(tmp_path)
    (run,) = found.runs
    assert (run.name, run.seed, run.steps, run.steps_taken, run.seconds, run.trial) == (
        "deep/er/run",
        5,
        10,
        99,
        1.5,
        7,
    )
    assert run.losses["price"] == 4.0
    assert np.isnan(run.losses["rating"])
    assert run.metrics == {("val", "price", "mse"): 2.5}
    assert (found.names, found.same, found.split) == ([], {"script": "t.py", "k": 3}, "val")


def test_jobs_of_our_own_runner_without_a_run(tmp_path: Path) -> None:
    runs = tmp_path / "trials/runs"
    begun(runs / "good", ended="complete")
    (runs / "good.log").write_text("fine\n")
    (runs / "bad.log").write_text("hello\ndominance: error: no such script: x.py\nbye\n")
    (runs / "begun.log").write_text("")
    (runs / "timing").mkdir()
    for name in ("timing.log", "timing.done"):
        (runs / name).write_text("")
    begun(runs / "stl/a", ended="complete")  # a run for each task, of one job
    (runs / "stl.log").write_text("")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/train.log").write_text("a stranger's")
    found = listing(tmp_path)
    assert {run.name: (run.state, run.said) for run in found.runs if run.state == "no run"} == {
        "trials/runs/bad": ("no run", "no such script: x.py"),
        "trials/runs/begun": ("no run", ""),
    }
    assert [run.name for run in found.there] == ["trials/runs/good", "trials/runs/stl/a"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    begun(tmp_path / "good", ended="complete")
    (tmp_path / "foreign/data.zarr").mkdir(parents=True)
    broken = tmp_path / "broken/data.zarr"
    broken.mkdir(parents=True)
    (broken / "zarr.json").write_text("{")
    found = listing(tmp_path)
    assert [run.name for run in found.runs] == ["good"]
    assert list(found.unreadable) == ["broken", "foreign"]
    assert all(str(tmp_path) not in why.split("cannot")[0] or "zarr.json" in why for why in found.unreadable.values())


def test_a_folder_without_runs(tmp_path: Path) -> None:
    for folder, why in ((tmp_path, "no run below it"), (tmp_path / "x", "no such folder")):
        with pytest.raises(NotARun, match=why):
            listing(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotARun, match="is a file"):
        listing(tmp_path / "file")
    with pytest.raises(BadOption, match="only local folders"):
        listing("s3://bucket/runs")
