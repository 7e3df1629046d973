from __future__ import annotations

from pathlib import Path

import pytest

from faults.judge import judge
from faults.metadata import run
from faults.mutations import base


def test_damaged_metadata_are_read_or_refused_in_one_line() -> None:
    assert run(range(40)) == {}


@pytest.mark.slow
def test_more_damaged_metadata() -> None:
    assert run(range(40, 600)) == {}


def test_the_run_that_is_damaged_is_whole(tmp_path: Path) -> None:
    found = judge(base(tmp_path / "run"))
    assert {command: (each.code, each.wrong) for command, each in found.items() if each.code or each.wrong} == {}
