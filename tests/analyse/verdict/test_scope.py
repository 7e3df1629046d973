"""What the start of a training shows is likely at most, and says what it is of."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from runs import make_run

from dominance import verdict
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.rules import LIKELY
from dominance.analyse.verdict.scope import of_the_start


def owned(steps: list[int], taken: int | None) -> xr.DataTree:
    """Task a owns all there is, at these steps of so many."""
    updates = np.random.default_rng(0).standard_normal((len(steps), 2, 50))
    updates[:, 0] *= 30
    return make_run(updates, steps=steps, attrs={} if taken is None else {"steps_taken": taken})


@pytest.mark.parametrize(
    ("steps", "taken", "only"),
    [
        (list(range(20)), 132, "the first 20 of 132 steps"),
        (list(range(20)), 21, "the first 20 of 21 steps"),
        (list(range(20)), 20, ""),
        (list(range(20)), None, ""),  # not known
        (list(range(60)), 1000, "the first 60 of 1,000 steps"),
        (list(range(60)), 121, "the first 60 of 121 steps"),
        (list(range(60)), 119, ""),
        (list(range(0, 200, 10)), 200, ""),  # twenty, of all the training
    ],
)
def test_the_start_alone_is_never_sure(steps: list[int], taken: int | None, only: str) -> None:
    (owner,) = verdict(owned(steps, taken)).of("dominance")
    said = dict(owner.lines())["How sure"]
    if not only:
        assert (owner.certainty, owner.only) == ("sure", "")
        assert said == "sure (probability over 0.99)"
        return
    assert (owner.certainty, owner.probability) == ("likely", LIKELY)
    assert owner.only == f"only {only} were looked at (`--every 1` records all)"
    assert said == f"likely (probability 0.90), since {owner.only}"
    assert owner.to_dict()["only"] == owner.only
    assert owner.advice


@pytest.mark.parametrize(
    ("kind", "probability", "left"),
    [
        ("dominance", 0.7, 0.7),
        ("dominance", 0.95, LIKELY),
        ("conflict", 0.999, LIKELY),
        ("noisy", 0.999, LIKELY),
        ("too short", 0.99, 0.99),  # of the run itself
        ("harm", 0.999, 0.999),  # of metrics and losses
    ],
)
def test_what_else_it_is_of(kind: str, probability: float, left: float) -> None:
    found = of_the_start(Finding(kind, "something", probability=probability), "only the start")
    assert (found.probability, found.only) == (left, "only the start" if left == LIKELY else "")
