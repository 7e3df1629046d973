"""``dominance record`` on a script that trains: the same script, plus a run."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main
from forks import Forks

from dominance import config
from dominance.config import RecordOptions, typed
from dominance.store.reader import open_run
from dominance_cli.main import app, main
from dominance_cli.record import record
from dominance_cli.recorded_script import RecordedScript
from dominance_cli.rundir import Latest, default_folder

TRAIN = """
import argparse, atexit, hashlib, os, sys
assert "FORKED" in os.environ or not {"torch", "numpy"} & sys.modules.keys()
os.environ["OMP_NUM_THREADS"] = "1"
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("-o")
parser.add_argument("--end", default="normally")
options = parser.parse_args()
print(sys.argv, __file__, torch.get_num_threads())
atexit.register(print, "bye")


class Breaks(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise FloatingPointError("in backward")


torch.manual_seed(1)
trunk, depth_head, seg_head = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)
model = nn.ModuleDict({"trunk": trunk, "depth": depth_head, "seg": seg_head})
optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
os.chdir("/")
for step in range(8):
    x = torch.randn(5, 4)
    features = torch.tanh(trunk(x))
    if options.end == "breaks" and step == 5:
        features = Breaks.apply(features)
    depth = (depth_head(features) ** 2).mean()
    seg = (seg_head(features) - 1).abs().mean()
    loss = depth + 0.5 * seg
    optimizer.zero_grad()
    try:
        loss.backward()
    except FloatingPointError as error:
        raise RuntimeError("no gradient") from error
    optimizer.step()
    print(step, loss.item())
    if options.end == "interrupted" and step == 5:
        import signal
        signal.raise_signal(signal.SIGINT)
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
if options.end == "exits":
    sys.exit(3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    (folder / "train.py").write_text(TRAIN)
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def recorded(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "dominance", "record", *arguments)


def forked(forks: Forks, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``recorded`` where torch is imported already."""
    return forks.python("-m", "dominance", "record", *arguments, cwd=folder, environment={"FORKED": "yes"})


def both(folder: Path, options: list[str], script: list[str]) -> tuple[int, str, list[str]]:
    """Run the script bare and recorded: what Python gives must be the same. Exit code, stdout, our own lines."""
    bare, ours = python(folder, *script), recorded(folder, *options, *script)
    said = [line for line in ours.stderr.splitlines(keepends=True) if line.startswith("dominance")]
    rest = [line for line in ours.stderr.splitlines(keepends=True) if not line.startswith("dominance")]
    assert (ours.returncode, ours.stdout, "".join(rest)) == (bare.returncode, bare.stdout, bare.stderr)
    return ours.returncode, ours.stdout, [line.rstrip("\n") for line in said]


def test_a_script_that_exits_with_a_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own -o and --lr reach it; the run has every step; runs/latest and the last line lead to it."""
    (folder / "runs").mkdir()
    (folder / "runs" / "latest").symlink_to("older")
    code, out, ours = both(folder, ["--every", "1"], ["train.py", "--lr", "0.1", "-o", "x", "--end", "exits"])
    assert code == 3
    assert out.endswith("bye\n")
    assert ours[0] == "dominance: 2 tasks: depth (weight 1), seg (weight 0.5)"
    command = re.fullmatch(r"dominance report (runs/train-\d{8}T\d{6}Z-\d+)", ours[-1])
    assert command is not None
    assert ours[-2] == f"dominance: 8 steps recorded in {command[1]}"
    assert os.readlink(folder / "runs" / "latest") == Path(command[1]).name

    monkeypatch.chdir(folder)
    run = open_run("runs/latest")
    assert run["step"].values.tolist() == list(range(8))
    assert run.attrs["argv"] == ["train.py", "--lr", "0.1", "-o", "x", "--end", "exits"]
    assert run.attrs["ended"] == "failed"
    with pytest.raises(SystemExit) as left:  # and again into the same directory: refused, before anything runs
        main(["record", "-o", command[1], "train.py", "--lr", "1"])
    assert left.value.code == 2


def test_an_error_inside_backward(folder: Path) -> None:
    """The chained traceback passes through our hooks and does not show them; the steps before it are kept."""
    code, _, ours = both(folder, ["-o", "broken", "--every", "1"], ["-m", "train", "--lr", "0.1", "--end", "breaks"])
    assert code == 1
    assert ours[-1] == "dominance report broken"
    facts = information(folder / "broken")
    assert facts["steps_recorded"] == 5
    assert facts["attributes"]["argv"][:2] == ["-m", "train"]
    assert not (folder / "broken" / "latest").exists()


def test_interrupt_while_training(folder: Path) -> None:
    done = recorded(folder, "-o", "stopped", "--every", "1", "train.py", "--lr", "0.1", "--end", "interrupted")
    assert done.returncode == -signal.SIGINT
    assert done.stdout.endswith("bye\n")
    assert "KeyboardInterrupt\n" in done.stderr
    assert done.stderr.splitlines()[-1] == "dominance report stopped"
    facts = information(folder / "stopped")
    assert (facts["steps_recorded"], facts["status"], facts["attributes"]["ended"]) == (6, "interrupted", "interrupted")


def information(run: Path) -> dict[str, Any]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as left:
        main(["info", str(run), "--json", "--verify"])
    assert left.value.code == 0
    facts: dict[str, Any] = json.loads(text.getvalue())
    return facts


OF_THE_PARENT = {
    "target": "stands in the trainer's own command",
    "args": "stand there, too",
    "module": "as the trainer starts it",
    "output": "is given beside the flags",
    "method": "is refused in several processes",
    "method_option": "is refused in several processes",
}
"""Parameters of ``record`` that a process which a trainer starts is not handed on by flags, and why."""


def test_every_option_goes_to_the_processes_that_a_trainer_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(config.SINKS, "tensorboard", "json")  # is installed
    asked = RecordOptions(
        tasks=("a", "b"), every=3, burst=4, overhead=0.0005, params="enc.*", budget=5_000_001, exact=True,
        attribution="both", strict=True, quiet=True, probe=("noise",), columns=("head=x,y", "rest"),
        groups="lang:3", averages=True, to="tensorboard", training_only=True,
    )  # fmt: skip
    lightly = replace(asked, light=True, averages=False, probe=(), attribution="additive")
    known = {field.name for field in fields(RecordOptions)}
    assert {name for name in known if getattr(asked, name) != getattr(RecordOptions(), name)} == known - {"light"}
    assert set(inspect.signature(record).parameters) - known == {*OF_THE_PARENT, "force", "resume", "seed_run"}
    (tmp_path / "train.py").write_text("")
    more: list[str]
    for options, more in ((asked, []), (lightly, ["--force", "--seed-run", "2"]), (asked, ["--resume"])):
        flags = [*typed(options), *more]
        child = parsed(["record", *flags, str(tmp_path / "train.py")])
        assert (child.options, set(child._flags())) == (options, set(flags))
        assert (child.force, child.resume, child.seed_run) == (
            more[:1] == ["--force"],
            more == ["--resume"],
            2 * ("2" in more),
        )
    assert parsed(["record", *typed(RecordOptions()), str(tmp_path / "train.py")]).options == RecordOptions()


def parsed(arguments: list[str]) -> RecordedScript:
    command: Any = typer.main.get_command(app)
    made = command.main(args=arguments, prog_name="dominance", standalone_mode=False)
    assert isinstance(made, RecordedScript)
    return made


def test_strict_stops_with_two(forks: Forks, folder: Path) -> None:
    done = forked(forks, folder, "--strict", "--tasks", "depth,pose", "train.py", "--lr", "0.1")
    assert done.returncode == 2
    assert done.stdout.count("\n") == 2  # its first line, and atexit; no step
    assert "Traceback" not in done.stderr
    assert "depth, pose" in done.stderr


def test_a_fault_of_the_recorder_leaves_the_script_alone(tmp_path: Path) -> None:
    """A package that calls itself torch and is none: the recorder cannot start, and the script does not notice."""
    (tmp_path / "torch.py").write_text("value = 5\n")
    (tmp_path / "train.py").write_text("import torch, sys\nprint(torch.value)\nsys.exit(4)\n")
    done = recorded(tmp_path, "train.py")
    assert (done.returncode, done.stdout) == (4, "5\n")
    assert "the recorder failed and left the script alone" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_where_runs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = default_folder("src/my train.py", module=False)
    assert re.fullmatch(rf"runs/my_train-\d{{8}}T\d{{6}}Z-{os.getpid()}", str(name))
    assert default_folder("pkg.train", module=True).name.startswith("pkg.train-")
    assert default_folder(".", module=False).name.startswith(f"{tmp_path.name}-")

    first, second = Latest(Path("runs/one")), Latest(Path("runs/two"))
    assert first.point() is None
    assert second.point() is None
    assert os.readlink("runs/latest") == "two"
    first.restore()  # a later run has taken the link over: it stays
    assert os.readlink("runs/latest") == "two"
    second.restore()
    assert os.readlink("runs/latest") == "one"
    assert [entry.name for entry in Path("runs").iterdir()] == ["latest"]
    alone = Latest(Path("elsewhere/one"))
    alone.point()
    alone.restore()
    assert not Path("elsewhere").exists()


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    latest = Latest(tmp_path / "run")
    assert "latest is no link and was left alone; the run is run" in str(latest.point())
    latest.restore()
    assert (tmp_path / "latest").is_dir()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "x" * 300], "File name too long"),
        (["--force", "-o", "other"], "no dominance run"),
        (["--resume", "--exact", "-o", "there"], "cannot be resumed, it was recorded without --exact"),
        (["--resume", "--params", "x*", "-o", "there"], "cannot be resumed, --params leaves out"),
    ],
)
def test_what_cannot_be_recorded_there_is_known_before_the_script_starts(
    forks: Forks, folder: Path, options: list[str], says: str
) -> None:
    (folder / "other" / "data.zarr").mkdir(parents=True, exist_ok=True)
    (folder / "other" / "data.zarr" / "file").write_text("precious")
    if not (folder / "there").exists():
        assert forked(forks, folder, "-q", "-o", "there", "train.py", "--lr", "0.1").returncode == 0
    done = forked(forks, folder, *options, "train.py", "--lr", "0.1")
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (folder / "other" / "data.zarr" / "file").exists()


def test_strict_ends_a_script_whose_parameters_do_not_match(forks: Forks, folder: Path) -> None:
    done = forked(forks, folder, "--strict", "--params", "nothing*", "-o", "unmatched", "train.py", "--lr", "0.1")
    assert done.returncode == 2
    assert "recording stopped at step 0: BadOption: no parameter matches" in done.stderr
