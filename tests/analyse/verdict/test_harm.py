"""Whom nothing harms, nothing is advised for."""

from __future__ import annotations

import pytest

from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.harm import spared


@pytest.mark.parametrize(
    ("kind", "tasks", "well", "at_risk"),
    [
        ("dominance", ("a",), ("b", "c"), "b and c are"),
        ("dominance", ("a",), ("a", "b"), ""),
        ("unheard", ("b",), ("b",), "b is"),
        ("unheard", ("b",), ("a",), ""),
        ("conflict", ("a", "b"), ("a", "b"), "a and b are"),
        ("conflict", ("a", "b"), ("a",), ""),
        ("unattributed", ("a",), ("a", "b", "c"), ""),
    ],
)
def test_where_those_at_risk_are_as_well_off_as_alone_nothing_is_to_be_done(
    kind: str, tasks: tuple[str, ...], well: tuple[str, ...], at_risk: str
) -> None:
    finding = Finding(kind, "text", tasks=tasks, advice=("try this",), patch="one", method_patch="other")
    compared = [Finding("no harm", "fine", tasks=well), Finding("harm", "not", tasks=("z",))]
    found = spared(finding, ["a", "b", "c"], compared)
    if not at_risk:
        assert found == finding
        return
    assert found.advice == (f"Nothing: {at_risk} about as well off as alone, or better.",)
    assert (found.patch, found.method_patch) == ("", "")
