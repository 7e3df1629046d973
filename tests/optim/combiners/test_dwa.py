from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dominance.optim import DWA

torch.set_num_threads(1)


def feed(dwa: DWA, batches: list[list[float]], tasks: str = "ab") -> np.ndarray:
    """One epoch; the weights of its last batch."""
    for losses in batches:
        weights = dwa.loss_weights(np.array(losses), tuple(tasks))
    dwa.epoch()
    return weights


def test_two_tasks_by_hand() -> None:
    dwa = DWA()
    assert feed(dwa, [[3.0, 1.0], [5.0, 3.0]]).tolist() == [1.0, 1.0]  # averages 4 and 2
    assert feed(dwa, [[2.0, 2.0]]).tolist() == [1.0, 1.0]
    a, b = math.exp(0.5 / 2), math.exp(1.0 / 2)  # rates 2/4 and 2/2, T = 2
    np.testing.assert_allclose(feed(dwa, [[9.0, 9.0]]), [2 * a / (a + b), 2 * b / (a + b)])
    a, b = math.exp(4.5 / 2), math.exp(4.5 / 2)  # 9/2 and 9/2
    np.testing.assert_allclose(feed(dwa, [[1.0, 1.0]]), [1.0, 1.0])


def test_the_same_as_torchjd() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    peer, ours = scalarization.DWA(temperature=1.3), DWA(temperature=1.3)
    rng = np.random.default_rng(0)
    for _ in range(6):
        for _ in range(4):
            losses = rng.exponential(size=3) * [1.0, 100.0, 0.01]
            values = torch.from_numpy(losses).requires_grad_()
            (expected,) = torch.autograd.grad(peer(values), values)
            np.testing.assert_allclose(ours.loss_weights(losses, "abc"), expected, rtol=1e-12)
        peer.step()
        ours.epoch()


def test_an_absent_task_keeps_its_averages() -> None:
    dwa = DWA()
    feed(dwa, [[4.0, 4.0]])
    feed(dwa, [[2.0, 1.0]])
    feed(dwa, [[1.0]], tasks="a")
    assert dwa.averages == {"a": [2.0, 1.0], "b": [4.0, 1.0]}
    assert dwa.loss_weights(np.array([1.0]), ("b",)).tolist() == [1.0]


@pytest.mark.parametrize("average", [0.0, -1.0])
def test_averages_without_a_ratio(average: float) -> None:
    dwa = DWA()
    dwa.loss_weights(np.array([1.0, average]), ("a", "b"))
    with pytest.raises(ValueError, match=f"must be positive: b has {average:g}"):
        dwa.epoch()


def test_a_loss_that_is_not_finite_leaves_the_averages_alone() -> None:
    dwa = DWA()
    with pytest.raises(FloatingPointError, match="a has nan"):
        dwa.loss_weights(np.array([math.nan, 1.0]), ("a", "b"))
    assert dwa.sums == {}


def test_temperature_out_of_range() -> None:
    with pytest.raises(ValueError, match="temperature is 0"):
        DWA(0)
