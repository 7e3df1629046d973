"""What TensorBoard's own reader finds in its event files is what the run says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import planted_rows, write_run

from dominance import open_run, send
from dominance.analyse.scalars import scalars

pytest.importorskip("tensorboard")
SCRIPT = ["-m", "dominance.examples.digits", "--pairs", "300", "--epochs", "1"]


def read(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return {
        tag: {event.step: float(make_ndarray(event.tensor_proto)) for event in found.Tensors(tag)}
        for tag in found.Tags()["tensors"]
    }


def said(path: Path) -> dict[str, dict[int, Any]]:
    """The same of the run itself."""
    out: dict[str, dict[int, Any]] = {}
    with open_run(path) as run:
        for step, _, numbers in scalars(run):
            for name, value in numbers.items():
                out.setdefault(name, {})[step] = pytest.approx(value, rel=1e-6)
    return out


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_it_holds_what_the_run_says(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=20))
    where = send(path, "tensorboard")
    assert where == f"tensorboard --logdir {path}/tensorboard"
    assert read(path / "tensorboard") == said(path)


@pytest.mark.filterwarnings("ignore")
def test_a_training_is_followed_and_prints_what_it_prints_alone(tmp_path: Path) -> None:
    alone = subprocess.run([sys.executable, *SCRIPT], capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "dominance", "record", "--every", "1", "--to", "tensorboard", "-o", "run"]
    done = subprocess.run([*command, *SCRIPT], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == alone.stdout
    assert f"dominance: sent to tensorboard: tensorboard --logdir {tmp_path}/run/tensorboard" in done.stderr
    assert read(tmp_path / "run" / "tensorboard") == said(tmp_path / "run")
