"""The losses of steps that are not recorded: against what the script itself has of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dominance
from dominance import Recorder, loss_curves, open_run, open_runs
from dominance.analyse.study.scores import events
from dominance.record import answers
from dominance.record.unrecorded_losses import POINTS, UnrecordedLosses
from dominance.store.outline import read_outline

torch.set_num_threads(1)

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
STEPS = 130


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def losses(self) -> tuple[Tensor, Tensor]:
        z = torch.tanh(self.trunk(X))
        return self.a(z).square().mean(), (self.b(z) - 1).square().mean()


@dataclass
class Output:
    a: Tensor
    b: Tensor


class Holder:
    net: Net
    a: Tensor
    b: Tensor

    def step(self) -> tuple[Tensor, Tensor]:
        self.a, self.b = self.net.losses()
        (self.a + self.b).backward()
        return self.a, self.b


def variables(net: Net) -> tuple[Tensor, Tensor]:
    a, b = net.losses()
    (a + 0.5 * b).backward()
    return a, b


def in_a_dict(net: Net) -> tuple[Tensor, Tensor]:
    losses = dict(zip("ab", net.losses(), strict=True))
    sum(losses.values()).backward()  # type: ignore[union-attr]
    return losses["a"], losses["b"]


def in_a_list(net: Net) -> tuple[Tensor, Tensor]:
    losses = list(net.losses())
    torch.stack(losses).sum().backward()
    return losses[0], losses[1]


def in_a_record(net: Net) -> tuple[Tensor, Tensor]:
    out = Output(*net.losses())
    (out.a + out.b).mean().backward()
    return out.a, out.b


def in_self(net: Net) -> tuple[Tensor, Tensor]:
    holder = Holder()
    holder.net = net
    return holder.step()


def one_backward_each(net: Net) -> tuple[Tensor, Tensor]:
    a, b = net.losses()
    a.backward(retain_graph=True)
    b.backward()
    return a, b


def by_a_helper(net: Net) -> tuple[Tensor, Tensor]:
    def back(total: Tensor) -> None:
        total.backward()

    a, b = net.losses()
    back(a + b)
    return a, b


def written_to_after(net: Net) -> tuple[Tensor, Tensor]:
    a, b = net.losses()
    (a + b).backward()
    kept = a.detach().clone(), b.detach().clone()
    with torch.no_grad():
        a.zero_()
    return kept


WAYS: dict[str, Callable[[Net], tuple[Tensor, Tensor]]] = {
    each.__name__: each
    for each in (
        *(variables, in_a_dict, in_a_list, in_a_record),
        *(in_self, one_backward_each, by_a_helper, written_to_after),
    )
}


def train(path: Path, way: Callable[[Net], tuple[Tensor, Tensor]], steps: int = STEPS, **options: Any) -> np.ndarray:
    """What the script has of its losses, (step, task)."""
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    with Recorder(path, net, optimizer, quiet=True, **({"every": 10} | options)):
        return np.array([_step(net, optimizer, way) for _ in range(steps)])


def _step(net: Net, optimizer: torch.optim.Optimizer, way: Callable[[Net], tuple[Tensor, Tensor]]) -> list[float]:
    optimizer.zero_grad()
    losses = way(net)
    optimizer.step()
    return [loss.item() for loss in losses]


def check(path: Path, truth: np.ndarray) -> int:
    """All that is known is as the script has it; returns how many steps are known that are not recorded."""
    run = open_run(path)
    curves = loss_curves(run)
    steps, recorded = curves["step"].values, curves["recorded"].values
    assert (np.diff(steps) > 0).all()
    np.testing.assert_allclose(curves["loss"].values, truth[steps], rtol=1e-6)
    assert steps[recorded].tolist() == run["step"].values.tolist()
    assert np.isfinite(curves["weight"].values[recorded]).all()
    assert np.isnan(curves["weight"].values[~recorded]).all()
    return int((~recorded).sum())


@pytest.mark.parametrize("way", WAYS)
def test_every_step_has_its_losses(way: str, tmp_path: Path) -> None:
    truth = train(tmp_path / "run", WAYS[way])
    recorded = open_run(tmp_path / "run").sizes["step"]
    assert recorded < STEPS - 50
    assert check(tmp_path / "run", truth) == STEPS - recorded


@pytest.mark.parametrize("way", ["variables", "one_backward_each", "written_to_after"])
def test_losses_on_a_device_are_read_together(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU plays one: all wait until a recorded step reads its numbers, or the run ends."""
    monkeypatch.setattr(answers, "AT_HAND", set())
    reads: list[int] = []
    read = answers.read
    monkeypatch.setattr(answers, "read", lambda tensors: (reads.append(len(tensors)), read(tensors))[1])
    truth = train(tmp_path / "run", WAYS[way])
    recorded = open_run(tmp_path / "run").sizes["step"]
    assert check(tmp_path / "run", truth) == STEPS - recorded
    assert len(reads) < 12 * recorded


