"""Which mixture a script made of the tasks' gradients, and what it did to it after that."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dominance.record.split.mixtures import nearer_than_mixtures, unmixed

torch.set_num_threads(1)

Tasks = dict[Tensor, dict[str, Tensor]]
WEIGHTS = {"a": 0.3, "b": -1.2, "c": 2.0}


def tasks() -> tuple[Tasks, list[Tensor]]:
    """Three tasks over a trunk of a matrix and a bias; each with a head of a matrix and of one number."""
    noise = torch.Generator().manual_seed(0)
    trunk = [torch.zeros(shape, requires_grad=True) for shape in ((6, 8), (8,))]
    gradients = {p: {name: torch.randn(p.shape, generator=noise) for name in WEIGHTS} for p in trunk}
    for name in WEIGHTS:
        for shape in ((1, 8), (1,)):
            p = torch.zeros(shape, requires_grad=True)
            gradients[p] = {name: torch.randn(shape, generator=noise)}
    return gradients, list(gradients)


def mixture(gradients: Tasks, weights: dict[str, float] = WEIGHTS) -> dict[Tensor, Tensor]:
    return {p: sum((weights[n] * g for n, g in of.items()), torch.zeros(p.shape)) for p, of in gradients.items()}


def centralised(p: Tensor, g: Tensor) -> Tensor:
    return g - g.mean(1, keepdim=True) if g.dim() > 1 else g


def clipped(p: Tensor, g: Tensor) -> Tensor:
    return g.clamp(-0.5, 0.5)


@pytest.mark.parametrize("change", [lambda p, g: g, centralised, clipped], ids=["none", "centralised", "clipped"])
def test_the_weights_beneath_a_change(change: Callable[[Tensor, Tensor], Tensor]) -> None:
    gradients, parameters = tasks()
    mixed = mixture(gradients)
    splits, weights = unmixed({p: change(p, g) for p, g in mixed.items()}, gradients)
    assert weights[-1][1] == pytest.approx(WEIGHTS, rel=1e-4)
    for p in parameters:
        for name, gradient in gradients[p].items():
            torch.testing.assert_close(splits[p].tasks[name], WEIGHTS[name] * gradient, rtol=1e-3, atol=1e-4)
        left = splits[p].residual if splits[p].residual is not None else torch.zeros(p.shape)
        torch.testing.assert_close(left, change(p, mixed[p]) - mixed[p], rtol=1e-3, atol=1e-4)


def test_a_rate_for_each_parameter() -> None:
    """That of one number, and of fewer numbers than there are tasks, is the multiple of another parameter's mixture."""
    gradients, parameters = tasks()
    rates = {p: 1 / (i + 1) for i, p in enumerate(parameters)}
    splits, weights = unmixed({p: g * rates[p] for p, g in mixture(gradients).items()}, gradients)
    for p in parameters:
        for name, gradient in gradients[p].items():
            torch.testing.assert_close(splits[p].tasks[name], rates[p] * WEIGHTS[name] * gradient, rtol=1e-3, atol=1e-5)
    assert all(math.isnan(w) for w in weights[-1][1].values())


def test_gradients_of_one_batch_are_zero_where_a_loss_does_not_reach() -> None:
    gradients, parameters = tasks()
    whole = {p: {name: of.get(name, torch.zeros(p.shape)) for name in WEIGHTS} for p, of in gradients.items()}
    splits, weights = unmixed({p: 0.5 * g for p, g in mixture(gradients).items()}, whole)
    assert weights[-1][1] == pytest.approx({name: 0.5 * w for name, w in WEIGHTS.items()}, rel=1e-5)
    head = parameters[-1]
    assert set(splits[head].tasks) == set(WEIGHTS)
    assert not splits[head].tasks["a"].any()


def test_no_weight_is_told_of_what_is_no_mixture() -> None:
    gradients, _ = tasks()
    noise = torch.Generator().manual_seed(1)
    fed = {p: g + torch.randn(g.shape, generator=noise) for p, g in mixture(gradients).items()}
    _, weights = unmixed(fed, gradients)
    assert all(math.isnan(w) for w in weights[-1][1].values())


def test_noise_on_what_backward_left_is_nearer_than_any_mixture() -> None:
    """A gradient that was thrown away before may lie in the mixtures, and helps to fit the noise."""
    noise = torch.Generator().manual_seed(2)
    before, thrown = torch.randn(200, generator=noise), torch.randn(200, generator=noise)
    noisy = before + 0.3 * torch.randn(200, generator=noise)
    assert nearer_than_mixtures([(noisy, before, [before, thrown])])
    assert not nearer_than_mixtures([(before + 2 * thrown, before, [before, thrown])])
    assert not nearer_than_mixtures([(noisy + thrown, before, [before, thrown])])


def test_a_head_of_one_number_that_was_cut_off_was_mixed_as_the_others_were() -> None:
    """What is left of a head of more numbers says that it was multiplied by 0."""
    gradients, parameters = tasks()
    head = parameters[3]
    del gradients[parameters[2]]
    splits, weights = unmixed(mixture(gradients) | {head: torch.zeros(1)}, gradients)
    torch.testing.assert_close(splits[head].tasks["a"], WEIGHTS["a"] * gradients[head]["a"], rtol=1e-4, atol=1e-5)
    assert all(math.isnan(w) for members, of in weights if any(p is head for p in members) for w in of.values())


def test_a_head_that_was_fed_something_else_has_no_part_of_the_mixture() -> None:
    gradients, parameters = tasks()
    head = parameters[2]
    gradients[head]["a"] = torch.eye(1, 8)
    fed = torch.eye(1, 8).roll(1)
    splits, _ = unmixed(mixture(gradients) | {head: fed, parameters[3]: torch.zeros(1)}, gradients)
    assert not splits[head].tasks["a"].any()
    torch.testing.assert_close(splits[head].residual, fed)


def test_of_a_mixture_of_which_a_few_numbers_are_left_no_weights_are_told() -> None:
    """A few numbers are a mixture of as many gradients by themselves."""
    gradients, parameters = tasks()
    mixed = mixture(gradients)
    most = float(torch.cat([mixed[p].abs().flatten() for p in parameters[:2]]).sort().values[6])
    _, weights = unmixed({p: g.clamp(-most, most) for p, g in mixed.items()}, gradients)
    assert all(math.isnan(w) for w in weights[-1][1].values())


def test_what_backward_left_as_it_is_has_no_noise_on_it() -> None:
    before = torch.randn(200, generator=torch.Generator().manual_seed(2))
    assert not nearer_than_mixtures([(before, before, [before, -before])])


@pytest.mark.parametrize("weight", [1.0, 1 / 3], ids=["sum", "mean"])
def test_noise_on_a_plain_sum_or_mean_changes_no_weight(weight: float) -> None:
    """A fit would take some of the noise; of a head, which one task reaches, sum and mean are its gradient."""
    gradients, parameters = tasks()
    noise = torch.Generator().manual_seed(1)
    fed = mixture(gradients, dict.fromkeys(WEIGHTS, 1.0))
    fed |= {p: weight * fed[p] for p in parameters[:2]}
    splits, weights = unmixed({p: g + 0.05 * torch.randn(g.shape, generator=noise) for p, g in fed.items()}, gradients)
    assert weights[-1][1] == dict.fromkeys(WEIGHTS, weight)
    for p in parameters[:2]:
        for name, gradient in gradients[p].items():
            torch.testing.assert_close(splits[p].tasks[name], weight * gradient)
    head = parameters[2]
    torch.testing.assert_close(splits[head].tasks["a"], gradients[head]["a"])
