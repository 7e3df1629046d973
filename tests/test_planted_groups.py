"""What was planted in groups of examples is named, in a training of each kind; tests/planted_groups.py tries many."""

from __future__ import annotations

from dataclasses import replace

import planted_groups
import pytest
import torch

SHORT = {"texts, prose rare": {"epochs": 2}, "texts, code noisy": {"epochs": 2}, "digits, even": {"epochs": 8}}
TRIED = (*SHORT, "digits, 50 to 1", "policy", "policy, speed loud", "policy, speed noisy", "policy, opposed")


@pytest.mark.parametrize("name", TRIED)
def test_the_verdict_says_what_was_planted(name: str) -> None:
    pytest.importorskip("sklearn")
    torch.set_num_threads(1)
    case = planted_groups.CASES[name]
    case = replace(case, options={**case.options, **SHORT.get(name, {})})
    found = planted_groups.verdict_of(case, 0)
    assert case.is_right(found), found


def test_a_wrong_verdict_is_seen_to_be_wrong() -> None:
    """What is said of one policy is not what was planted in another."""
    torch.set_num_threads(1)
    loud = planted_groups.verdict_of(planted_groups.CASES["policy, speed loud"], 0)
    assert not planted_groups.CASES["policy, speed noisy"].is_right(loud)
    assert not planted_groups.CASES["policy, opposed"].is_right(loud)
    assert not planted_groups.CASES["policy"].is_right(loud)
