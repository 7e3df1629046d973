"""The time that recording takes, held: trainings of known costs, by a clock of their own."""

from __future__ import annotations

import random

import pytest

from dominance.record.write.overhead import Overhead
from dominance.record.write.schedule import Schedule


class Training:
    """Steps that cost so many seconds, and so many more where they are recorded or prepare a burst."""

    def __init__(
        self,
        share: float | None,
        *,
        step: float,
        recorded: float,
        prepared: float = 0.0,
        between: float = 0.0,
        noise: float = 0.0,
        pauses: float = 0.0,
        waits: float = 0.0,
    ) -> None:
        self.now = self.ours = self.waited = 0.0
        self.number = self.rows = 0
        self.costs = (step, recorded, prepared, between, noise, pauses, waits)
        self.random = random.Random(0)
        self.overhead = Overhead(share, lambda: self.ours + self.waited, clock=lambda: self.now)
        self.overhead.on_device = waits > 0
        self.schedule = Schedule(1, 20, dense_at_first=True, affords=self.overhead.affords)
        self.schedule.warm_up = 12

    def run(self, seconds: float) -> float:
        """What it takes more than without recording, as a share."""
        step, recorded, prepared, between, noise, pauses, waits = self.costs
        while self.now < seconds:
            looked, prepares = self.schedule.records(self.number), self.schedule.prepares(self.number)
            ours = between if not looked else prepared if prepares else recorded
            self.rows += looked and not prepares
            self.ours += ours
            self.waited += waits * looked
            self.now += step * self.random.uniform(1 - noise, 1 + noise) + ours
            if self.number % 50 == 0:
                self.now += pauses  # an evaluation, say
            self.overhead.step_over(recorded=looked, prepared=prepares)
            self.number += 1
        return self.ours / (self.now - self.ours)


KINDS = {
    "tiny": {"step": 0.002, "recorded": 0.02, "prepared": 0.012, "between": 0.00004},
    "large": {"step": 0.2, "recorded": 0.4, "prepared": 0.3},
    "irregular": {"step": 0.05, "recorded": 0.1, "prepared": 0.06, "noise": 0.9, "pauses": 4.0},
    "device": {"step": 0.05, "recorded": 0.1, "prepared": 0.06, "waits": 0.05},
}


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_share_is_held(kind: str, share: float) -> None:
    training = Training(share, **KINDS[kind])
    held = training.run(300 if kind == "tiny" else 4000)
    assert held == pytest.approx(share, abs=0.01)
    assert training.overhead.facts()["share"] == pytest.approx(held, abs=0.005)
    assert training.rows >= 20


def test_a_minute_costs_no_more_than_it_may() -> None:
    for kind in KINDS.values():
        training = Training(0.05, **kind)
        held = training.run(63)
        assert 0.01 < held < 0.053
        assert training.rows > 1


def test_a_short_run_may_take_what_a_minute_may() -> None:
    training = Training(0.05, **KINDS["tiny"])
    assert training.run(3) > 0.3
    assert training.ours < 0.05 * 60


def test_without_a_share_it_is_measured_only() -> None:
    training = Training(None, **KINDS["tiny"])
    held = training.run(20)
    assert held > 4
    facts = training.overhead.facts()
    assert facts["seconds"] == pytest.approx(training.ours, abs=0.2)
    assert "asked" not in facts


def test_it_is_said_where_a_share_is_not_held_and_why() -> None:
    busy = Training(0.05, step=0.001, recorded=0.003, between=0.0003)
    busy.run(90)
    said = busy.overhead.exceeded()
    assert said is not None
    assert said.endswith("5% were asked for: what is done around each step takes 30%, however rarely one is recorded")
    short = Training(0.05, step=0.01, recorded=0.1)
    short.run(5)
    said = short.overhead.exceeded()
    assert said is not None
    assert said.endswith("5% were asked for: a run of less than a minute may take what one of a minute may")


@pytest.mark.parametrize("share", [0.05, None])
def test_nothing_is_said_where_it_is_held_or_none_was_asked(share: float | None) -> None:
    training = Training(share, step=0.01, recorded=0.1)
    training.run(100)
    assert training.overhead.exceeded() is None
