from __future__ import annotations

import numpy as np
import pytest
import torch

from dominance.optim import MGDA, ParetoMTL
from dominance.optim.solvers.simplex import min_norm

AB = ("a", "b")
WANTED = {"a": 0.25, "b": 0.75}


def test_phase_1_follows_the_active_constraint_alone() -> None:
    # u = (1, 3), the other (3, 1), both / √10: G = (2, -2)·L / √10 > 0 where the loss of a is the greater.
    method = ParetoMTL(WANTED)
    weights = method.weights(np.eye(2), np.array([2.0, 1.0]), AB)
    assert weights == pytest.approx([1, -1])
    assert not method.feasible


def test_phase_2_is_mgda_while_no_constraint_is_active() -> None:
    method, gram, losses = ParetoMTL(WANTED), np.array([[1.0, 0.2], [0.2, 4.0]]), np.array([1.0, 2.0])
    # Scaled so that Σ |w| = K.
    assert method.weights(gram, losses, AB) == pytest.approx(2 * MGDA().weights(gram, losses, AB))
    assert method.feasible


def test_phase_2_takes_the_active_constraint_in() -> None:
    method = ParetoMTL(WANTED)
    method.feasible = True
    gram = np.array([[1.0, 0.2], [0.2, 4.0]])
    u = np.array([2.0, -2.0]) / 10**0.5
    rows = np.array([[1, 0], [0, 1], u])
    w = min_norm(rows @ gram @ rows.T) @ rows
    assert method.weights(gram, np.array([2.0, 1.0]), AB) == pytest.approx(2 * w / np.abs(w).sum())


def test_phase_1_ends_after_its_steps() -> None:
    method = ParetoMTL(WANTED, initial_steps=2)
    phases = []
    for _ in range(3):
        method.weights(np.eye(2), np.array([2.0, 1.0]), AB)
        phases.append(method.feasible)
    assert phases == [False, False, True]


@pytest.mark.parametrize("preference", [(0.25, 0.75), (0.75, 0.25)])
def test_two_parabolas_end_in_the_preferred_part(preference: tuple[float, float]) -> None:
    """L_a = (x-1)², L_b = (x+1)²: every x in [-1, 1] is Pareto optimal; the preference decides the side."""
    at = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for start in (-0.9, 0.9):
        x = torch.tensor([start, 0.5], dtype=torch.float64, requires_grad=True)
        method = ParetoMTL(dict(zip(AB, preference, strict=True)))
        for _ in range(100):
            x.grad = None
            method.backward({"a": (x - at).square().sum(), "b": (x + at).square().sum()}, [x])
            assert x.grad is not None
            with torch.no_grad():
                x -= 0.03 * x.grad
        end = x.detach()
        loss_a, loss_b = float((end - at).square().sum()), float((end + at).square().sum())
        assert (loss_a - loss_b) * (preference[0] - preference[1]) > -0.1
        assert abs(float(end[1])) < 0.1


def test_default_preference_is_equal_against_the_axes() -> None:
    # Three tasks: (e_1 - u)·L > 0 where the first loss is far greater than the others.
    method = ParetoMTL()
    u = np.full(3, 3**-0.5)
    expected = np.array([1.0, 0, 0]) - u
    found = method.weights(np.eye(3), np.array([9.0, 1.0, 1.0]), ("a", "b", "c"))
    assert found == pytest.approx(3 * expected / np.abs(expected).sum())


def test_absent_and_unknown_tasks() -> None:
    # The first batch has one task; entries go by name, whatever the order.
    method = ParetoMTL(WANTED)
    assert method.weights(np.eye(1), np.ones(1), ("b",)) == pytest.approx([1])
    fresh = ParetoMTL(dict(reversed(WANTED.items())))
    assert fresh.weights(np.eye(2), np.array([1.0, 2.0]), ("b", "a")) == pytest.approx([-1, 1])
    with pytest.raises(ValueError, match="not for c"):
        method.weights(np.eye(1), np.ones(1), ("c",))
    even = ParetoMTL()
    assert even.weights(np.eye(1), np.ones(1), ("a",)) == pytest.approx([1])
    even.weights(np.eye(2), np.ones(2), AB)


def test_among_others() -> None:
    """u = (1, 0) among (0, 1) alone: G = L_b - L_a."""
    method = ParetoMTL({"a": 2.0, "b": 0.0}, [{"b": 3.0, "a": 0.0}])
    assert method.weights(np.eye(2), np.array([1.0, 2.0]), AB) == pytest.approx([-1, 1])


def test_bad_preference() -> None:
    for wrong in ({"a": -1.0, "b": 2.0}, {"a": 0.0, "b": 0.0}):
        with pytest.raises(ValueError, match="entries >= 0"):
            ParetoMTL(wrong)
    for none in ((0.25, 0.75), {0: 0.25, 1: 0.75}):
        with pytest.raises(TypeError, match="is no string"):
            ParetoMTL(none)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not of the tasks a, b"):
        ParetoMTL(WANTED, [{"a": 1.0, "c": 1.0}])
    with pytest.raises(ValueError, match="which one"):
        ParetoMTL(among=[WANTED])
