from __future__ import annotations

from pathlib import Path

import pytest
from forks import Forks

from faults.polls import polls
from faults.races import races
from faults.trainings import KINDS, trial

QUICK = ("kill -9", "run deleted", "files stay small", "NaN", "no descriptors", "modules forgotten")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
        for kind, what in KINDS.items()
        if not what.disk
    ],
)
def test_a_fault_leaves_the_training_alone(kind: str, forks: Forks, tmp_path: Path) -> None:
    assert trial(forks, kind, 0, tmp_path).wrong == ""


def test_a_reader_sees_whole_rows(forks: Forks, tmp_path: Path) -> None:
    found = polls(forks, tmp_path, 20)
    assert found.wrong == []
    assert found.steps > 0


def test_a_race_has_one_winner(forks: Forks, tmp_path: Path) -> None:
    assert races(forks, tmp_path, 2) == []
