"""Real trainers, unmodified, under ``dominance record``: what comes out, judged by gradients taken by hand.

Each program below scripts/ is a small training as a user of that trainer writes it. It runs three times: plain, with
its task gradients taken by hand, and recorded at every step. ``make trainers`` installs the pinned packages into an
environment of their own and prints the table that docs/trainers.md keeps.

Usage: python tests/trainers/run.py [--markdown] [NAME ...]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from judge import Outcome, judge

HERE = Path(__file__).parent
LIMIT = 300
"""Seconds that one run of one program may take."""


@dataclass(frozen=True)
class Program:
    """One program and what should come out."""

    command: str
    package: str
    tasks: tuple[str, ...]
    attribution: str = "additive"
    by_hand: bool = True
    module: str = ""

    @property
    def installed(self) -> bool:
        """Whether its package can be imported here."""
        if self.package == "torch":
            return True
        return importlib.util.find_spec(self.module or self.package.replace("-", "_")) is not None

    @property
    def version(self) -> str:
        """The package and its version, as a table says it."""
        return f"{self.package} {importlib.metadata.version(self.package).partition('+')[0]}"


TWO = ("kind_loss", "value_loss")

PROGRAMS = (
    Program("lightning_automatic.py", "lightning", TWO),
    Program("lightning_automatic.py --accumulate 2 --clip 0.5", "lightning", TWO),
    Program("lightning_automatic.py --precision bf16-mixed", "lightning", TWO),
    Program("lightning_manual.py", "lightning", TWO),
    Program("lightning_fabric.py", "lightning", TWO),
    Program("transformers_trainer.py", "transformers", ("intent_loss", "tag_loss")),
    Program("transformers_trainer.py kwargs", "transformers", ("intent_loss", "tag_loss")),
    Program("accelerate_loop.py", "accelerate", TWO),
    Program("torchjd_calls.py mtl_backward", "torchjd", TWO, by_hand=False),
    Program("torchjd_calls.py backward", "torchjd", TWO, by_hand=False),
    Program("torchjd_calls.py jac_to_grad_mean", "torchjd", TWO, by_hand=False),
    Program("rechub_mtl.py", "torch-rechub", ("loss_list[0]", "loss_list[1]")),
    Program("rechub_mtl.py uwl", "torch-rechub", ("loss_list[0]", "loss_list[1]"), by_hand=False),
    Program("skorch_net.py", "skorch", TWO),
    Program("ignite_engine.py", "pytorch-ignite", TWO, module="ignite"),
    Program("poutyne_model.py", "poutyne", TWO),
    Program("gan.py", "torch", ("err_real", "err_fake")),
    Program("actor_critic.py", "torch", ("policy_losses", "value_losses")),
    Program("pinn.py", "torch", ("pde_loss", "boundary_loss", "initial_loss")),
    Program("sb3_a2c.py a2c", "stable-baselines3", ("policy_loss", "entropy_loss", "value_loss"), by_hand=False),
    Program("sb3_a2c.py ppo", "stable-baselines3", ("policy_loss", "entropy_loss", "value_loss"), by_hand=False),
    Program("sb3_off_policy.py", "stable-baselines3", ("log_prob", "min_qf_pi"), by_hand=False),
    Program("opacus_private.py", "opacus", TWO, by_hand=False),
    Program("peft_lora.py", "peft", ("topic_loss", "score_loss")),
    Program("gpytorch_multitask.py", "gpytorch", ("first", "second")),
    Program("pyro_svi.py", "pyro-ppl", ("count", "size"), by_hand=False, module="pyro"),
    Program("deepxde_poisson.py", "deepxde", ("losses[0]", "losses[1]"), by_hand=False),
    Program("pykeen_pipeline.py", "pykeen", ("MarginRankingLoss", "regularization_term"), by_hand=False),
    Program("sentence_losses.py", "sentence-transformers", ("similarity_loss", "ranking_loss")),
    Program("metric_learning.py", "pytorch-metric-learning", ("metric_loss", "class_loss")),
    Program("metric_learning.py multiple", "pytorch-metric-learning", ("ContrastiveLoss", "NTXentLoss")),
    Program("monai_dice.py", "monai", ("dice_loss", "ce_loss")),
    Program("deepctr_mmoe.py", "deepctr-torch", ("binary_cross_entropy", "mse_loss"), by_hand=False),
    Program("tabnet_multitask.py", "pytorch-tabnet", ("cross_entropy.1", "cross_entropy.2", "M_loss"), by_hand=False),
    Program("diffusers_prior.py", "diffusers", ("instance_loss", "prior_loss")),
    Program("torchmtl_task.py", "torchmtl", ("kind_loss", "value_loss")),
    Program("geometric_multitask.py", "torch-geometric", ("node", "graph")),
)


class Python(Protocol):
    """Runs ``python *words``; ``Forks.python`` is another."""

    def __call__(
        self, *words: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


def fresh(*words: str, cwd: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """In an interpreter of its own."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def outcome(program: Program, folder: Path, python: Python = fresh) -> Outcome:
    """Run a program three times and judge it."""
    plain = _run(python, _arguments(program), folder / "plain")
    if plain.returncode:
        raise SystemExit(f"{program.command} fails without us:\n{plain.stderr[-3000:]}")
    rows = folder / "by_hand.pt" if program.by_hand else None
    if rows:
        taken = _run(python, _arguments(program), folder / "by_hand", BY_HAND=str(rows))
        if taken.stdout != plain.stdout:
            raise SystemExit(f"{program.command}: taking gradients by hand changed it\n{taken.stderr[-3000:]}")
    run = folder / "run"
    record = ["record", "--every", "1", "--exact", "-o", str(run)]
    recorded = _run(python, ["-m", "dominance", *record, *_arguments(program)], folder / "recorded")
    wrong = []
    if recorded.stdout != plain.stdout:
        wrong.append("output or weights CHANGED")
    if recorded.returncode:
        wrong.append(f"exit code {recorded.returncode}")
    said = [line for line in recorded.stderr.splitlines() if line.startswith("dominance:")]
    try:
        found = judge(run, rows, program.tasks, program.attribution)
    except Exception as error:  # noqa: BLE001 - a run that cannot be judged is an outcome of its own
        found = Outcome(wrong=[f"nothing to judge ({type(error).__name__}: {error})", *said])
    found.wrong[:0] = wrong
    return found


def _arguments(program: Program) -> list[str]:
    name, *rest = program.command.split()
    return [str(HERE / "scripts" / name), *rest]


def _run(python: Python, words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    return python(*words, cwd=folder, environment=quiet | environment)


def main() -> int:
    """Print the table; the exit code is 1 when a program did not come out as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/trainers.md")
    parser.add_argument("names", nargs="*", help="only programs whose command begins so")
    options = parser.parse_args()
    failed = 0
    if options.markdown:
        print("| program | package | steps | tasks | outcome |\n| --- | --- | --- | --- | --- |")
    for program in PROGRAMS:
        if options.names and not program.command.startswith(tuple(options.names)):
            continue
        if not program.installed:
            print(f"{program.command}: {program.package} is not installed; skipped", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = outcome(program, Path(folder))
        failed += bool(found.wrong)
        said = "; ".join(found.wrong) or "right"
        tasks = ", ".join(found.tasks)
        if options.markdown:
            print(f"| `{program.command}` | {program.version} | {found.steps} | {tasks} | {said} |", flush=True)
        else:
            print(f"{program.command} ({program.version}): {found.steps} steps, {tasks}: {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
