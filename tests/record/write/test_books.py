"""What does not add up in a run is counted, and said once; nothing is said of one that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dominance.record import at_backward
from dominance.record.recorder import Recorder
from dominance.record.split.packs import Packed
from dominance.record.tasks.finder import FoundTask
from dominance.record.write.books import Books
from dominance.record.write.rows import StepRow
from dominance.schema import TOTAL_STATISTICS
from dominance.store.reader import open_run


class Statistics:
    """Of a row, its packed totals: what the books read of it."""

    def __init__(self, *, skipped: int = 0, closure: float = np.nan, **values: float) -> None:
        known = {"gradient_sq": 1.0, "update_sq": 1.0, **values}
        layer = [known.get(name, 0.0) for name in TOTAL_STATISTICS]
        self.values = {"layer/total": np.array([layer]), "skipped": np.array(skipped), "closure": np.array(closure)}


def row(**values: Any) -> StepRow:
    return cast(StepRow, Statistics(**values))


def test_nothing_is_said_of_a_run_that_adds_up() -> None:
    books = Books()
    for step in range(5):
        books.row(step, row(unexplained_gradient_sq=1e-4, closure=1e-5))
    assert books.lines() == []
    assert books.attributes() == {"unrecorded": [], "remarks": []}


def test_a_gradient_that_nobody_can_account_for() -> None:
    books = Books()
    for step, share in enumerate((0.0, 0.3, 0.4, 0.5)):
        books.row(step, row(unexplained_gradient_sq=share**2))
    (line,) = books.lines()
    assert line.startswith("in 3 of 4 steps, 40% of the gradient's norm belongs to no task that was found")


def test_the_share_is_one_of_norms_whatever_their_size() -> None:
    books = Books()
    books.row(0, row(gradient_sq=0.0))
    books.row(1, row(gradient_sq=400.0, unexplained_gradient_sq=100.0))
    books.row(2, row(gradient_sq=1e-8, unexplained_gradient_sq=1e-16))
    assert books.unexplained == [0.5]


def test_steps_that_are_missing_are_counted_by_their_reason() -> None:
    books = Books()
    for step in (3, 4, 9):
        books.missed("one", step)
    books.missed("two", 5)
    assert books.lines() == ["3 steps not recorded, from step 3 on: one", "1 step not recorded, from step 5 on: two"]
    assert books.attributes()["unrecorded"] == [
        {"reason": "one", "steps": 3, "first": 3},
        {"reason": "two", "steps": 1, "first": 5},
    ]


@pytest.mark.parametrize("name", ["gradient_sq", "update_sq"])
def test_a_training_that_diverged(name: str) -> None:
    books = Books()
    for step in range(6):
        books.row(step, row(**{name: np.nan if step >= 4 else 1.0}))
    assert books.lines() == ["the training diverged at step 4: from there on nothing is finite"]


def test_a_training_that_recovers_did_not_diverge() -> None:
    books = Books()
    for step in range(6):
        books.row(step, row(update_sq=np.inf if step == 2 else 1.0))
    assert books.lines() == []


def test_a_skipped_step_is_not_finite_and_no_divergence() -> None:
    books = Books()
    books.row(0, row(gradient_sq=np.nan, skipped=1))
    assert books.lines() == []


def test_a_remark_is_made_once() -> None:
    books = Books()
    assert [books.remark("so"), books.remark("so"), books.remark("and so")] == [True, False, True]
    assert books.attributes()["remarks"] == ["so", "and so"]


def test_parts_that_do_not_add_up_to_the_step() -> None:
    books = Books()
    for step, closure in enumerate((0.0, 0.2, np.nan, 0.3)):
        books.row(step, row(closure=closure))
    (line,) = books.lines()
    assert line.startswith("in 2 of 4 steps, the parts of the update do not add up to it, by up to 30%")


# The violations themselves, planted in a training


class Said(Protocol):
    def __call__(self, wrong: Callable[[nn.Linear, int], None] = ...) -> str: ...


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """What is said of six steps of two tasks, of which something is wrong."""

    def train(wrong: Callable[[nn.Linear, int], None] = lambda net, step: None) -> str:
        torch.manual_seed(0)
        net, x = nn.Linear(3, 2), torch.randn(8, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with Recorder(tmp_path / "run", net, optimizer):
            for step in range(6):
                depth, seg = net(x).square().mean(0)
                (depth + seg).backward()
                wrong(net, step)
                optimizer.step()
                optimizer.zero_grad()
        return capsys.readouterr().err

    return train


def test_of_a_sound_training_nothing_is_said(said: Said) -> None:
    assert "not" not in said()


def test_a_gradient_that_is_changed_by_hand_is_nobodys(said: Said) -> None:
    def add(net: nn.Linear, step: int) -> None:
        assert net.weight.grad is not None
        net.weight.grad[0] += torch.tensor([1.0, -2.0, 3.0])

    assert "in 6 of 6 steps" in said(add)


@pytest.mark.parametrize("times", [0, 2])
def test_a_term_that_is_missed_or_counted_twice_is_found(
    said: Said, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = at_backward.gradients_of

    def wrong(tasks: Sequence[FoundTask], *others: Any, **by_name: Any) -> dict[str, dict[Tensor, Tensor]]:
        found = taken(tasks, *others, **by_name)
        for name in list(found)[:1]:
            found[name] = {p: g * times for p, g in found[name].items()}
        return found

    monkeypatch.setattr(at_backward, "gradients_of", wrong)
    assert "in 6 of 6 steps" in said()


def test_a_rule_that_does_not_split_the_step_is_found(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Packed.closures

    def wrong(self: Packed) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        closure, rounding = taken(self)
        return np.full_like(closure, 0.5), np.zeros_like(rounding)

    monkeypatch.setattr(Packed, "closures", wrong)
    assert "in 6 of 6 steps, the parts of the update do not add up to it, by up to 50%" in said()


def test_a_training_whose_weights_are_nan_has_diverged(said: Said) -> None:
    def spoil(net: nn.Linear, step: int) -> None:
        if step >= 3 and net.weight.grad is not None:
            net.weight.grad.fill_(torch.nan)

    assert "the training diverged at step 3" in said(spoil)


def test_every_step_of_a_training_that_diverged_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, x = nn.Linear(3, 2), torch.randn(8, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for step in range(6):
            if step == 3:
                with torch.no_grad():
                    net.weight.fill_(torch.nan)
            depth, seg = net(x).square().mean(0)
            optimizer.zero_grad()
            (depth + seg).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert (run["step"].values.tolist(), run["skipped"].values.tolist()) == (list(range(6)), [0] * 6)
    assert "the training diverged at step 3" in capsys.readouterr().err


def test_a_gradient_that_is_infinite_ends_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, x = nn.Linear(3, 2), torch.randn(8, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for step in range(6):
            depth, seg = net(x).square().mean(0)
            optimizer.zero_grad()
            (depth + seg).backward()
            if step == 3 and net.bias.grad is not None:
                net.bias.grad[0] = torch.inf
            optimizer.step()
    assert open_run(tmp_path / "run").sizes["step"] == 6
    assert "recording stopped" not in capsys.readouterr().err


def test_a_step_that_is_not_understood_is_counted(said: Said) -> None:
    def nest(net: nn.Linear, step: int) -> None:
        def hook(gradient: Tensor) -> None:
            handle.remove()
            with torch.enable_grad():
                net.weight.square().sum().backward()

        if step == 3:
            handle = net.bias.register_hook(hook)

    assert "1 step not recorded, from step 4 on: a gradient hook runs a backward() of its own" in said(nest)
