from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from dominance.optim import GO4Align
from dominance.optim.combiners.go4align import _group_means

torch.set_num_threads(1)
Matrix = np.ndarray


def by_trying_all(values: Matrix, groups: int) -> tuple[float, Matrix]:
    """The least sum of squared distances over all ways to put the values into so many groups, and the means."""
    best: tuple[float, Matrix] | None = None
    for label in product(range(groups), repeat=len(values)):
        if len(set(label)) < min(groups, len(values)):
            continue
        where = np.array(label)
        means = np.array([values[where == own].mean() for own in where])
        cost = float(((values - means) ** 2).sum())
        if best is None or cost < best[0]:
            best = cost, means
    assert best is not None
    return best


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_groups_are_the_best_there_are(groups: int) -> None:
    rng = np.random.default_rng(groups)
    for count in (1, 2, 3, 4, 6):
        for _ in range(8):
            values = rng.exponential(size=count) * 10.0 ** rng.integers(-2, 3, count)
            cost, means = by_trying_all(values, groups)
            found = _group_means(values, groups)
            assert ((values - found) ** 2).sum() == pytest.approx(cost, rel=1e-9, abs=1e-12)
            np.testing.assert_allclose(found, means)


def test_as_the_rule_of_the_text_step_by_step() -> None:
    rng, eta, ours = np.random.default_rng(0), 0.05, GO4Align(2, 0.05)
    p = torch.full((3,), 1 / 3, dtype=torch.float64)
    for _ in range(30):
        losses = rng.exponential(size=3) * [1.0, 20.0, 0.1]
        values = torch.from_numpy(losses)
        p = p * torch.exp(-eta * values)
        p = p / p.sum()
        expected = by_trying_all((values.sum() / values * p).numpy(), 2)[1]
        np.testing.assert_allclose(ours.loss_weights(losses, "abc"), expected, rtol=1e-9)


def test_as_many_groups_as_tasks_make_the_losses_alike() -> None:
    losses = np.array([1.0, 100.0, 0.01])
    weighted = GO4Align(3, 1e-12).loss_weights(losses, "abc") * losses
    np.testing.assert_allclose(weighted, np.full(3, losses.sum() / 3))
    one = GO4Align(1, 1e-12).loss_weights(losses, "abc")
    np.testing.assert_allclose(one, np.full(3, (losses.sum() / losses).mean() / 3))


def test_an_absent_task_keeps_its_part() -> None:
    ours = GO4Align(2, 0.1)
    ours.loss_weights(np.array([1.0, 2.0, 3.0]), "abc")
    before = ours.logs["a"]
    ours.loss_weights(np.array([1.0, 5.0]), "bc")
    assert ours.logs["a"] == before
    assert np.exp(list(ours.logs.values())).sum() == pytest.approx(3)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="groups=0"):
        GO4Align(0)
    with pytest.raises(ValueError, match="step_size=0"):
        GO4Align(step_size=0)
    ours = GO4Align()
    with pytest.raises(ValueError, match=r"divides by them\): a has 0"):
        ours.loss_weights(np.array([0.0, 1.0]), "ab")
    assert ours.logs == {}
