"""The programs that docs/studies.md shows, run for real: each trial is a run with its own parameters."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dominance import open_run, open_study

HERE = Path(__file__).parent / "scripts"


def record(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "dominance", "record", "--every", "1", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_each_trial_of_optuna_is_a_run(tmp_path: Path) -> None:
    if find_spec("optuna") is None:
        pytest.skip("optuna is not installed")
    said = record(tmp_path, "-o", "trials/search", str(HERE / "optuna_search.py"))
    study = open_study(tmp_path / "trials")
    assert study.attrs["settings"] == ["lr", "weight"]
    assert int(study["n"].sum()) == 20
    assert set(study["state"].values.ravel()) == {"complete"}
    found = re.findall(r"Trial (\d+) finished .*? parameters: \{'lr': ([\d.e-]+), 'weight': ([\d.]+)\}", said)
    assert len(found) == 20
    for number, lr, weight in found:
        (place,) = np.flatnonzero(study["trial"].values[:, 0] == number)
        assert [float(study[name][place]) for name in ("lr", "weight")] == [float(lr), float(weight)]
        with open_run(study["path"].values[place, 0]) as run:  # and it is that trial's training which is in it
            assert float(run["learning_rate/learning_rate"][0, 0]) == pytest.approx(float(lr))
            weights = dict(zip(run["task"].values, run["loss/weight"][0].values, strict=True))
            assert weights == pytest.approx({"price_loss": 1.0, "stars_loss": float(weight)})
            assert run.attrs["sweeps"][0]["name"] == "rates"


def test_recording_changes_no_trial(tmp_path: Path) -> None:
    if find_spec("optuna") is None:
        pytest.skip("optuna is not installed")
    script = str(HERE / "optuna_search.py")
    alone = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    values = [
        re.findall(r"value: (\S+) and parameters: (\{.*?\})", text) for text in (record(tmp_path, script), alone.stderr)
    ]
    assert len(values[0]) == 20
    assert values[0] == values[1]


def test_each_job_of_hydra_is_a_run(tmp_path: Path) -> None:
    if find_spec("hydra") is None:
        pytest.skip("hydra is not installed")
    words = ["--multirun", "lr=0.1,0.01", "model.width=8,16", "seed=0,1"]
    record(tmp_path, "-o", "trials/sweep", str(HERE / "hydra_train.py"), *words)
    grid = open_study(tmp_path / "trials", grid=True)
    assert dict(grid["n"].sizes) == {"lr": 2, "model.width": 2, "seed": 2}
    assert grid.attrs["missing"] == 0
    for cell in grid["path"].stack(cell=("lr", "model.width", "seed")).transpose("cell"):
        with open_run(cell.item()) as run:
            assert float(run["learning_rate/learning_rate"][0, 0]) == pytest.approx(float(cell["lr"]))
            assert run.attrs["parameters"][0]["shape"] == [int(cell["model.width"]), 8]
            assert run.attrs["sweeps"][0]["name"] == "hydra_train"


def test_a_single_job_of_hydra(tmp_path: Path) -> None:
    if find_spec("hydra") is None:
        pytest.skip("hydra is not installed")
    record(tmp_path, "-o", "one", str(HERE / "hydra_train.py"), "lr=0.05")
    with open_run(tmp_path / "one") as run:
        assert run.attrs["sweeps"] == [{"by": "hydra", "name": "hydra_train", "parameters": {"lr": "0.05"}}]
