"""Recording changes nothing: a script in tests/scripts leaves the same behind with and without ``dominance record``.

Compared to the bit: standard output, standard error, the exit code, and the state that the script writes at exit:
weights, gradients, buffers, optimizer state, random number generators, attributes and hooks (see scripts/_keep.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import TIMEOUT, Forks
from same import differences

from dominance import open_run

SCRIPTS = Path(__file__).parent / "scripts"

FOUND: dict[str, list[str]] = {
    "accumulate.py": ["depth", "normal"],
    "adam_closure.py": ["up", "down"],
    "alternating.py": ["loss", "loss.2"],
    "anomaly.py": ["one_loss", "two_loss"],
    "arguments.py -o x --every 3 -q -m fast --lr 0.01 a b": ["sum_loss", "max_loss"],
    "autocast.py": ["colour", "shape"],
    "autograd_grad.py": ["one_loss", "two_loss"],
    "backward_in_hook.py": [],
    "backward_per_task.py": ["near", "far"],
    "batch_norm.py": ["age", "sex"],
    "batched_rows.py": ["one_loss", "two_loss"],
    "bfloat16.py": ["copy", "flip"],
    "buffers.py": ["one_loss", "two_loss"],
    "checkpoint.py": ["depth", "seg"],
    "checkpoint_hooks.py": ["near_loss", "far_loss"],
    "checkpoint_reentrant.py": ["depth", "seg"],
    "checkpoint_selective.py": [],
    "clip_value.py": ["left_loss", "right_loss"],
    "copies.py": ["one_loss", "two_loss"],
    "custom_function.py": ["label", "domain"],
    "dies_in_backward.py 0": [],
    "dies_in_backward.py 5": ["depth", "seg"],
    "dies_midway.py": ["depth", "seg"],
    "diverges.py": ["one_loss", "two_loss"],
    "dropout.py": ["depth", "seg"],
    "embedding.py": ["rating", "click"],
    "evaluate.py": ["price_loss", "stars_loss"],
    "evaluation.py": ["first_loss", "second_loss"],
    "example.py --epochs 2 --pairs 640": ["left", "right", "recon"],
    "exits.py at-once": ["depth", "seg"],
    "exits.py interrupt": ["depth", "seg"],
    "exits.py message": ["depth", "seg"],
    "exits.py number": ["depth", "seg"],
    "exits_in_backward.py": [],
    "frees_saved.py frees": [],
    "frees_saved.py scales": [],
    "freezing.py": ["pose_loss", "mask_loss"],
    "grad_scaler.py": ["slow_loss", "fast_loss"],
    "gradient_penalty.py": ["real", "style", "penalty"],
    "gru.py": ["tag_loss", "sentence_loss"],
    "identity.py": ["one_loss", "two_loss"],
    "lbfgs.py": ["mean", "scale"],
    "leaf.py": ["first", "second"],
    "learned_weights.py": ["total", "product", "sign"],
    "loader_workers.py": ["total_loss", "sign_loss"],
    "loss_vector.py": ["segmentation", "depth", "normal"],
    "lstm.py": ["next", "length"],
    "methods.py adatask": ["price", "stars"],
    "methods.py equal": ["price", "stars"],
    "methods.py gradnorm": ["price", "stars"],
    "methods.py mocograd": ["price", "stars"],
    "methods.py pcgrad": ["price", "stars"],
    "methods.py pub": ["price", "stars"],
    "methods.py through": ["price", "stars"],
    "modes.py": ["one_loss", "two_loss"],
    "nested.py": ["price", "stars"],
    "no_training.py": [],
    "offload.py": [],
    "one_task.py": ["loss"],
    "-m package.train --flag": ["near", "far"],
    "partial_labels.py": ["depth", "seg"],
    "per_sample.py": ["box_loss", "label_loss"],
    "random_numbers.py": ["one_loss", "two_loss"],
    "regulariser.py": ["depth", "seg"],
    "retain_graph.py": ["one_loss", "two_loss"],
    "saved_tensors.py": ["one_loss", "two_loss"],
    "scheduler.py": ["mean", "spread"],
    "scripted.py": ["up_loss", "down_loss"],
    "sparse_embedding.py": ["click", "buy"],
    "spawn.py": ["one_loss", "two_loss"],
    "static_graph.py": ["near_loss", "far_loss"],
    "step_hooks.py": ["one_loss", "two_loss"],
    "step_in_backward.py": ["one_loss", "two_loss"],
    "threads.py": ["one_loss", "two_loss"],
    "two_optimizers.py": ["task_a", "task_b"],
    "tying.py": ["lm", "sentiment"],
    "uncertainty.py": ["price", "demand"],
    "user_hooks.py": ["one_loss", "two_loss"],
    "views.py": ["one_loss", "two_loss"],
    "warns.py": ["one_loss", "two_loss"],
}
"""What is run, and the tasks that the recorder must find in it."""

RESIDUAL = {"regulariser.py": ["l2"]}
"""Terms of the loss that belong to no task; there are none in the other scripts."""

FRESH = {"arguments", "dies_midway", "exits.py interrupt", "identity", "package", "spawn", "warns"}
"""Scripts that need an interpreter of their own, not a fork: they look at what is around them, or at how it ends."""

VARIANTS = {"all steps": ["--every", "1"], "bursts": ["--every", "3", "--burst", "2"]}


@dataclass(frozen=True)
class Left:
    """What a script leaves behind."""

    code: int
    stdout: str
    stderr: str
    state: Any


class Runner:
    """Runs a command line of a script, plain or recorded, fresh or forked."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DOMINANCE_")},
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        self.forks = forks
        self.left: dict[str, Left] = {}

    def plain(self, command: str) -> Left:
        """The truth; run once for all variants."""
        if command not in self.left:
            self.left[command] = self.run(command, fresh=fresh(command))
        return self.left[command]

    def run(self, command: str, *, fresh: bool = False, record: list[str] | None = None, before: str = "") -> Left:
        files = [self.folder / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text("words on standard input\n")
        state = self.folder / "state"
        state.unlink(missing_ok=True)
        added = {"STATE_OUT": str(state)}
        if fresh:
            entry = [] if record is None else ["-m", "dominance", "record", *record]
            with files[0].open() as stdin, files[1].open("w") as stdout, files[2].open("w") as stderr:
                code = subprocess.run(
                    [sys.executable, *entry, *command.split()],
                    cwd=SCRIPTS,
                    env=self.environment | added,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    timeout=TIMEOUT,
                    check=False,
                ).returncode
        else:
            code = self.forks.run(
                command.split(), record=record, files=files, cwd=SCRIPTS, environment=added, before=before
            )
        loaded = torch.load(state, weights_only=False) if state.exists() else None
        return Left(code, files[1].read_text(), files[2].read_text(), loaded)


def fresh(command: str) -> bool:
    return any(name in command for name in FRESH)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Runner:
    return Runner(tmp_path_factory.mktemp("harmless"), forks)


def changed(plain: Left, recorded: Left) -> list[str]:
    """Everything that recording has changed."""
    return [
        *differences(plain.code, recorded.code, "exit code"),
        *differences(plain.stdout.splitlines(), recorded.stdout.splitlines(), "stdout"),
        *differences(plain.stderr.splitlines(), recorded.stderr.splitlines(), "stderr"),
        *differences(plain.state, recorded.state, "state"),
    ]


@pytest.mark.parametrize("command", FOUND)
def test_recording_changes_nothing(command: str, runner: Runner, tmp_path: Path) -> None:
    plain = runner.plain(command)
    assert plain.state is not None
    wrong = {}
    for variant, options in VARIANTS.items():
        path = tmp_path / variant
        exact = variant == "all steps"
        recorded = runner.run(command, fresh=exact and fresh(command), record=["-q", *options, "-o", str(path)])
        wrong[variant] = changed(plain, recorded)
        if exact:
            wrong["found"] = list(differences((FOUND[command], RESIDUAL.get(command, [])), found(path), "tasks"))
    if any(wrong.values()):
        pytest.fail("\n".join(f"{key}: {line}" for key, lines in wrong.items() for line in lines[:4]), pytrace=False)


@pytest.mark.parametrize("command", ["evaluate.py", "evaluate.py --raises"])
def test_a_probe_changes_nothing(command: str, runner: Runner, tmp_path: Path) -> None:
    """A function that is evaluated under noise leaves every kind of trace, or raises."""
    plain = runner.plain(command)
    path = tmp_path / "run"
    recorded = runner.run(command, record=["-q", "--every", "1", "--probe", "noise", "-o", str(path)])
    said = [line for line in recorded.stderr.splitlines() if line.startswith("dominance: ")]
    rest = [line for line in recorded.stderr.splitlines() if not line.startswith("dominance: ")]
    assert changed(plain, replace(recorded, stderr="\n".join(rest))) == []
    with open_run(path) as run:
        assert ("noise" in run["probe"].children) == (command == "evaluate.py")
    if command == "evaluate.py":
        assert said == []
    else:
        (line,) = said
        assert "evaluate raised ValueError: no more data" in line


def found(path: Path) -> tuple[list[str], list[str]]:
    """Tasks, and terms that are none."""
    if not path.exists():
        return [], []
    with open_run(path) as run:
        return list(run.attrs["tasks"]), list(run.attrs["residual_terms"])


def test_no_script_is_forgotten() -> None:
    scripts = {path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.rglob("*.py") if path.name[0] != "_"}
    run = {command.split()[0] for command in FOUND} - {"-m"}
    assert scripts - run == {"package/train.py", "package/model.py"}


BACKWARD = """
import torch
backward = torch.Tensor.backward
def harmful(tensor, *arguments, **options):
    result = backward(tensor, *arguments, **options)
    {harm}
    return result
torch.Tensor.backward = harmful
"""
STEP = """
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
def harmful(optimizer, arguments, options):
    parameter = optimizer.param_groups[0]["params"][0]
    with torch.no_grad():
        {harm}
register_optimizer_step_post_hook(harmful)
"""


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (BACKWARD.format(harm="torch.rand(())"), "state/torch random"),
        (BACKWARD.format(harm="import numpy; numpy.random.rand()"), "state/numpy random"),
        (BACKWARD.format(harm="import random; random.random()"), "state/python random"),
        (BACKWARD.format(harm="torch.autograd.set_detect_anomaly(True)"), "state/anomaly mode"),
        (BACKWARD.format(harm="import os; os.environ['LEFT'] = 'behind'"), "state/environment"),
        (BACKWARD.format(harm="print(end=' ')"), "stdout"),
        (BACKWARD.format(harm="import sys; print('warning', file=sys.stderr)"), "stderr"),
        (BACKWARD.format(harm="import atexit, os; atexit.register(os._exit, 4)"), "exit code"),
        (STEP.format(harm="parameter[0, 0] = parameter[0, 0].nextafter(torch.tensor(9.0))"), "state/net/parameters"),
        (STEP.format(harm="parameter.grad[0, 0] = -parameter.grad[0, 0]"), "state/net/parameters"),
        (STEP.format(harm="parameter.grad.requires_grad_()"), "state/net/parameters"),
        (STEP.format(harm="parameter.remembered = 1"), "state/net/parameters"),
        (STEP.format(harm="optimizer.state[parameter]['more'] = 1"), "state/optimizer/state"),
        (
            STEP.format(harm="optimizer.register_step_pre_hook(print) if False else optimizer.__dict__.update(x=1)"),
            "state",
        ),
    ],
)
def test_harm_is_noticed(harm: str, where: str, runner: Runner) -> None:
    plain = runner.plain("random_numbers.py" if "random" in where else "dropout.py")
    harmed = runner.run("random_numbers.py" if "random" in where else "dropout.py", before=harm)
    assert any(line.startswith(where) for line in changed(plain, harmed))