def test_a_task_that_is_not_in_every_step(tmp_path: Path) -> None:
    """The loss is made of other tasks then, in the same line."""
    turn = iter(range(10_000))

    def sometimes(net: Net) -> tuple[Tensor, Tensor]:
        a, b = net.losses()
        both = next(turn) % 3 != 0
        loss = a + b if both else a
        loss.backward()
        return a, b if both else torch.tensor(torch.nan)

    truth = train(tmp_path / "run", sometimes)
    curves = loss_curves(open_run(tmp_path / "run"))
    between = ~curves["recorded"].values
    assert between.sum() > 50
    np.testing.assert_allclose(
        curves["loss"].sel(task="a").values[between], truth[curves["step"].values[between], 0], rtol=1e-6
    )
    known = np.isfinite(curves["loss"].sel(task="b").values[between])
    assert 0.5 < known.mean() < 0.8


def test_odd_tensors_beside_the_losses(tmp_path: Path) -> None:
    """One without a size yet, and a view that was changed so that it has no place in any graph."""

    def beside(net: Net) -> tuple[Tensor, Tensor]:
        lazy = nn.parameter.UninitializedParameter()
        with torch.no_grad():
            view = torch.ones(2, requires_grad=True).chunk(2)[0]
        a, b = net.losses()
        assert lazy is not None
        assert view is not None
        (a + b).backward()
        return a, b

    truth = train(tmp_path / "run", beside)
    assert check(tmp_path / "run", truth) > 50


def turns(net: Net) -> tuple[Tensor, Tensor]:
    """A task a step, in one line; ``b`` goes by the name of its head, and of the other there is a variable."""
    nan = torch.tensor(torch.nan)
    net.turn = getattr(net, "turn", -1) + 1  # type: ignore[assignment]
    z = torch.tanh(net.trunk(X))
    if net.turn % 3:
        loss = error = net.a(z).square().mean()
    else:
        loss = (net.b(z) - 1).square().mean()
    loss.backward()
    return (error.detach(), nan) if net.turn % 3 else (nan, loss.detach())


def test_tasks_that_take_turns_in_one_line(tmp_path: Path) -> None:
    """The variable is that of whatever task has its turn: no loss is taken for another's."""
    truth = train(tmp_path / "run", turns, every=4, burst=1, tasks=None)
    curves = loss_curves(open_run(tmp_path / "run"))
    loss, want = curves["loss"].values, truth[curves["step"].values]
    order = [0, 1] if curves["task"].values[0] == "error" else [1, 0]
    known = np.isfinite(loss)
    assert (known <= np.isfinite(want[:, order])).all()
    np.testing.assert_allclose(loss[known], want[:, order][known], rtol=1e-6)
    assert known[~curves["recorded"].values].any(axis=0).any()


def test_tasks_that_nothing_tells_apart_are_not_read(tmp_path: Path) -> None:
    """The same parameters, the same line and the same variable: which task it is only the recorder's finder knows."""
    turn = iter(range(10_000))

    def same_head(net: Net) -> tuple[Tensor, Tensor]:
        nan = torch.tensor(torch.nan)
        out = net.a(torch.tanh(net.trunk(X)))
        if first := next(turn) % 2 == 0:
            near = out.square().mean()
            loss = near
        else:
            far = (out - 1).abs().mean()
            loss = far
        loss.backward()
        return (loss.detach(), nan) if first else (nan, loss.detach())

    truth = train(tmp_path / "run", same_head, every=3, burst=1)
    curves = loss_curves(open_run(tmp_path / "run")).sel(task=["near", "far"])
    loss, want = curves["loss"].values, truth[curves["step"].values]
    known = np.isfinite(loss)
    np.testing.assert_allclose(loss[known], want[known], rtol=1e-6)
    assert (known <= np.isfinite(want)).all()


