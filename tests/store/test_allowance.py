from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_rows import attributes_of, du, make_layout, make_row, noise_row

from dominance.errors import BadOption
from dominance.record.write.schedule import Schedule
from dominance.store.allowance import Allowance
from dominance.store.verify import verify
from dominance.store.writer import RunWriter


@pytest.mark.parametrize(("budget", "flush_every"), [(600_000, 1), (900_000, 7), (2_500_000, 30), (2_500_000, 1000)])
def test_a_budget_is_never_exceeded_even_by_noise(tmp_path: Path, budget: int, flush_every: int) -> None:
    layout = make_layout(coords=800)
    rng = np.random.default_rng(0)
    most = 0
    writer = RunWriter(tmp_path / "run", layout, exact=True, budget=budget)
    real_replace = os.replace

    def watch(source: Any, target: Any) -> None:
        nonlocal most
        most = max(most, du(tmp_path / "run"))  # the old file and the new one are both there
        real_replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watch)
        taken = 0
        for step in range(130):
            taken += writer.append(noise_row(layout, rng) | {"step": step})
            if step % flush_every == 0:
                writer.flush()
        writer.append_event({"step": 0, "name": "m", "value": 1.0})
        writer.close()
    assert most <= budget
    assert du(tmp_path / "run") == writer.bytes_written <= budget
    assert writer.refused == 130 - taken
    found = attributes_of(tmp_path / "run")
    assert found["committed_steps"] == taken
    assert found["refused_steps"] == writer.refused
    assert found["budget"] == budget
    row = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in layout.arrays())
    assert taken > 0
    if budget == 2_500_000:
        assert taken * row > 0.6 * budget  # and it is used
    assert verify(tmp_path / "run") == []


def test_a_budget_that_holds_no_step_is_told_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="holds no step of this run, whose first may take") as caught:
        RunWriter(tmp_path / "run", make_layout(), budget=10_000)
    assert not (tmp_path / "run").exists()
    least = int(caught.value.fix.split()[3])
    with RunWriter(tmp_path / "run", make_layout(), budget=least) as writer:
        assert writer.append(make_row(make_layout(), 0))


def test_attributes_do_not_break_the_budget(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout(), budget=600_000) as writer:
        while writer.append(make_row(make_layout(), 0)):
            pass
        writer.set_attrs(note="x" * 5000)
        with pytest.raises(BadOption, match="attribute novel does not fit into the budget"):
            writer.set_attrs(novel="x" * 150_000)
    assert du(tmp_path / "run") <= 600_000
    assert attributes_of(tmp_path / "run")["note"] == "x" * 5000


@pytest.mark.parametrize(("budget", "coords"), [(1_000_000, 25), (1_200_000, 40), (3_000_000, 200)])
@pytest.mark.parametrize("noise", [True, False])
def test_a_small_budget_lasts_for_a_long_training(tmp_path: Path, budget: int, coords: int, noise: bool) -> None:
    layout, rng, schedule = make_layout(coords=coords), np.random.default_rng(0), Schedule(1, 1)
    kept, last = [], 20_000
    with RunWriter(tmp_path / "run", layout, budget=budget, exact=True) as writer:
        for step in range(last):
            if schedule.records(step):
                row = noise_row(layout, rng) if noise else make_row(layout, step)
                if writer.append(row | {"step": step}):
                    kept.append(step)
                schedule.spend(writer.spent, step)
        assert writer.refused < 0.02 * len(kept)
    assert kept[-1] > last / 3
    assert len(kept) > 50


def test_room_for_many_events_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of groups of examples, each of which has one at every step."""
    asked: list[int] = []
    need = Allowance.need
    monkeypatch.setattr(Allowance, "need", lambda self, steps, events: (asked.append(1), need(self, steps, events))[1])
    with RunWriter(tmp_path / "run", make_layout(), budget=100_000_000) as writer:
        event = {"step": 0, "epoch": 0, "task": None, "split": "groups", "name": "examples", "value": 1.0}
        writer.append_event(event)
        asked.clear()
        for _ in range(20):
            assert writer.append_event(event)
        assert asked == []
