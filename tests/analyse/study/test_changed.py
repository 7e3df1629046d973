"""What a comparison says, of lines written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dominance.analyse.study.changed import Change, Line, Side


def owned(task: str, before: float, after: float, beyond: bool | None) -> Line:
    return Line("owned", "all shared", task, "", "", Side(before), Side(after), beyond_noise=beyond)


def found(owners: tuple[str, str], *lines: Line) -> Change:
    return Change((("x",), ("y",)), lines, owners, ((), ()), {}, (), 10.0)


def test_better_needs_a_direction_and_more_than_noise() -> None:
    sides: dict[str, Any] = {"before": Side(1.0), "after": Side(2.0)}
    known = Line("score", "", "a", "", "auc", **sides, beyond_noise=True, higher_is_better=True)
    assert known.better
    assert Line("loss", "", "a", "", "", **sides, beyond_noise=True, higher_is_better=False).better is False
    assert Line("score", "", "a", "", "auc", **sides, beyond_noise=True).better is None
    assert Line("score", "", "a", "", "auc", **sides, higher_is_better=True).better is None


@pytest.mark.parametrize(
    ("owners", "of_a", "of_b", "changed"),
    [
        (("a", "a"), True, True, False),
        (("a", "b"), True, None, True),
        (("a", "b"), False, False, False),
        (("a", "b"), False, None, None),
        (("a", "nobody"), True, None, True),
        (("nobody", "b"), True, False, False),
        (("nobody", "c"), True, True, None),
    ],
)
def test_another_owner_is_one_by_more_than_noise(
    owners: tuple[str, str], of_a: bool | None, of_b: bool | None, changed: bool | None
) -> None:
    """c is a task of which no line is known."""
    assert found(owners, owned("a", 0.9, 0.4, of_a), owned("b", 0.1, 0.6, of_b)).owner_changed is changed


def test_plain_values_of_a_line() -> None:
    line = Line("gcd", "all shared", "a", "b", "", Side(0.5, 0.1, 4), Side(0.75, 0.2), 0.03, True)
    assert line.change == 0.25
    assert {key: value for key, value in line.to_dict().items() if key not in ("before", "after")} == {
        "quantity": "gcd", "layer": "all shared", "task": "a", "task_other": "b", "metric": "", "change": 0.25,
        "p": 0.03, "beyond_noise": True, "higher_is_better": None, "better": None,
    }  # fmt: skip
    assert line.to_dict()["after"] == {"mean": 0.75, "se": 0.2}
    assert math.isnan(owned("a", 0, 1, None).to_dict()["before"]["se"])


def test_only_what_is_beyond_noise_is_listed() -> None:
    lines = [owned("a", 0.9, 0.4, True), owned("b", 0.1, 0.6, None), owned("c", 0.0, 0.0, False)]
    assert found(("a", "b"), *lines).beyond_noise == lines[:1]