def test_losses_without_a_name_are_not_read(tmp_path: Path) -> None:
    def nameless(net: Net) -> tuple[Tensor, Tensor]:
        z = torch.tanh(net.trunk(X))
        (net.a(z).square().mean() + (net.b(z) - 1).square().mean()).backward()
        return torch.zeros(()), torch.zeros(())

    train(tmp_path / "run", nameless)
    run = open_run(tmp_path / "run")
    known = loss_curves(run)
    # Steps that prepare a burst have them all the same: there the graph is looked at.
    extra = set(known["step"].values.tolist()) - set(run["step"].values.tolist())
    assert len(extra) < 40


def test_accumulated_gradients_tell_no_loss_of_the_step(tmp_path: Path) -> None:
    def twice(net: Net) -> tuple[Tensor, Tensor]:
        for _ in range(2):
            a, b = net.losses()
            ((a + b) / 2).backward()
        return a, b

    train(tmp_path / "run", twice, every=10, burst=1)
    assert "unrecorded_loss" not in open_run(tmp_path / "run").children


def test_ever_fewer_of_a_long_training() -> None:
    """As many as were said, whatever the number of tasks; by the clock of steps alone."""
    for tasks in (1, 2, 10):
        losses, kept = UnrecordedLosses(), []
        for step in range(20_000):
            if losses.reads(step):
                losses.prepared(dict.fromkeys(map(str, range(tasks)), 0.0), step=step, epoch=-1)
                kept.append(step)
        assert kept[: POINTS // tasks] == list(range(POINTS // tasks))
        assert tasks * len(kept) < POINTS * (1 + np.log(20_000 * tasks / POINTS))
        assert 19 * tasks < np.diff(kept).max() <= 40 * tasks
        assert len(losses.take()) == tasks * len(kept)


def test_nothing_of_the_script_is_kept_alive(tmp_path: Path) -> None:
    held: list[weakref.ref[Tensor]] = []

    def watched(net: Net) -> tuple[Tensor, Tensor]:
        a, b = net.losses()
        (a + b).backward()
        assert all(reference() is None for reference in held)
        held[:] = [weakref.ref(a)]
        return a.detach().clone(), b.detach().clone()

    truth = train(tmp_path / "run", watched)
    assert check(tmp_path / "run", truth) > 50


def test_what_was_logged_stands_apart(tmp_path: Path) -> None:
    """Losses of unrecorded steps are no metrics, and do not make a metric look as if steps had been gone over again."""

    def logs(net: Net) -> tuple[Tensor, Tensor]:
        a, b = variables(net)
        dominance.log(task="a", split="test", error=a.item())
        return a, b

    truth = train(tmp_path / "run", logs)
    run = open_run(tmp_path / "run")
    assert check(tmp_path / "run", truth) > 50
    assert set(run["metric"]["split"].values) == {"test"}
    table = events(run)
    np.testing.assert_allclose(table["value"], truth[:, 0], rtol=1e-6)
    assert set(read_outline(tmp_path / "run", part=5).metrics) == {("test", "a", "error")}


def test_several_runs_and_one_that_was_resumed(tmp_path: Path) -> None:
    first = train(tmp_path / "runs" / "long", variables)
    train(tmp_path / "runs" / "short", variables, 60)
    tree = open_runs(sorted((tmp_path / "runs").iterdir()))
    both = open_run(tmp_path / "runs" / "short")
    loss = tree["unrecorded_loss"].to_dataset()
    assert loss.sizes["run"] == 2
    assert (loss["event_step"].values >= 0).sum(1).tolist() == [
        open_run(tmp_path / "runs" / name)["unrecorded_loss"].sizes["event"] for name in ("long", "short")
    ]
    assert loss_curves(both).sizes["step"] == 60
    second = train(tmp_path / "runs" / "short", variables, 70, resume=True)
    curves = loss_curves(open_run(tmp_path / "runs" / "short"))
    want = np.concatenate([first[:60], second])
    np.testing.assert_allclose(curves["loss"].values, want[curves["step"].values], rtol=1e-6)
    assert curves.sizes["step"] > 120


def test_the_plot_shows_them(tmp_path: Path) -> None:
    train(tmp_path / "run", variables)
    plot = dominance.plot_losses(open_run(tmp_path / "run"), backend="none")
    assert plot.data.sizes["step"] == STEPS
