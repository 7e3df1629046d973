"""DistributedDataParallel: task gradients of the averaged loss, against those by hand, and the training untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from record import distributed_training as training
from record.launched import Launcher
from record.ranked import Gradients, assert_untouched, by_hand, recorded

from dominance import open_run
from dominance.record.pass_over_ranks import IN_PART, LOCAL

SCRIPT = training.__file__


@pytest.fixture(scope="module")
def plain(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainings of two processes as they are."""
    folder = tmp_path_factory.mktemp("plain")
    assert launcher.run(folder, [SCRIPT, *training.FORMS], size=2).codes == [0, 0]
    return folder


@pytest.fixture(scope="module")
def truth(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with gradients taken by hand."""
    folder = tmp_path_factory.mktemp("truth")
    assert launcher.run(folder, [SCRIPT, *training.FORMS], size=2, environment={"TRUTH": "1"}).codes == [0, 0]
    return folder


def factor(form: str, tasks: Gradients) -> float:
    """What the script does to the means of the gradients."""
    if form == "summed":
        return 2.0
    if form == "clipped":
        names = {name for gradients in tasks.values() for name in gradients}
        total = [sum(of[name] for of in tasks.values() if name in of).norm() for name in names]
        return training.LONGEST / float(torch.stack(total).norm())
    return 1.0


STEPS = {
    "static_graph": training.STEPS - 1,
    "talking_apart": training.STEPS // 2,
    "uneven": training.STEPS + 2,
    "uneven_by_active": training.STEPS + 2,
}
"""Recorded steps, where they are not those of all processes."""


def assert_true(run: Path, truth: dict[int, Gradients], form: str) -> None:
    """The run holds the task gradients of the averaged loss."""
    found = recorded(run)
    close = 5e-3 if form == "compressed" else 2e-5
    assert len(found) == STEPS.get(form, training.STEPS)
    for step, tasks in found.items():
        assert set(tasks) == {"price", "stars"}
        times = factor(form, truth[step])
        for task, gradients in tasks.items():
            for name, gradient in gradients.items():
                expected = truth[step][task].get(name, torch.zeros(gradient.shape)).flatten() * times
                where = f"step {step}, {task}, {name}"
                torch.testing.assert_close(gradient, expected, rtol=close, atol=1e-6 * times, msg=where)


@pytest.mark.parametrize("form", training.FORMS)
def test_tasks_have_the_gradients_of_the_averaged_loss_and_the_training_is_untouched(
    launcher: Launcher, tmp_path: Path, form: str, plain: Path, truth: Path
) -> None:
    made = launcher.run(tmp_path, [SCRIPT, form], record=["--every", "1", "--exact", "-o", "run"], size=2)
    assert made.codes == [0, 0]
    assert_untouched(plain / form, tmp_path / form, 2)
    assert_true(tmp_path / "run", by_hand(truth / form, 2, by_active=form == "uneven_by_active"), form)
    steps = STEPS.get(form, training.STEPS)
    assert made.said[-2:] == [f"dominance: {steps} steps recorded in run", "dominance report run"]
    assert len(made.said) == 3 + 2 * (form in ("static_graph", "talking_apart"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted([form, "run"])


@pytest.mark.parametrize(
    ("form", "size", "part"),
    [("local", 2, 1), ("local_of_one", 2, 1), ("local_in_pairs", 4, 2), ("hierarchical", 2, 1)],
)
def test_local_sgd_has_the_gradients_of_rank_0_or_of_its_group(
    launcher: Launcher, tmp_path: Path, form: str, size: int, part: int
) -> None:
    """Each step is split exactly; the averages of weights, after it, are no task's."""
    for name, environment in (("plain", {}), ("truth", {"TRUTH": "1"}), ("recorded", {})):
        (tmp_path / name).mkdir()
        record = ["--every", "1", "--exact", "-o", "run"] if name == "recorded" else None
        made = launcher.run(tmp_path / name, [SCRIPT, form], record=record, size=size, environment=environment)
        assert made.codes == [0] * size
    assert_untouched(tmp_path / "plain" / form, tmp_path / "recorded" / form, size)
    shared, own = by_hand(tmp_path / "truth" / form, size), by_hand(tmp_path / "truth" / form, part)
    truth = {step: (shared if step < training.SHARED else own)[step] for step in own}
    assert_true(tmp_path / "recorded" / "run", truth, form)
    said = f"dominance: from step {training.SHARED} on, {LOCAL if part == 1 else IN_PART}"
    assert made.said == [
        "dominance: 2 tasks: price, stars", said, "dominance: 4 steps recorded in run", "dominance report run"
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "recorded").iterdir() if path.is_dir()) == sorted([form, "run"])
    with open_run(tmp_path / "recorded" / "run") as run:
        assert float(run["closure"].max()) < 1e-5
        moved = abs(run["update/outside"]).max("coord").values > 1e-4
    assert moved.tolist() == [step == training.SHARED for step in range(training.STEPS)]


def test_four_processes_write_one_run(launcher: Launcher, tmp_path: Path) -> None:
    for name in ("plain", "truth", "recorded"):
        (tmp_path / name).mkdir()
    launcher.run(tmp_path / "plain", [SCRIPT, "plain"], size=4)
    launcher.run(tmp_path / "truth", [SCRIPT, "plain"], size=4, environment={"TRUTH": "1"})
    made = launcher.run(
        tmp_path / "recorded", [SCRIPT, "plain"], record=["--every", "1", "--exact", "-o", "run"], size=4
    )
    assert made.codes == [0, 0, 0, 0]
    assert_untouched(tmp_path / "plain" / "plain", tmp_path / "recorded" / "plain", 4)
    assert_true(tmp_path / "recorded" / "run", by_hand(tmp_path / "truth" / "plain", 4), "plain")
    assert made.said == [
        "dominance: 2 tasks: price, stars", "dominance: 4 steps recorded in run", "dominance report run"
    ]  # fmt: skip
    with open_run(tmp_path / "recorded" / "run") as run:
        assert (run.attrs["ranks"], run.attrs["status"]) == (4, "complete")
