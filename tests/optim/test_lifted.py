"""A method taken into another project: which files go along, and that they work there.

What counts is what a module imports when it is imported; what it imports where it is needed (a GradScaler, a
representation, K gradients at once) goes along if it is.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_house import ROOT, at_import, imports

import dominance.optim
from dominance.optim import AdaTaskAdam, CAGrad, PCGrad

FEW = 4
"""The method; what a combiner or a task-wise optimizer is; what task gradients are; how they are taken."""
OF_THE_GRAM_MATRIX = ("PCGrad", "AlignedMTL", "ConFIG", "IMTLG")
STEPPING_APART = ("AdaTaskAdam", "AdaTaskRMSprop", "AdaTaskAdagrad", "Clippy")
SOME = 7
"""With what losses are asked, a solver and its error, histories, the weighted sum of the losses."""
MORE = {"GradNorm": 9, "NashMTL": 9}
"""They make passes of their own, at the scale of a GradScaler too."""


def step(pcgrad: Any, cagrad: Any, adatask: Any) -> list[Any]:
    torch.manual_seed(0)
    trunk = torch.nn.Linear(3, 2)
    optimizer = adatask(trunk.parameters(), lr=0.1)
    for x, combiner in zip(torch.randn(4, 4, 3), (pcgrad(), cagrad(), None, pcgrad()), strict=True):
        out = trunk(x)
        optimizer.zero_grad()
        optimizer.backward({"a": out[:, 0].sum(), "b": (out[:, 1] - 3 * out[:, 0]).square().sum()}, combiner)
        optimizer.step()
    ordinary = torch.optim.SGD(trunk.parameters(), lr=0.1)
    ordinary.zero_grad()
    out = trunk(x)
    pcgrad().backward({"a": out[:, 0].sum(), "b": out.square().sum(), "c": -out[:, 1].mean()}, trunk)
    ordinary.step()
    return [p.tolist() for p in trunk.parameters()]


def home(name: str) -> str:
    return str(getattr(dominance.optim, name).__module__)


def path_of(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")


def taken_along(*modules: str) -> set[str]:
    """These, and every file of the package that is imported when they are, directly or through others."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and path_of(module).is_file():
            found.add(module)
            waiting += [name for name, _ in imports(at_import(ast.parse(path_of(module).read_text("utf-8"))), module)]
    return found


METHODS = sorted(name for name in dominance.optim.__all__ if ".engine." not in home(name))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_few_files(name: str) -> None:
    most = FEW if name in OF_THE_GRAM_MATRIX + STEPPING_APART else MORE.get(name, SOME)
    along = taken_along(home(name))
    assert len(along) <= most, sorted(along)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project, with a folder "lifted"."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for module in taken_along(home("AdaTaskAdam"), home("PCGrad"), home("CAGrad")):
        there = folder / path_of(_lifted(module)).relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(_lifted(path_of(module).read_text("utf-8")), "utf-8")
    return folder


def _lifted(text: str) -> str:
    return text.replace("dominance.optim", "lifted").replace("dominance.errors", "lifted.errors")


def run_there(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    lifted = [
        'import sys; sys.modules["dominance"] = None',
        "import torch; from typing import Any",
        "from lifted.combiners.cagrad import CAGrad",
        "from lifted.combiners.pcgrad import PCGrad",
        "from lifted.optimizers.adatask import AdaTaskAdam",
    ]
    command = [sys.executable, "-c", "\n".join([*lifted, *lines])]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_lifted_methods_step_as_they_do_here(elsewhere: Path) -> None:
    done = run_there(elsewhere, inspect.getsource(step), "print(step(PCGrad, CAGrad, AdaTaskAdam))")
    assert done.stdout.strip() == str(step(PCGrad, CAGrad, AdaTaskAdam)), done.stderr


LEFT_BEHIND = {
    "PCGrad().backward({'a': w.sum()}, [w], scaler=torch.amp.GradScaler('cpu'))": "lifted.engine.scaling",
    "PCGrad().backward({'a': w.sum()}, [w], representation=2 * w)": "lifted.engine.representation",
    "PCGrad().backward(dict.fromkeys('abcd', w.sum()), [w])": "lifted.engine.batched",
    "PCGrad().state_dict()": "lifted.engine.state",
    "AdaTaskAdam([('w', w)], granularity='layer')": "lifted.optimizers.ladatask",
}


def test_what_was_left_behind_is_named_when_it_is_needed(elsewhere: Path) -> None:
    tried = [f"try:\n    {use}\nexcept ModuleNotFoundError as error:\n    print(error)" for use in LEFT_BEHIND]
    done = run_there(elsewhere, "w = torch.ones(2, requires_grad=True)", *tried)
    assert done.stdout.splitlines() == [f"No module named '{part}'" for part in LEFT_BEHIND.values()], done.stderr
