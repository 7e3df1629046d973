"""``dominance train`` as a person meets it."""

from __future__ import annotations

import os
import pty
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from same import differences
from small_benchmark import Small, install, state

from dominance.benchmarks.train.methods import METHODS
from dominance.store.reader import open_run
from dominance_cli.main import main

torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; "small" is a benchmark."""
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(command.split())
    out, err = capfd.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, out, err


def test_from_nothing_to_a_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("train small --method EqualWeight --every 1", capfd)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["task", "y", "z"]
    assert re.split(r" {2,}", out.splitlines()[0]) == ["task", "mse ↓", "mae ↓", "accuracy ↑"]
    assert re.fullmatch(r"y +[\d.]+ +[\d.]+ +-", out.splitlines()[1])
    assert re.fullmatch(r"z +- +- +[\d.]+", out.splitlines()[2])
    (path,) = [each for each in (folder / "runs").iterdir() if not each.is_symlink()]
    assert re.fullmatch(r"small-equal-weight-\d{8}T\d{6}Z-\d+", path.name)
    assert err.splitlines()[-1] == f"dominance report runs/{path.name}"
    assert os.readlink(folder / "runs" / "latest") == path.name
    assert open_run(path).sizes["step"] == 15


def test_options_of_the_recording(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("train small --method EqualWeight --light -o light", capfd)[0] == 0
    assert open_run(folder / "light").attrs["options"]["light"]
    assert run("train small --method EqualWeight --averages -o averages", capfd)[0] == 0
    assert open_run(folder / "averages").attrs["options"]["averages"]


def test_a_comparison(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A baseline may be one run, or one for each task."""
    assert run("train small --method stl -o alone -q", capfd)[0] == 0
    assert run("train small --method ew -o equal -q", capfd)[0] == 0
    code, out, err = run(
        "train small --method grid-search --option weights=y:0.5,z:1.5 --baseline alone --baseline equal", capfd
    )
    assert code == 0
    assert "otherwise" not in err
    _, *comparisons = out.split("\n\n")
    assert len(comparisons) == 2
    assert "stl" in comparisons[0]
    assert "equal-weight" in comparisons[1]


