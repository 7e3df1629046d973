"""A script that stands beside files named like modules that the command line loads before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dominance.store.reader import open_run

TRAIN = """
import shlex, difflib, tomllib.inner, os
import torch
print(shlex.VALUE, difflib.VALUE, tomllib.inner.VALUE, os.sep, flush=True)
trunk, a, b = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=0.1)
for _ in range(3):
    z = trunk(torch.ones(2, 3))
    loss_a, loss_b = a(z).square().mean(), (b(z) - 1).square().mean()
    optimizer.zero_grad()
    (loss_a + loss_b).backward()
    optimizer.step()
import shlex as again
print(again.VALUE)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    for name in ("shlex.py", "difflib.py", "os.py", "tomllib/__init__.py", "tomllib/inner.py"):
        file = tmp_path / "scripts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"VALUE = {name!r}\n")
    (tmp_path / "scripts" / "train.py").write_text(TRAIN)
    return tmp_path / "scripts" / "train.py"


def ran(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    done = [sys.executable, *words]
    return subprocess.run(done, cwd=folder, capture_output=True, text=True, check=False, timeout=200)


def test_the_folder_of_the_script_decides(script: Path, tmp_path: Path) -> None:
    plain = ran(str(script), folder=tmp_path)
    ours = ran("-m", "dominance", "record", "--every", "1", "-o", "run", str(script), folder=tmp_path)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert ours.stdout.startswith("shlex.py difflib.py tomllib/inner.py /")
    assert open_run(tmp_path / "run")["step"].values.tolist() == [0, 1, 2]


def test_a_module_looks_into_the_working_folder(script: Path, tmp_path: Path) -> None:
    # As the installed command is: it does not lie in the working folder, of which `python -m dominance` would be.
    (tmp_path / "command.py").write_text("from dominance_cli.main import main\nmain()\n")
    plain = ran("-m", "train", folder=script.parent)
    ours = ran(str(tmp_path / "command.py"), "record", "-q", "-m", "train", folder=script.parent)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)


def test_the_working_folder_is_gone(tmp_path: Path, script: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    program = "import os, sys; from dominance_cli.main import main; os.rmdir(os.getcwd()); main(sys.argv[1:])"
    done = ran("-c", program, "record", str(script), folder=folder)
    assert done.returncode == 2
    assert done.stderr == "dominance: error: the working folder is gone; change into one that is there\n"
