"""The numbers that advice says are those of the table in the documentation; what it advises helped there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dominance.analyse.verdict.evidence import TRIED

DOCS = (Path(__file__).parents[3] / "docs" / "try.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.splitlines() if line.startswith("| ")]
HEAD = next(row for row in ROWS if row[0] == "remedy")
TABLE = {row[0]: dict(zip(HEAD[1:], row[1:], strict=True)) for row in ROWS if len(row) == len(HEAD)}
COLUMNS = {"frequency": "masked", "seldom": "rare"}
REMEDIES = {"weights": "loss weight", "copy": "a copy of the layers"}


@pytest.mark.parametrize("cause", TRIED)
def test_they_are_those_of_the_table(cause: str) -> None:
    for method, tried in TRIED[cause].items():
        cell = TABLE[REMEDIES.get(method, method)][COLUMNS.get(cause, cause)]
        found = re.match(r"([+-]\d\.\d\d) \((\d) of (\d)\);", cell)
        assert found is not None
        assert (f"{tried.change:+.2f}", str(tried.rose), str(tried.of)) == found.groups()


@pytest.mark.parametrize("cause", ["scale", "weight", "noise", "frequency"])
def test_what_is_advised_by_a_command_helped_in_every_training(cause: str) -> None:
    assert all(tried.rose == tried.of and tried.change > 0 for tried in TRIED[cause].values())
