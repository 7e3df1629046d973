"""Processes beside a training: what they say, and how they learn of its end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dominance.record.own_process import OwnProcess

MODULE = """
import sys
print("ready", flush=True)
sys.stdin.read()
print("dominance: over")
print()
print("done")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "beside_it.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "beside_it"


def test_it_says_lines_and_ends_with_its_stdin(module: str) -> None:
    apart = OwnProcess(module, [])
    assert apart.line(60) == "ready"
    assert apart.line(0.2) is None
    assert apart.rest(0.2) is None
    apart.end()
    apart.end()
    assert apart.rest(60) == ["over", "done"]


def test_it_hears_of_the_end_though_a_worker_that_was_forked_lives_on(module: str) -> None:
    apart = OwnProcess(module, [])
    assert apart.line(60) == "ready"
    worker = os.fork()
    if worker == 0:
        time.sleep(30)
        os._exit(0)
    try:
        apart.end()
        assert apart.rest(20) == ["over", "done"]
    finally:
        os.kill(worker, 9)
        os.waitpid(worker, 0)


def test_one_that_cannot_be_started_says_so_in_its_line() -> None:
    apart = OwnProcess("no_such_module_anywhere", [])
    said = apart.line(60)
    assert said is not None
    assert "No module named no_such_module_anywhere" in said
    assert apart.line(60) == ""
