"""What ``import dominance`` gives: names, rooms, and errors that Python's own handlers know."""

from __future__ import annotations

import importlib

import pytest

import dominance
from dominance.config import record_options
from dominance.errors import BadOption, DominanceError, NotARun


def test_dir_lists_the_names_and_the_rooms() -> None:
    listed = dir(dominance)
    assert {"Recorder", "open_run", "optim", "benchmarks", "probes"} <= set(listed)
    assert all(getattr(dominance, name) is not None for name in listed)
    assert dominance.optim is importlib.import_module("dominance.optim")


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dominance.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [BadOption, NotARun])
def test_wrong_values_are_value_errors_too(kind: type[DominanceError]) -> None:
    assert issubclass(kind, ValueError)
    assert str(kind("what", fix="how")) == "what; how"


def test_what_an_error_says_is_kept_where_value_errors_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINANCE_BUDGET", "much")
    with pytest.raises(BadOption, match="budget 'much' is no size"):
        record_options()
