"""A method taken into another project: which files go along, and that they work there."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_house import ROOT, imports

import dominance.optim
from dominance.optim import AdaTaskAdam, PCGrad

FEW = 4
MORE = {"dominance.optim.optimizers.pub": 7}
"""PUB: its bound is Clippy's, which falls back on the plain sum, and it has the paper's own solver beside ours."""
ENGINE = "dominance.optim.engine."


def step(pcgrad: Any, adatask: Any) -> list[Any]:
    torch.manual_seed(0)
    trunk = torch.nn.Linear(3, 2)
    optimizer = adatask(trunk.parameters(), lr=0.1)
    for x in torch.randn(3, 4, 3):
        out = trunk(x)
        optimizer.zero_grad()
        optimizer.backward({"a": out[:, 0].sum(), "b": (out[:, 1] - 3 * out[:, 0]).square().sum()}, pcgrad())
        optimizer.step()
    return [p.tolist() for p in trunk.parameters()]


def home(name: str) -> str:
    return str(getattr(dominance.optim, name).__module__)


def path_of(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")


def taken_along(*modules: str) -> set[str]:
    """These, and every file of the package that they need, directly or through others."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and path_of(module).is_file():
            found.add(module)
            waiting += [name for name, _ in imports(ast.parse(path_of(module).read_text("utf-8")), module)]
    return found


METHODS = sorted({home(name) for name in dominance.optim.__all__ if ".engine." not in home(name)})


@pytest.mark.parametrize("module", METHODS)
def test_a_method_is_a_few_files_on_the_engine(module: str) -> None:
    beside = [other for other in taken_along(module) if not other.startswith(ENGINE)]
    assert len(beside) <= MORE.get(module, FEW), beside


def test_the_engine_needs_nothing_else() -> None:
    engine = [f"{ENGINE}{path.stem}" for path in (ROOT / "dominance" / "optim" / "engine").glob("*.py")]
    assert taken_along(*engine) == set(engine)


def test_lifted_methods_step_as_they_do_here(tmp_path: Path) -> None:
    for module in taken_along(home("AdaTaskAdam"), home("PCGrad")):
        there = tmp_path / path_of(module.replace("dominance.optim", "lifted")).relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(path_of(module).read_text("utf-8").replace("dominance.optim", "lifted"), "utf-8")
    lines = [
        'import sys; sys.modules["dominance"] = None',
        "import torch; from typing import Any",
        "from lifted.combiners.pcgrad import PCGrad",
        "from lifted.optimizers.adatask_adam import AdaTaskAdam",
        inspect.getsource(step),
        "print(step(PCGrad, AdaTaskAdam))",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(step(PCGrad, AdaTaskAdam)), done.stderr