def test_a_baseline_is_looked_at_before_the_training(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One that cannot be compared with ends it before it begins; one that was trained otherwise is said to be."""
    assert run("train small --method ew -o y --tasks y -q --no-record --seed 3 --set dropout=0.0", capfd)[0] == 0
    assert run("train toy-2d --method ew -o toy --set steps=2 --epochs 1 -q --no-record", capfd)[0] == 0
    for baseline, why in (
        ("toy", "the baseline toy was trained on toy-2d, this is small; give a baseline of the same benchmark"),
        ("y", "the baseline y was not trained on z; give one that was, or --tasks y here"),
    ):
        code, out, err = run(f"train small --method uw -o run --baseline {baseline}", capfd)
        assert (code, out, err) == (2, "", f"dominance: error: {why}\n")
        assert not (folder / "run").exists()
    code, out, err = run(
        "train small --method uw -o run --no-record --tasks y --epochs 1 --lr 0.02 --set dropout=0.5 --baseline y",
        capfd,
    )
    assert code == 0
    assert err.splitlines() == [
        "dominance: the baseline y was trained otherwise: epochs 3 instead of 1, lr 0.01 instead of 0.02, "
        "dropout 0.0 instead of 0.5"
    ]
    code, out, err = run("train small --method uw -o same --no-record --tasks y --baseline y", capfd)
    assert (code, err) == (0, "")


def test_resume_takes_nothing_else(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("train small --method ew -o run -q", capfd)[0] == 0
    for more in (
        "--epochs 9",
        "--lr 0.1 --seed 0",
        "--set dropout=0.1",
        "--no-record",
        "--every 1",
        "--tasks y",
        "-o a",
    ):
        code, out, err = run(f"train --resume run {more}", capfd)
        assert (code, out) == (2, "")
        assert all(word in err for word in more.replace("-o", "--output").split() if word.startswith("--"))
    code, out, _ = run("train --resume run --baseline run -q", capfd)
    assert (code, out.count("Δp ↑ (AdaTask) against run: +0.00%")) == (0, 1)


def test_the_next_command(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, _, err = run("train small --method stl -o alone", capfd)
    assert err.splitlines()[-1] == "dominance train small --method equal-weight --baseline alone"
    _, _, err = run("train small --method stl -o two --epochs 2 --set dropout=0.1 --seed 4 --milestones 0.5", capfd)
    again = "dominance train small --method equal-weight --seed 4 --epochs 2 --milestones 0.5 --set dropout=0.1"
    assert err.splitlines()[-1] == f"{again} --baseline two"
    _, _, err = run("train small --method uw -o one --tasks y", capfd)
    assert err.splitlines()[-1] == "dominance info one"
    _, _, err = run("train small --method pcgrad -o bare --no-record", capfd)
    assert err == ""
    _, _, err = run("train --list", capfd)
    assert err.splitlines()[-1].startswith("dominance train ")


def test_lists(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("train --list", capfd)
    assert code == 0
    assert {line.split()[0] for line in out.splitlines() if line.startswith("  ")} >= {"adatask-synthetic", *METHODS}
    code, out, err = run("train adatask-synthetic --describe", capfd)
    assert code == 0
    assert "Licence" in out
    assert "x_scale = 0.1" in out
    assert err == "dominance train adatask-synthetic --method equal-weight\n"
    code, out, err = run("train --method LAdaTask --describe", capfd)
    assert (code, err) == (0, "dominance train adatask-synthetic --method LAdaTask\n")
    assert "Optimizers  adam, rmsprop, adagrad\n" in out
    assert "  granularity = layer  (" in out
    code, out, err = run("train toy-2d --method cagrad --describe", capfd)
    assert (code, err) == (0, "dominance train toy-2d --method cagrad\n")
    assert "Optimizers  sgd, momentum, adam, adamw, rmsprop, adagrad, adadelta\n" in out
    assert re.search(r"\n  c = [\d.]+  \(a number\)", out)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "no benchmark is named; see `dominance train --list`"),
        ("train adatask-synthetic", "no method is named; give --method equal-weight"),
        ("train adatask-sintetic --method uw", "did you mean adatask-synthetic?"),
        ("train small --method cgrad", "no method 'cgrad'; did you mean "),
        ("train small --method zzz", "no method 'zzz'; see `dominance train --list`"),
        ("train small --method uw --optimizer lion", "no optimizer 'lion'; choose from sgd, momentum, adam"),
        ("train small --method adatask --optimizer sgd", "adatask cannot be built on sgd; give --optimizer adam or"),
        ("train small --method adatask --representation", "adatask works on updates, not on gradients"),
        ("train small --method uw --architecture cnn", "small has no architecture 'cnn'; choose from hps"),
        ("train small --method uw --tasks y,q", "small has no task 'q'; choose from y, z"),
        ("train small --method uw --tasks y,y", "name each task once"),
        ("train small --method uw --lr 0", "a learning rate of 0 cannot be used"),
        ("train small --method uw --lr nan", "a learning rate of nan cannot be used"),
        ("train small --method uw --epochs 0", "epochs 0 cannot be used; give 1 or more"),
        ("train small --method uw --epochs few", "invalid value for '--epochs': "),
        ("train small --method uw --milestones half", "milestones 'half' cannot be read; write them like 0.6,0.8"),
        ("train small --method uw --milestones 3", "milestones 3.0 cannot be used; give shares between 0 and 1"),
        ("train small --method uw --device abacus", "there is no device 'abacus' here"),
        ("train small --method uw --set width", "--set 'width' is no key=value; write it like --set width=200"),
        ("train adatask-synthetic --method uw --set widht=3", "adatask-synthetic has no widht; did you mean width?"),
        ("train adatask-synthetic --method uw --set width=wide", "--set width=wide: width is a whole number"),
        ("train small --method uw --option inital=1", "uw has no inital; did you mean initial?"),
        ("train small --method grid-search", "grid-search needs weights; give them, like --option weights=y:0.5,z:0.5"),
        ("train small --method grid-search --option weights=y:-1,z:1", "grid-search: weights must be finite"),
        ("train small --method rlw --option distribution=flat", "distribution is normal or dirichlet"),
        ("train small --method uw --every 0", "every=0 records nothing"),
        ("train small --method uw --baseline nowhere", "nowhere: no checkpoint.pt; check the path"),
        ("train --resume nowhere", "nowhere: no checkpoint.pt; check the path"),
        (
            "train small --resume nowhere",
            "--resume goes on with a training as it was begun; give --resume RUN without BENCHMARK",
        ),
        ("train small --method uw -o taken", "taken exists; give --force to replace it, or another -o"),
        ("train small --method uw -o taken --force", "taken holds something that is no dominance run"),
        ("train small --methud uw", "no such option: --methud; did you mean --method?"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str], command: str, says: str) -> None:
    (folder / "taken").mkdir()
    (folder / "taken" / "thing").touch()
    code, out, err = run(command, capfd)
    assert (code, out) == (2, "")
    assert err.startswith("dominance: error: ")
    assert says in err
    assert err.count("\n") == 1
    assert not (folder / "runs").exists()


def test_a_training_that_fails(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("train small --method uw --optimizer sgd --lr 1e9 --no-record", capfd)
    assert (code, out) == (1, "")
    assert err.startswith("dominance: error: uw failed at step ")
    assert err.count("\n") == 1


def test_help_fits(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("train --help", capfd)
    assert code == 0
    assert "Example: dominance train " in out
    assert max(map(len, out.splitlines())) <= 80


def test_what_the_other_commands_say_of_a_training(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What was trained and how it ended; where the runs are, where a folder holds some; why a run has no summary."""
    assert run("train small --method uw --epochs 2 --option initial=0.5 -o run -q", capfd)[0] == 0
    code, out, _ = run("info run", capfd)
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines())
    assert lines["command"] == (
        "dominance train small --method uw --optimizer adam --architecture hps --epochs 2 --batch-size 4 --lr 0.01 "
        "--patience 0 --tasks y,z --option initial=0.5"
    )
    assert re.fullmatch(r"mse [\d.]+, mae [\d.]+", lines["final y"])
    assert re.fullmatch(r"accuracy [\d.]+", lines["final z"])

    assert run("train small --method stl -o stl -q", capfd)[0] == 0
    code, out, err = run("info stl", capfd)
    assert (code, err) == (0, "dominance summary stl\n")
    assert [line.split()[0] for line in out.splitlines()] == ["y", "z"]
    code, out, err = run("summary stl", capfd)
    assert (code, out) == (2, "")
    assert err.endswith("has one task, z, and so no shared parameter\n")
    assert run("train small --method uw -o bare --no-record -q", capfd)[0] == 0
    code, out, err = run("info bare", capfd)
    assert (code, err) == (2, "dominance: error: bare: this training was not recorded; train without --no-record\n")

    code, out, err = run("info stl/y", capfd)
    assert (code, err) == (0, "")
    code, out, err = run("summary stl/y", capfd)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("stl/y: has one task, y, and so no shared parameter\n")
    code, out, err = run("report stl/y --figures *[ra]*", capfd)
    assert code == 0
    assert err.count("has one task, y, and so no shared parameter") == 1
    assert err.splitlines()[-1] == "dominance info stl/y"


