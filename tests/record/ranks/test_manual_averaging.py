"""Gradients that the script averages itself: the tasks' are averaged likewise, where that explains what was fed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from record import averaging_by_hand as training
from record.launched import Launcher
from record.ranked import assert_untouched, by_hand, recorded

from dominance import open_run

SCRIPT = training.__file__
RECORD = ["--every", "1", "--exact", "-o", "run"]


@pytest.mark.parametrize("form", ["each", "packed", "summed", "missing"])
def test_tasks_are_averaged_as_the_script_averages(launcher: Launcher, tmp_path: Path, form: str) -> None:
    plain, truth = tmp_path / "plain", tmp_path / "truth"
    plain.mkdir()
    truth.mkdir()
    launcher.run(plain, [SCRIPT, form], size=2)
    launcher.run(truth, [SCRIPT, form], size=2, environment={"TRUTH": "1"})
    made = launcher.run(tmp_path, [SCRIPT, form], record=RECORD, size=2)
    assert made.codes == [0, 0]
    assert_untouched(plain / form, tmp_path / form, 2)
    expected = by_hand(truth / form, 2)
    found = recorded(tmp_path / "run")
    assert len(found) == training.STEPS
    for step, tasks in found.items():
        for task, gradients in tasks.items():
            for name, gradient in gradients.items():
                by = expected[step][task].get(name, torch.zeros(gradient.shape)) * (2 if form == "summed" else 1)
                torch.testing.assert_close(gradient, by.flatten(), rtol=2e-5, atol=1e-6)
    assert not (tmp_path / "run-rank1").exists()
    assert made.said[1:] == ["dominance: 4 steps recorded in run", "dominance report run"]


def test_processes_that_train_a_model_each_have_a_run_each(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    truth = launcher.run(tmp_path / "truth", [SCRIPT, "alone"], size=2, environment={"TRUTH": "1"})
    made = launcher.run(tmp_path, [SCRIPT, "alone"], record=RECORD, size=2)
    assert truth.codes == made.codes == [0, 0]
    for rank, name in enumerate(["run", "run-rank1"]):
        own = torch.load(tmp_path / "truth" / "alone" / f"truth-{rank}.pt")
        for step, tasks in recorded(tmp_path / name).items():
            for task, gradients in tasks.items():
                for of, gradient in own[step][task].items():
                    torch.testing.assert_close(gradients[of], gradient.flatten(), rtol=2e-5, atol=1e-6)
        with open_run(tmp_path / name) as run:
            assert "ranks" not in run.attrs
