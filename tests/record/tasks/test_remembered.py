"""Losses that come apart as earlier ones did, against the same training where nothing is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from record.losses import WAYS, Data, Net
from record.more_losses import MORE
from torch import Tensor, nn

from dominance import Recorder, open_run
from dominance.record.tasks.questions import Noted
from dominance.record.tasks.remembered import GraphLook, Remembered, TakenApart

ALL = WAYS | MORE
STEPS = 6


@pytest.fixture
def recalled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each loss that was looked up had been met."""
    found: list[bool] = []
    recall = Remembered.recall

    def told(self: Remembered, look: GraphLook) -> TakenApart | None:
        apart = recall(self, look)
        found.append(apart is not None)
        return apart

    monkeypatch.setattr(Remembered, "recall", told)
    return found


def _same_run(one: Path, other: Path) -> None:
    """The same to the bit, but for the time."""
    first, second = open_run(one), open_run(other)
    assert first.attrs["tasks"] == second.attrs["tasks"]
    assert first.attrs["residual_terms"] == second.attrs["residual_terms"]
    for path in ("/gradient", "/update", "/layer", "/loss"):
        for name, values in first[path].data_vars.items():
            np.testing.assert_array_equal(values.values, second[path][name].values, err_msg=f"{path}/{name}")


def _record(path: Path, step: Callable[[Any, int], None], make: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    net = make()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(path, net, optimizer, exact=True):
        for number in range(STEPS):
            optimizer.zero_grad()
            step(net, number)
            optimizer.step()


def _both(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[Any, int], None],
    make: Callable[[], Any],
) -> None:
    _record(tmp_path / "remembering", step, make)
    monkeypatch.setattr(Remembered, "recall", lambda self, look: None)
    _record(tmp_path / "forgetting", step, make)
    _same_run(tmp_path / "remembering", tmp_path / "forgetting")


@pytest.mark.parametrize("way", ALL)
def test_it_makes_no_difference(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Data()
    _both(tmp_path, monkeypatch, lambda net, number: ALL[way].step(net, data), Net)


class Two(nn.Module):
    """A trunk and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.tanh(self.trunk(x))
        return self.a(z), self.b(z)


def _losses(net: nn.Module, size: int) -> tuple[Tensor, Tensor]:
    a, b = net(torch.linspace(-1, 1, 3 * size).reshape(size, 3))
    return (a - 1).square().mean(), (b + 1).square().mean()


def test_most_losses_of_a_training_are_recalled(tmp_path: Path, recalled: list[bool]) -> None:
    def step(net: nn.Module, number: int) -> None:
        price, demand = _losses(net, 5)
        (price + 0.1 * (number + 1) * demand).backward()

    _record(tmp_path / "run", step, Two)
    assert recalled == [False, False, True, True, True, True]
    weight = open_run(tmp_path / "run")["loss/weight"]
    np.testing.assert_allclose(weight.sel(task="demand"), 0.1 * np.arange(1, STEPS + 1), rtol=1e-6)


def test_other_names_other_graphs_and_other_sizes_are_not(
    tmp_path: Path, recalled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(net: nn.Module, number: int) -> None:
        # A batch of one: what was a loss of each sample is one loss. All in one place, which tells losses apart too.
        price, demand = _losses(net, 1 if number == 3 else 5)
        cost = price if number == 4 else None
        price = None if number == 4 else price
        whole = (price if cost is None else cost) + (demand.sqrt() if number == 5 else demand)
        whole.backward()

    _record(tmp_path / "run", step, Two)
    assert recalled == [False, False, True, False, False, False]
    monkeypatch.undo()
    _both(tmp_path / "both", monkeypatch, step, Two)


def test_what_is_kept_of_graphs_that_never_come_again_is_bounded(
    tmp_path: Path, recalled: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    learn = Remembered.learn

    def counted(self: Remembered, look: GraphLook | None, found: Sequence[TakenApart], noted: Noted) -> None:
        learn(self, look, found, noted)
        held.append(sum(len(cast(Any, told)[0]) for told in self._known))

    monkeypatch.setattr(Remembered, "learn", counted)
    monkeypatch.setattr("dominance.record.tasks.remembered._MOST_TOLD", 250)

    def step(net: Any, number: int) -> None:
        price, demand = _losses(net, 5)
        for _ in range(number):
            demand = demand * 1.0
        (price + demand).backward()

    _record(tmp_path / "run", step, Two)
    assert not any(recalled)
    assert 0 < max(held) <= 250