@pytest.mark.parametrize(("number", "leaves"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_control_c_and_resume(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, leaves: int
) -> None:
    """Ctrl-C and SIGTERM let the step end and say how to go on; going on ends as if nothing had been."""
    calls = 0
    loss = Small.loss

    def interrupted(self: Small, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 13:  # in the middle of step 6: two losses a step
            signal.raise_signal(number)
        return loss(self, *arguments)

    _, whole, _ = run("train small --method uw -o whole --no-record", capfd)
    with monkeypatch.context() as patch:
        patch.setattr(Small, "loss", interrupted)
        code, out, err = run("train small --method uw -o parts", capfd)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert (code, out) == (leaves, "")
    assert err.splitlines()[-2:] == [
        "dominance: interrupted; parts holds what was trained so far",
        "dominance train --resume parts",
    ]
    assert state(folder / "parts")["place"]["step"] == 7
    code, out, err = run("train --resume parts", capfd)
    assert (code, err.splitlines()[-1]) == (0, "dominance report parts")
    assert [line.split()[:4] for line in out.splitlines()] == [line.split()[:4] for line in whole.splitlines()]
    assert not list(differences(state(folder / "parts"), state(folder / "whole")))


def test_control_c_twice(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one does not wait for the end of the step; there is nothing to resume when it comes so early."""

    def impatient(self: Small, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Small, "loss", impatient)
    code, out, err = run("train small --method uw", capfd)
    assert (code, out) == (130, "")
    assert "interrupted before there was anything to resume" in err
    assert not (folder / "runs").exists()


def everything_until(terminal: int, end: str) -> str:
    """What stands on a terminal up to `end`; one read may give a part of it."""
    text = ""
    while not text.endswith(end):
        text += os.read(terminal, 1 << 16).decode()
    return text


def test_progress_is_for_a_terminal(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one, epochs and losses pass by and are gone in the end; in a pipe there is nothing."""
    master, slave = pty.openpty()
    with open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "__stderr__", terminal)
        assert run("train small --method uw --no-record -o a", capfd)[0] == 0
        print("done", file=terminal, flush=True)
        text = everything_until(master, "done\r\n")
        assert re.search(r"training .*epoch \d/3 step \d+ .*y [\d.]+", text)
        assert text.endswith("\x1b[2Kdone\r\n")
        assert run("train small --method uw --no-record -o b -q", capfd)[0] == 0
        print("end", file=terminal, flush=True)
        assert everything_until(master, "end\r\n") == "end\r\n"
    os.close(master)
