"""Which steps are recorded: runs of millions of steps, simulated."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from dominance.record.write.schedule import Schedule, warm_up_for


def recorded(schedule: Schedule, steps: int, each: Callable[[int], None] = lambda step: None) -> list[int]:
    found = []
    for step in range(steps):
        if schedule.records(step):
            found.append(step)
            each(step)
    return found


@pytest.mark.parametrize(
    ("every", "burst", "want"),
    [
        (1, 1, list(range(12))),
        (1, 5, list(range(12))),
        (4, 1, [0, 4, 8]),
        (3, 2, [0, 1, 6, 7]),
        (2, 3, [0, 1, 2, 6, 7, 8]),
    ],
)
def test_bursts(every: int, burst: int, want: list[int]) -> None:
    assert recorded(Schedule(every, burst), 12) == want


@pytest.mark.parametrize(("every", "burst"), [(1, 1), (10, 1), (1, 20), (10, 20), (7, 3)])
def test_a_budget_holds_for_millions_of_steps(every: int, burst: int) -> None:
    """Constant bytes for each recorded step, 2000 of which fit."""
    schedule, budget, each = Schedule(every, burst), 2_000_000, 1000
    used = 0
    stretched = []

    def record(step: int) -> None:
        nonlocal used
        used += each
        if schedule.spend(used / budget, step):
            stretched.append(step)

    steps = 500_000 * every if every < 5 else 1_000_000
    found = recorded(schedule, steps, record)
    # The last burst is the only one that may go over; the writer refuses those rows.
    assert used <= budget + burst * each
    first_half = 1000 * every
    assert stretched[0] == pytest.approx(first_half, abs=every * burst)
    # Each half of what is left lasts twice as long as the one before.
    lasted = np.diff([0, *stretched])[:5]
    np.testing.assert_allclose(lasted[1:] / lasted[:-1], 2, atol=0.5)
    decades = [sum(start <= step < 10 * start for step in found) for start in (10**3, 10**4, 10**5)]
    assert min(decades) >= burst, decades
    runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    if every > 1:
        assert {len(run) for run in runs[:-1]} == {burst}, "a burst that is under way is finished"


def test_a_jump_in_the_bytes_used_is_taken_at_once() -> None:
    """Files grow a block at a time: 0 bytes for long, then 80 % of the budget."""
    schedule = Schedule(every=10, burst=2)
    assert not schedule.spend(0.5, 21)
    assert schedule.spend(0.8, 40)
    assert schedule.stretch == 16, "beyond 1/2 and 3/4 of the budget"
    assert [step for step in range(41, 800) if schedule.records(step)] == [41, 360, 361, 680, 681]
    assert not schedule.spend(0.8, 41)


def test_stretched_where_every_step_was_recorded() -> None:
    schedule = Schedule(every=1, burst=1)
    assert schedule.spend(0.501, 9)
    assert [step for step in range(10, 20) if schedule.records(step)] == [13, 17]


@pytest.mark.parametrize("length", [100, 132, 400, 1000, 3000, 20_000])
@pytest.mark.parametrize("burst", [1, 20])
def test_steps_of_all_parts_of_a_training_of_any_length(length: int, burst: int) -> None:
    found = np.array(recorded(Schedule(10, burst, dense_at_first=True), length))
    assert np.diff([*found, length]).max() <= length / 3 + burst, "no more than a third of it goes unseen"
    assert 0.1 * length <= len(found) <= max(0.1 * length + 7.5 * burst * np.log2(length / burst), 3 * burst)
    # Of each burst but the first, ten steps are moved by momenta of before.
    bursts = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    lost = sum(min(10, len(each)) for each in bursts[1:])
    assert burst == 1 or length < 10_000 or lost <= 0.15 * len(found)


@pytest.mark.parametrize("burst", [1, 20])
def test_without_being_asked_how_often_a_long_training_is_recorded_more_rarely(burst: int) -> None:
    schedule = Schedule(None, burst, dense_at_first=True)
    schedule.warm_up = 12 if burst > 1 else 0
    found = np.array(recorded(schedule, 1_000_000))
    for length in (10_000, 100_000, 1_000_000):
        assert np.searchsorted(found, length) == pytest.approx(5 * length**0.5, rel=0.15)
    starts = found[np.flatnonzero(np.diff(found, prepend=-2) > 1)]
    bursts = [int(np.searchsorted(starts, length)) for length in (1_000, 10_000, 100_000)]
    assert bursts[0] >= 7
    assert all(more > 2 * fewer for fewer, more in itertools.pairwise(bursts)), "longer runs have more of them"
    assert np.diff(starts)[10:].max() < 0.03 * 1_000_000


def test_short_trainings_are_recorded_as_if_one_in_ten_was_asked_for() -> None:
    assert recorded(Schedule(None, 20, dense_at_first=True), 400) == recorded(
        Schedule(10, 20, dense_at_first=True), 400
    )


@pytest.mark.parametrize("dense", [True, False])
def test_a_budget_stretches_what_thins_by_itself(dense: bool) -> None:
    schedule, plain = (Schedule(None, 5, dense_at_first=dense) for _ in range(2))
    assert schedule.spend(0.6, 20_000)
    after = [sum(step >= 20_000 for step in recorded(each, 200_000)) for each in (schedule, plain)]
    assert after[0] == pytest.approx(after[1] / 4, rel=0.2)


def test_a_recording_that_goes_on_late_is_not_dense_again() -> None:
    schedule = Schedule(10, 20, start=50_000, dense_at_first=True)
    assert [step for step in range(50_000, 51_050) if schedule.records(step)] == [
        *range(50_000, 50_100),
        *range(51_000, 51_050),
    ]


@pytest.mark.parametrize("every", [None, 10, 12, 30])
@pytest.mark.parametrize("period", [2, 3, 4, 5, 6, 10])
def test_a_training_that_goes_from_task_to_task_is_not_met_at_the_same_one(every: int | None, period: int) -> None:
    """As one that alternates data sets, or a generator and its critic."""
    found = np.array(recorded(Schedule(every, 1, dense_at_first=True), 6000))
    met = np.bincount(found % period, minlength=period)
    assert met.sum() == pytest.approx(330 if every is None else 6000 / every, rel=0.05)
    assert met.min() >= 0.6 * met.mean()


def test_a_budget_stretches_what_is_dense_at_first() -> None:
    schedule = Schedule(1, 20, dense_at_first=True)
    assert schedule.spend(0.6, 999)
    assert sum(map(schedule.records, range(1000, 3000))) == pytest.approx(500, abs=100)


def test_a_burst_that_is_set_when_the_first_optimizer_is_seen() -> None:
    schedule = Schedule(every=10, burst=1)
    assert schedule.records(0)
    schedule.burst = 20
    assert [step for step in range(500) if schedule.records(step)] == [*range(20), *range(200, 220), *range(400, 420)]


def test_no_number_of_steps_prepares_for_a_momentum_that_stays() -> None:
    assert warm_up_for(1.0) == 0


def test_single_steps_stay_single() -> None:
    assert (np.diff(recorded(Schedule(10, 1, dense_at_first=True), 20_000)) > 1).all()


def test_bursts_of_what_thins_are_as_long_as_what_prepares_them() -> None:
    schedule, preparing = Schedule(None, 5, dense_at_first=True), []
    schedule.warm_up = 12
    found = recorded(schedule, 3000, lambda step: preparing.append(schedule.prepares(step)))
    bursts = np.split(preparing, np.flatnonzero(np.diff(found) > 1) + 1)
    assert bursts[0].tolist() == [False] * 12
    assert len(bursts) > 5
    assert all(each.tolist() == [True] * 12 + [False] * 12 for each in bursts[1:-1])


def test_a_burst_that_was_not_prepared_for_long_enough_is_prepared_for_up_to_twice_as_long() -> None:
    schedule = Schedule(10, 20, dense_at_first=True)
    schedule.warm_up = 4
    begins = next(step for step in range(400) if schedule.records(step) and step > 20)
    assert not schedule.prepare_longer(begins + 3)
    longer = [schedule.prepare_longer(begins + 4 + more) for more in range(5)]
    assert longer == [True] * 4 + [False]
    assert [schedule.prepares(begins + into) for into in (-1, 0, 7, 8)] == [False, True, True, False]
    assert schedule.warm_up == 8


def test_a_burst_is_put_off_until_it_can_be_afforded() -> None:
    now, asked = 0, []

    def affords(prepared: int, kept: int) -> bool:
        asked.append((prepared, kept))
        return not 4 <= now < 7

    schedule, found = Schedule(every=4, burst=1, affords=affords), []
    for now in range(20):
        if schedule.records(now):
            found.append(now)
    assert found == [0, 7, 11, 15, 19]
    assert set(asked) == {(0, 1)}


def test_a_burst_ends_before_the_step_that_is_too_dear_and_the_pause_is_as_much_shorter() -> None:
    now = 0

    def affords(prepared: int, kept: int) -> bool:
        return not (kept == 1 and 2 <= now < 10)

    schedule, found = Schedule(every=3, burst=4, affords=affords), []
    for now in range(24):
        if schedule.records(now):
            found.append(now)
    assert found == [0, 1, 6, 9, 10, 11, 12, 21, 22, 23]
