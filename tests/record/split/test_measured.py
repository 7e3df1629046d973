"""Steps by rules that nobody told, found by measuring; and those that are no such rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dominance.record.split.measured import Candidate, Coefficients, Measured, measure

torch.set_num_threads(1)


def numbers(size: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


def candidate(rule: Rule, size: int = 20, seed: int = 0, dtype: torch.dtype = torch.float32) -> Candidate:
    """A step from weights, a gradient and the last step, by a rule for the weights after it."""
    theta, gradient, last = (numbers(size, 10 * seed + i, dtype) for i in range(3))
    return Candidate(theta, rule(theta, gradient, 0.01 * last), gradient, 0.01 * last)


def one(rule: Rule, size: int = 20, dtype: torch.dtype = torch.float32) -> Measured | None:
    p = torch.zeros(size)
    return measure({p: [candidate(rule, size, dtype=dtype)]}).get(p)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda p, g, u: p - 0.05 * g, (0.05, 0, 0)),
        (lambda p, g, u: p + 0.05 * g, (-0.05, 0, 0)),
        (lambda p, g, u: p - 0.05 * (g + 0.1 * p), (0.05, 0.005, 0)),
        (lambda p, g, u: p.mul(0.999).sub(g, alpha=0.05), (0.05, 0.001, 0)),
        (lambda p, g, u: p - (0.05 * g - 0.9 * u), (0.05, 0, 0.9)),
        (lambda p, g, u: p - (0.05 * (g + 0.1 * p) - 0.9 * u), (0.05, 0.005, 0.9)),
    ],
    ids=["descent", "ascent", "coupled decay", "decoupled decay", "momentum", "momentum and decay"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rules_that_are_combinations(rule: Rule, expected: tuple[float, ...], dtype: torch.dtype) -> None:
    found = one(rule, dtype=dtype)
    assert found is not None
    assert found.whole
    assert found.coefficients == pytest.approx(Coefficients(*expected), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    "rule",
    [
        lambda p, g, u: p - 0.01 * g.sign(),
        lambda p, g, u: p - 0.05 * g / (g.abs() + 0.1),
        lambda p, g, u: p - 0.05 * g * torch.arange(1, 21) / 20,
        lambda p, g, u: p * 0.99,
        lambda p, g, u: p + 0.05 * numbers(20, 99),
    ],
    ids=["sign", "normalised", "a rate for each number", "decay alone", "noise"],
)
def test_rules_that_are_none(rule: Rule) -> None:
    assert one(rule) is None


def test_the_move_that_is_the_step_is_found_among_others() -> None:
    p = torch.zeros(20)
    decay = candidate(lambda p, g, u: p * 0.99)
    step = candidate(lambda p, g, u: p - 0.05 * g, seed=1)
    assert measure({p: [decay, step]})[p].candidate is step


def test_a_parameter_of_one_number_is_measured_beside_others() -> None:
    many, single = torch.zeros(20), torch.zeros(1)
    rule: Rule = lambda p, g, u: p - 0.05 * g  # noqa: E731
    found = measure({many: [candidate(rule)], single: [candidate(rule, 1, seed=1)]})
    assert found[single].coefficients.rate == pytest.approx(0.05, rel=1e-3)


def test_one_number_alone_tells_nothing() -> None:
    assert one(lambda p, g, u: p - 0.05 * g, size=1) is None


def test_what_else_moved_some_of_the_numbers_is_told_apart() -> None:
    p, q = torch.zeros(20), torch.zeros(20)
    clamped = candidate(lambda p, g, u: (p - 0.05 * g).clamp(-1, 1))
    found = measure({p: [clamped], q: [candidate(lambda p, g, u: p - 0.05 * g, seed=1)]})
    assert found[q].whole
    assert not found[p].whole
    assert found[p].coefficients.rate == pytest.approx(0.05, rel=1e-3)


def test_where_all_parameters_were_clamped_most_numbers_tell_the_rate() -> None:
    p, q = torch.zeros(200), torch.zeros(200)
    rule: Rule = lambda p, g, u: (p - 0.05 * g).clamp(-1, 1)  # noqa: E731
    found = measure({x: [candidate(rule, 200, seed=i)] for i, x in enumerate((p, q))})
    assert {x: each.whole for x, each in found.items()} == {p: False, q: False}


def test_in_half_precision_a_fit_needs_more_than_rounding() -> None:
    assert one(lambda p, g, u: p - 0.5 * g, 200, torch.bfloat16) is not None
    assert one(lambda p, g, u: p - 1e-5 * g, 200, torch.bfloat16) is None, "nothing moved but what rounding moved"
    assert one(lambda p, g, u: p - 0.5 * g.sign(), 200, torch.bfloat16) is None


def test_weights_that_are_not_finite() -> None:
    assert one(lambda p, g, u: p * torch.inf) is None


def test_of_small_parameters_fitted_together_the_last_move_is_the_step() -> None:
    """By a rule that one rate for all numbers does not explain."""
    singles = [torch.zeros(1) for _ in range(12)]
    decay: Rule = lambda p, g, u: p * 0.99  # noqa: E731
    rule: Rule = lambda p, g, u: p - 0.05 * (g + 0.5 * p)  # noqa: E731
    moves = {p: [candidate(decay, 1, seed=i), candidate(rule, 1, seed=20 + i)] for i, p in enumerate(singles)}
    found = measure(moves)
    assert {p: each.candidate for p, each in found.items()} == {p: each[1] for p, each in moves.items()}
    assert all(each.coefficients == pytest.approx((0.05, 0.025, 0), rel=1e-3) for each in found.values())


def test_a_gradient_of_zeros_explains_no_step() -> None:
    p, theta = torch.zeros(20), numbers(20)
    move = Candidate(theta, 0.99 * theta, torch.zeros(20), None)
    assert measure({p: [move]}) == {}
