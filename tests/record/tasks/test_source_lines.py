"""Source lines are kept without the script noticing: anomaly mode is, for it, as it has set it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._C import is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled

from dominance.record.tasks.source_lines import SourceLines

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    yield
    set_anomaly_enabled(False, True)


def in_force() -> tuple[bool, bool]:
    return is_anomaly_enabled(), is_anomaly_check_nan_enabled()


def seen() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def has_line() -> bool:
    node: Any = (torch.ones(1, requires_grad=True) * 2).grad_fn
    return "traceback_" in node.metadata


def test_lines_are_kept_and_the_script_does_not_see_it() -> None:
    lines = SourceLines()
    lines.on()
    assert has_line()
    assert seen() == (False, True)
    assert in_force() == (True, False), "not checked for NaN"
    lines.off()
    assert not has_line()
    assert in_force() == seen() == (False, True)


def test_lines_are_kept_after_somebody_switches_the_mode_off() -> None:
    lines = SourceLines()
    lines.on()
    torch.autograd.set_detect_anomaly(False)
    assert has_line()
    lines.off()
    assert in_force() == (False, True)


@pytest.mark.parametrize("check_nan", [True, False])
def test_the_scripts_own_mode_is_in_force_in_its_passes(check_nan: bool) -> None:
    lines = SourceLines()
    lines.on()
    torch.autograd.set_detect_anomaly(True, check_nan=check_nan)
    assert seen() == (True, check_nan)
    for _ in range(2):
        lines.off()  # as before each backward()
        assert in_force() == seen() == (True, check_nan)
        lines.on()
    lines.end()
    assert in_force() == seen() == (True, check_nan)


def test_a_mode_set_before_the_lines_are_wanted() -> None:
    torch.autograd.set_detect_anomaly(True)
    lines = SourceLines()
    lines.on()
    assert seen() == (True, True)
    torch.autograd.set_detect_anomaly(False)
    lines.off()
    assert in_force() == (False, True)


def test_blocks_that_the_script_enters_and_leaves() -> None:
    lines = SourceLines()
    lines.on()
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        assert seen() == (True, False)
        lines.off()
        assert in_force() == (True, False)
        lines.on()
    assert seen() == (False, True)
    lines.off()
    assert in_force() == (False, True)
    with torch.autograd.set_detect_anomaly(True):
        lines.on()
        assert seen() == (True, True)
    assert has_line()
    lines.off()
    assert in_force() == (False, True)


def test_what_is_set_below_python_counts_as_the_scripts() -> None:
    lines = SourceLines()
    lines.on()
    set_anomaly_enabled(False, False)
    lines.off()
    assert in_force() == (False, False)


def test_nothing_of_torch_stays_changed() -> None:
    names = ("is_anomaly_enabled", "is_anomaly_check_nan_enabled", "set_anomaly_enabled")
    before = [getattr(torch, name) for name in names]
    one, two = SourceLines(), SourceLines()
    one.on()
    two.on()
    one.off()
    assert has_line()
    two.end()
    two.on()
    assert not has_line()
    assert [getattr(torch, name) for name in names] == before
