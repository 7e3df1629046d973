"""Processes that a script starts itself by multiprocessing, and that train together: one run, as of torchrun."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import record.distributed_training as training
import torch
from packaging.version import Version
from record.launched import Launch, Launcher, free_port
from record.ranked import assert_untouched, by_hand, recorded

from dominance import open_run
from dominance.record.script.handing import _Message
from dominance.record.script.spawned import WITHOUT_GROUP
from dominance.record.step_recorder import FORKED

SCRIPT = str(Path(training.__file__).with_name("spawned_training.py"))
SIZE = 2
RECORD = ["--every", "1", "--exact", "-o", "run"]
FORMS = ["plain", "accumulated"]


@dataclass
class Trainings:
    """Of the script, each in a folder of its own."""

    launcher: Launcher
    folder: Path

    def run(self, name: str, how: str, *forms: str, record: list[str] | None = None) -> Launch:
        (self.folder / name).mkdir(exist_ok=True)
        return self.launcher.run(
            self.folder / name, [SCRIPT, how, *forms, "--port", str(free_port())], record=record, size=1
        )


@pytest.fixture
def trainings(launcher: Launcher, tmp_path: Path) -> Trainings:
    return Trainings(launcher, tmp_path)


@pytest.fixture(scope="module")
def plain(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainings of two processes as they are, and their task gradients by hand."""
    folder = tmp_path_factory.mktemp("plain")
    for environment in ({}, {"TRUTH": "1"}):
        made = launcher.run(folder, [training.__file__, *FORMS], size=SIZE, environment=environment)
        assert made.codes == [0, 0]
    return folder


def assert_means(run: Path, plain: Path, form: str) -> None:
    """The run has the means over the processes of what each has taken by hand."""
    found, truth = recorded(run), by_hand(plain / form, SIZE)
    assert sorted(found) == list(range(training.STEPS))
    for step, tasks in truth.items():
        for task, gradients in tasks.items():
            for name, gradient in gradients.items():
                torch.testing.assert_close(found[step][task][name], gradient.reshape(-1), rtol=1e-5, atol=1e-7)


def folders(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir() if each.is_dir() and each.name not in training.FORMS)


@pytest.mark.parametrize(("how", "form"), [("spawn", "accumulated"), ("by_process_forkserver", "plain")])
def test_it_is_one_run_of_the_means_and_the_training_is_untouched(
    trainings: Trainings, plain: Path, how: str, form: str
) -> None:
    made = trainings.run("it", how, form, record=RECORD)
    assert made.codes == [0]
    assert made.said[1:] == ["dominance: 4 steps recorded in run", "dominance report run"]
    assert made.said[0].startswith("dominance: 2 tasks: price")
    assert folders(trainings.folder / "it") == ["run"]
    assert_untouched(plain / form, trainings.folder / "it" / form, SIZE)
    assert_means(trainings.folder / "it" / "run", plain, form)
    with open_run(trainings.folder / "it" / "run") as run:
        told = run.attrs
        assert (told["ranks"], told["world_size"], told["rank"], told["ended"]) == (2, 2, 0, "complete")
        assert (told["script"], told["argv"][:2]) == (SCRIPT, [SCRIPT, how])


def test_what_starts_them_may_train_too_or_start_more(trainings: Trainings, plain: Path) -> None:
    """The run that begins first has the folder; --force replaces what was there before, and no run of this script."""
    made = trainings.run("it", "and_itself", "plain", record=RECORD)
    assert made.codes == [0]
    assert folders(trainings.folder / "it") == ["run", "run-2"]
    assert_means(trainings.folder / "it" / "run", plain, "plain")
    with open_run(trainings.folder / "it" / "run-2") as run:
        assert (run.attrs.get("ranks"), run.sizes["step"], run.attrs["model_number"]) == (None, 3, 2)
    made = trainings.run("it", "twice", "accumulated", "plain", record=[*RECORD, "--force"])
    assert made.codes == [0]
    assert folders(trainings.folder / "it") == ["run", "run-2"]
    assert_means(trainings.folder / "it" / "run", plain, "accumulated")
    assert_means(trainings.folder / "it" / "run-2", plain, "plain")
    assert made.said[-1] == "dominance report run-2"


@pytest.mark.parametrize("how", ["fails", "fails_by_process"])
def test_an_error_is_what_it_is_without_us(trainings: Trainings, how: str) -> None:
    bare, ours = trainings.run("bare", how, "plain"), trainings.run("ours", how, "plain", record=RECORD)
    assert ours.codes == bare.codes == [7 if how == "fails" else 0]
    assert ours.outputs == bare.outputs
    assert scripts(ours) == scripts(bare)
    assert "in backward" in ours.outputs[0] + ours.errors[0]
    with open_run(trainings.folder / "ours" / "run") as run:
        assert (run.attrs["ended"], run.sizes["step"]) == ("failed", training.STEPS)


def scripts(made: Launch) -> list[str]:
    """What is on stderr of the script's own; whether the other process still lives then is a matter of chance."""
    ours = ("dominance", "Terminating process")
    return [line for line in made.errors[0].splitlines() if not any(word in line for word in ours)]


def test_an_interrupt_is_known_though_torch_catches_it(trainings: Trainings) -> None:
    ends = 0 if Version(torch.__version__) < Version("2.15") else 1  # torch's own, without a recording as well
    assert trainings.run("it", "interrupted", "plain", record=RECORD).codes == [ends]
    with open_run(trainings.folder / "it" / "run") as run:
        assert (run.attrs["ended"], run.sizes["step"]) == ("interrupted", training.STEPS)


@pytest.mark.parametrize(("how", "says"), [("alone", WITHOUT_GROUP), ("fork", FORKED), ("by_process_fork", FORKED)])
def test_what_is_not_recorded_is_said_once_and_leaves_nothing(trainings: Trainings, how: str, says: str) -> None:
    made = trainings.run("it", how, "plain", record=RECORD)
    assert made.codes == [0]
    assert made.said == [f"dominance: {says}", "dominance: nothing was recorded: no training step was seen"]
    assert folders(trainings.folder / "it") == []


def test_what_cannot_be_read_there_is_said_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.path)
    assert pickle.loads(pickle.dumps([1, _Message("here", b"no pickle"), 2])) == [1, None, 2]
    assert sys.path == before
    said = capsys.readouterr().err
    assert said.startswith("dominance: error: a process that the script starts is not recorded: UnpicklingError")


def test_a_process_that_does_something_else_takes_nothing_away(trainings: Trainings) -> None:
    made = trainings.run("it", "beside", "plain", record=[*RECORD, "-q"])
    assert (made.codes, made.said) == ([0], [])
    assert folders(trainings.folder / "it") == ["run"]
