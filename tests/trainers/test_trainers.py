"""Trainers that are small, or plain torch, under record: judged by gradients taken by hand. The rest: run.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import run
from forks import Forks

SMALL = ("actor_critic", "gan", "pinn", "poutyne", "skorch", "rechub", "torchjd")
WRONG: tuple[str, ...] = ()
"""Programs that do not come out as they should yet: see docs/trainers.md."""

PROGRAMS = {program.command: program for program in run.PROGRAMS if program.command.startswith(SMALL)}


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_trainer_is_recorded_as_a_person_would_by_hand(command: str, forks: Forks, tmp_path: Path) -> None:
    program = PROGRAMS[command]
    if not program.installed:
        pytest.skip(f"{program.package} is not installed")
    wrong = run.outcome(program, tmp_path, forks.python).wrong
    if command.startswith(WRONG):
        if wrong:
            pytest.xfail("; ".join(wrong))
        pytest.fail("comes out right: take it from WRONG, and docs/trainers.md")
    assert wrong == []
