"""Runs trained with the methods of dominance.optim: the recorder is told, and gets what it would have to find out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record.losses import Data, Net

from dominance import Recorder, open_run
from dominance.optim import PUB, AdaTask, AdaTaskAdam, AdaTaskRMSprop, Clippy
from dominance.optim.engine.combiner import Combiner, Weighting
from dominance.optim.engine.gradients import listeners, task_gradients
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix

STEPS = 6


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Fixed(Weighting):
    """Weights that no step changes, applied to gradients; heads keep their own."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.array([0.5, 3.0])


class FixedEverywhere(Fixed):
    heads = "weighted"


class FixedLosses(LossWeighting):
    """The same weights, applied to losses."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.array([0.5, 3.0])


class Crossed(Combiner):
    """A mixing matrix with entries off the diagonal."""

    MATRIX = np.array([[1.0, 0.25], [-0.5, 2.0]])

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return self.MATRIX


def losses_of(net: Net, data: Data) -> dict[str, torch.Tensor]:
    out = net(data.x)
    return {"depth": data.mse(out), "seg": data.ce(out)}


def train(net: Net, optimizer: torch.optim.Optimizer, combiner: Combiner, *, through: bool = False) -> None:
    data = Data()
    for _ in range(STEPS):
        optimizer.zero_grad()
        z = net.trunk(data.x)
        out = net.depth_head(z), net.seg_head(z)
        losses = {"depth": data.mse(out), "seg": data.ce(out)}
        combiner.backward(losses, net.parameters(), representation=z if through else None)
        optimizer.step()


def both(make: Callable[[], Combiner], path: Path, *, through: bool = False, **options: Any) -> tuple[Any, Net, Net]:
    """A recorded run, its net and that of the same training unrecorded."""
    torch.manual_seed(0)
    plain = Net()
    net = copy.deepcopy(plain)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    with Recorder(path, net, optimizer, exact=True, **options):
        train(net, optimizer, make(), through=through)
    train(plain, torch.optim.Adam(plain.parameters(), lr=0.01), make(), through=through)
    return open_run(path), net, plain


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("make", [Fixed, FixedEverywhere, FixedLosses, Crossed])
def test_training_is_not_changed_to_the_bit_and_nothing_stays(make: Any, through: bool, tmp_path: Path) -> None:
    run, net, plain = both(make, tmp_path / "run", through=through)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), plain.parameters(), strict=True))
    assert run.dataset["step"].values.tolist() == list(range(STEPS))
    assert run.dataset["task"].values.tolist() == ["depth", "seg"]
    assert float(run.dataset["closure"].max()) < 5e-4
    assert np.abs(run["update/residual"].values).max() < 1e-6, "the parts are the whole"
    assert listeners == []


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("make", [FixedEverywhere, FixedLosses])
def test_the_record_is_the_one_of_a_weighted_sum_written_by_hand(make: Any, through: bool, tmp_path: Path) -> None:
    run, _, _ = both(make, tmp_path / "run", through=through)
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "hand", net, optimizer, exact=True):
        for _ in range(STEPS):
            optimizer.zero_grad()
            losses = losses_of(net, data)
            depth, seg = losses["depth"], losses["seg"]
            (0.5 * depth + 3.0 * seg).backward()
            optimizer.step()
    hand = open_run(tmp_path / "hand")
    assert run.attrs["parameters"] == hand.attrs["parameters"]
    np.testing.assert_allclose(run["loss/weight"].values, hand["loss/weight"].values, rtol=1e-6)
    np.testing.assert_allclose(run["loss/loss"].values, hand["loss/loss"].values, rtol=1e-5)
    np.testing.assert_allclose(run["loss/total"].values, hand["loss/total"].values, rtol=1e-5)
    for name in ("gradient/gradient", "update/update", "layer/gram"):
        ours, theirs = run[name].values, hand[name].values
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max(), name


def test_rows_of_a_full_mixing_matrix_are_the_effective_gradients(tmp_path: Path) -> None:
    run, _, _ = both(Crossed, tmp_path / "run")
    torch.manual_seed(0)
    net = Net()
    raw = task_gradients(losses_of(net, Data()), net.trunk.parameters())
    depth, seg = (torch.cat([g.reshape(-1) for g in row]).numpy() for row in raw.rows)
    expected = Crossed.MATRIX @ np.stack([depth, seg])
    trunk = np.char.startswith(run["parameter"].values.astype(str), "trunk")
    np.testing.assert_allclose(run["gradient/gradient"].values[0][:, trunk], expected, rtol=1e-4, atol=1e-7)
    assert np.isnan(run["loss/weight"].values).all(), "no single weight exists"
    losses = [float(loss.detach()) for loss in losses_of(net, Data()).values()]
    np.testing.assert_allclose(run["loss/loss"].values[0], losses, rtol=1e-5)


def test_steps_that_are_not_recorded_cost_nothing_and_are_left_out(tmp_path: Path) -> None:
    run, net, plain = both(Crossed, tmp_path / "run", every=2, burst=1)
    assert run.dataset["step"].values.tolist() == [0, 2, 4]
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), plain.parameters(), strict=True))


def test_a_combiner_between_zero_grad_and_a_second_loss(tmp_path: Path) -> None:
    """Gradients that the script adds by a backward() of its own are a task of their own."""
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for _ in range(3):
            optimizer.zero_grad()
            Fixed().backward(losses_of(net, data), net.parameters())
            penalty = sum(p.square().sum() for p in net.trunk.parameters())
            penalty.backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert set(run.dataset["task"].values.tolist()) == {"depth", "seg", "penalty"}
    assert float(run.dataset["closure"].max()) < 5e-4


def test_a_fault_while_listening_ends_the_recording_and_not_the_training(tmp_path: Path, monkeypatch: Any) -> None:
    from dominance.record.step_recorder import StepRecorder

    def fault(self: StepRecorder, call: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(StepRecorder, "enter", fault)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    before = [p.detach().clone() for p in net.parameters()]
    with Recorder(tmp_path / "run", net, optimizer):
        train(net, optimizer, Crossed())
    assert not torch.equal(before[1], next(iter(net.parameters())))
    assert listeners == []


ADATASK: dict[str, Callable[[Any], Any]] = {
    "rmsprop": lambda params: AdaTaskRMSprop(params, lr=0.01),
    "adam": lambda params: AdaTaskAdam(params, lr=0.01),
    "decoupled": lambda params: AdaTaskAdam(params, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "coupled": lambda params: AdaTaskAdam(params, lr=0.01, weight_decay=0.1),
    "layers": lambda params: AdaTaskRMSprop(params, lr=0.01, granularity="layer"),
}


def taskwise(net: Net, make: Callable[[Any], Any], *, given: bool) -> None:
    """Train with a task-wise optimizer, by backward() or by a step that is given the gradients."""
    data, optimizer = Data(), make(net.named_parameters())
    for _ in range(STEPS):
        optimizer.zero_grad()
        if given:
            optimizer.step(task_gradients(losses_of(net, data), net.parameters()))
        else:
            optimizer.backward(losses_of(net, data))
            optimizer.step()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", ADATASK)
def test_a_task_wise_step_is_recorded_as_the_optimizer_tells_it(name: str, given: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = Net()
    net = copy.deepcopy(plain)
    kept: list[Any] = []

    def make(params: Any) -> Any:
        kept.append(ADATASK[name](params))
        return kept[-1]

    optimizer = make(net.named_parameters())
    data = Data()
    with Recorder(tmp_path / "run", net, optimizer, exact=True, attribution="both"):
        for _ in range(STEPS):
            optimizer.zero_grad()
            if given:
                optimizer.step(task_gradients(losses_of(net, data), net.parameters()))
            else:
                optimizer.backward(losses_of(net, data))
                optimizer.step()
    taskwise(plain, ADATASK[name], given=given)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), plain.parameters(), strict=True))
    run = open_run(tmp_path / "run")
    assert run.dataset["step"].values.tolist() == list(range(STEPS))
    assert float(run.dataset["closure"].max()) < 5e-4
    total = run["update/total"].values
    parts = run["update/update"].values.sum(1) + run["update/decay"].values
    assert np.abs(parts - total).max() <= 5e-4 * np.abs(total).max()
    assert bool(run["update/decay"].values.any()) == (name == "decoupled")
    solo, additive = run["update/solo"].values, run["update/update"].values
    if name == "layers":
        assert np.isnan(solo[additive != 0]).all(), "the tasks share G: none steps as if alone"
    else:
        np.testing.assert_array_equal(solo, additive)


def test_updates_of_adatask_are_those_of_algorithm_2(tmp_path: Path) -> None:
    """RMSprop's first two steps by hand: -lr g_k / (sqrt(G_k) + eps), with G_k from the task's own gradients."""
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = AdaTaskRMSprop(net.parameters(), lr=0.01)
    squares: dict[str, Any] = {"depth": 0.0, "seg": 0.0}
    with Recorder(tmp_path / "run", net, optimizer, exact=True, params="trunk.0.weight"):
        expected = []
        for _ in range(2):
            rows = task_gradients(losses_of(net, data), [net.trunk[0].weight]).rows
            for task, row in zip(squares, rows, strict=True):
                g = row[0].double().reshape(-1).numpy()  # type: ignore[union-attr]
                squares[task] = 0.99 * squares[task] + 0.01 * g**2
                expected.append(-0.01 * g / (np.sqrt(squares[task]) + 1e-8))
            optimizer.zero_grad()
            optimizer.backward(losses_of(net, data))
            optimizer.step()
    run = open_run(tmp_path / "run")
    found = run["update/update"].values.reshape(4, -1)
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("manipulation", [None, Clippy(), AdaTask()])
def test_pub_tells_its_weighted_updates(manipulation: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = PUB(net.parameters(), lr=0.01, every=2, manipulation=manipulation)
    with Recorder(tmp_path / "run", net, optimizer, exact=True, attribution="both"):
        for _ in range(STEPS):
            optimizer.zero_grad()
            optimizer.backward(losses_of(net, data))
            optimizer.step()
    run = open_run(tmp_path / "run")
    total = run["update/total"].values
    assert total.any()
    assert np.abs(run["update/update"].values.sum(1) - total).max() <= 5e-4 * np.abs(total).max()
    moved = run["update/update"].values != 0
    assert np.isnan(run["update/solo"].values[moved]).all(), "alpha is in the parts: they are no solo updates"


def test_clippy_is_split_additively(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = Clippy(net.parameters(), lr=0.05)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for _ in range(STEPS):
            optimizer.zero_grad()
            optimizer.backward(losses_of(net, data))
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["attribution"] == "additive"
    assert float(run.dataset["closure"].max()) < 5e-4
    assert run.dataset["task"].values.tolist() == ["depth", "seg"]
