"""The numbers that advice says are those of the table in the documentation; what it advises helped there."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from dominance.analyse.verdict.evidence import TRIED

DOCS = (Path(__file__).parents[3] / "docs" / "try.md").read_text("utf-8")
OPTIMIZERS = {"remedy": "adam", "remedy, by SGD": "momentum"}


def table(first: str) -> dict[str, dict[str, str]]:
    """The table whose head begins so: row -> column -> cell."""
    lines = DOCS.splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in takewhile(str.strip, lines[at:]))
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


TABLES = {optimizer: table(first) for first, optimizer in OPTIMIZERS.items()}
COLUMNS = {"frequency": "masked", "seldom": "rare"}
REMEDIES = {"weights": "loss weight", "copy": "a copy of the layers", "often": "in one step of 4"}


@pytest.mark.parametrize(("optimizer", "cause"), [(name, cause) for name, causes in TRIED.items() for cause in causes])
def test_they_are_those_of_the_table(optimizer: str, cause: str) -> None:
    for method, tried in TRIED[optimizer][cause].items():
        cell = TABLES[optimizer][REMEDIES.get(method, method)][COLUMNS.get(cause, cause)]
        found = re.match(r"([+-]\d\.\d\d) \((\d) of (\d)\);", cell)
        assert found is not None
        assert (f"{tried.change:+.2f}", str(tried.rose), str(tried.of)) == found.groups()


@pytest.mark.parametrize("cause", ["scale", "weight", "noise", "frequency"])
def test_what_is_advised_by_a_command_helped_in_every_training(cause: str) -> None:
    assert all(tried.rose == tried.of and tried.change > 0 for tried in TRIED["adam"][cause].values())
