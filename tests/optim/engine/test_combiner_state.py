"""What holds for every combiner: it goes on from its state to the bit, and keeps its hands off what is not its own."""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad
from optim.recipes import ALL, exported, make
from torch import Tensor

import dominance.optim as optim
from dominance.optim import Combiner, LossWeighting
from dominance.optim.engine.gradients import task_gradients

torch.set_num_threads(1)

OF_GRADIENTS = [name for name in ALL if not issubclass(exported()[name], LossWeighting)]
ABSENT = ((), ("b",), (), ("a", "c"), (), ("a",))


def run(combiner: Combiner, problem: Problem, absents: tuple[tuple[str, ...], ...] = ABSENT) -> list[Tensor]:
    """One step of training for each entry; the gradients."""
    optimizer = torch.optim.SGD([*problem.parameters, *combiner.parameters()], lr=0.01)
    found = []
    for absent in absents:
        problem.batch()
        optimizer.zero_grad()
        combiner.backward(problem.losses(absent), problem.parameters)
        found.append(flat_grad([*problem.parameters, *combiner.parameters()]))
        optimizer.step()
        combiner.after_step(problem.losses(absent))
        if not absent:
            combiner.epoch()
    return found


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)


def of_task(state: Any, task: str) -> list[Any]:
    """Everything in a state that is filed under the task."""
    if not isinstance(state, dict):
        return []
    return [part for key, value in state.items() for part in ([value] if key == task else of_task(value, task))]


@pytest.mark.parametrize("name", ALL)
def test_training_goes_on_from_the_state_to_the_bit(name: str) -> None:
    through, resumed = Problem(), Problem()
    one, two = make(name), make(name)
    run(one, through)
    run(two, resumed)
    fresh = make(name, seed=99)
    fresh.load_state_dict(through_a_file(two.state_dict()))
    assert same(fresh.state_dict(), two.state_dict())
    after = (("b", "c"), *ABSENT)  # first a batch that does not show which parameters are shared
    for expected, found in zip(run(one, through, after), run(fresh, resumed, after), strict=True):
        assert torch.equal(expected, found)
    assert same(one.state_dict(), fresh.state_dict())


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("name", ALL)
def test_a_copy_with_its_model_goes_on_to_the_bit(name: str, how: str) -> None:
    problem, combiner = Problem(), make(name)
    run(combiner, problem)
    problem.representation = torch.empty(0)  # has a graph, which cannot be copied
    both = (problem, combiner)
    twin, other = copy.deepcopy(both) if how == "deepcopy" else pickle.loads(pickle.dumps(both))
    after = (("b", "c"), *ABSENT)  # first a batch that does not show which parameters are shared
    for expected, found in zip(run(combiner, problem, after), run(other, twin, after), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize("name", ALL)
def test_a_state_is_a_copy(name: str) -> None:
    problem, combiner = Problem(), make(name)
    run(combiner, problem)
    state = combiner.state_dict()
    kept = through_a_file(state)
    other = make(name)
    other.load_state_dict(state)
    run(other, Problem(seed=5))
    run(combiner, problem)
    assert same(state, kept)


@pytest.mark.parametrize("name", ALL)
def test_a_seed_makes_it_repeat_and_no_global_generator_is_touched(name: str) -> None:
    before = global_generators()
    found = []
    for noise in range(2):
        assert global_generators() == before
        found.append(run(make(name, seed=4), Problem()))
        assert global_generators() == before
        torch.manual_seed(noise)
        before = global_generators()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def global_generators() -> tuple[bytes, str, Any]:
    """The states of those of torch, numpy and Python."""
    numpys: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), str([numpys[1].tobytes(), *numpys[2:]]), random.getstate()


@pytest.mark.parametrize("name", ALL)
def test_what_is_remembered_of_an_absent_task_does_not_move(name: str) -> None:
    problem, combiner = Problem(), make(name)
    run(combiner, problem)
    before = of_task(through_a_file(combiner.state_dict()), "b")
    run(combiner, problem, (("b",), ("a", "b")))
    assert same(of_task(combiner.state_dict(), "b"), before)


@pytest.mark.parametrize("name", ALL)
def test_one_task_is_plain_training(name: str) -> None:
    """Up to the factors that SI, IGB and UW have by definition, and a fixed weight."""
    problem, combiner = Problem(dtype=torch.float64), make(name)
    losses = problem.losses(absent=["a", "c"])
    loss = losses["b"]
    assert loss is not None
    logarithm = 1 / float(loss.detach())
    factor = {"SI": logarithm, "IGB": logarithm, "UW": 0.5}.get(name, 1.0)
    combiner.backward(losses, problem.parameters)
    found = flat_grad(problem.parameters)
    problem.net.zero_grad()
    problem.losses(absent=["a", "c"])["b"].backward()  # type: ignore[union-attr]
    torch.testing.assert_close(found, factor * flat_grad(problem.parameters))


@pytest.mark.parametrize("name", ALL)
def test_the_rows_sum_to_what_backward_gives(name: str) -> None:
    one, two = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    backward, combine = make(name), make(name)
    for absent in ((), ("a",)):
        one.net.zero_grad()
        backward.backward(one.losses(absent), one.parameters)
        rows = combine.combine(task_gradients(two.losses(absent), two.parameters))
        for p, q, g in zip(one.parameters, two.parameters, rows.total(), strict=True):
            torch.testing.assert_close(p.grad, g if g is None else g.reshape(q.shape))


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_the_tasks_does_not_matter(name: str) -> None:
    """Where nothing is drawn."""
    if "generator" in exported()[name].remembers:
        pytest.skip("depends on the order")
    one, two = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    make(name).backward(one.losses(), one.parameters)
    make(name).backward(dict(reversed(two.losses().items())), two.parameters)
    torch.testing.assert_close(flat_grad(one.parameters), flat_grad(two.parameters), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_a_task_that_shares_nothing_changes_nothing(name: str) -> None:
    """It is fed its own gradient, and the others' weights are what they are without it."""
    one, two = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    apart = torch.full((2,), 3.0, dtype=torch.float64, requires_grad=True)
    without, beside = make(name), optim.IMTL([*TASKS, "d"]) if name == "IMTL" else make(name)
    for _ in range(4):
        for problem in (one, two):
            problem.batch()
            problem.net.zero_grad()
        apart.grad = None
        losses = {"d": apart.square().sum(), **two.losses()}
        without.backward(one.losses(), one.parameters)
        beside.backward(losses, [*two.parameters, apart])
        torch.testing.assert_close(flat_grad(two.parameters), flat_grad(one.parameters), rtol=1e-9, atol=1e-12)
        assert apart.grad is not None
        assert apart.grad.tolist() == [6.0, 6.0]


def test_the_state_of_another_method_is_refused() -> None:
    with pytest.raises(ValueError, match="of another method, RLW"):
        optim.DWA().load_state_dict(optim.RLW().state_dict())
    with pytest.raises(ValueError, match="of another method, CAGrad"):
        optim.MGDA().load_state_dict(optim.CAGrad().state_dict())


@pytest.mark.parametrize(
    "made",
    [
        lambda: optim.UW([0, 1]),  # type: ignore[list-item]
        lambda: optim.IMTL([0, 1]),  # type: ignore[list-item]
        lambda: optim.UW("ab"),
        lambda: optim.GridSearch({0: 1.0}),  # type: ignore[dict-item]
        lambda: optim.FAMO(min_losses={0: 1.0}),  # type: ignore[dict-item]
        lambda: optim.GradDrop(leak={0: 1.0}),  # type: ignore[dict-item]
        lambda: optim.ParetoMTL({0: 1.0, 1: 2.0}),  # type: ignore[dict-item]
    ],
)
def test_tasks_are_named_by_strings(made: Callable[[], Combiner]) -> None:
    with pytest.raises(TypeError, match="string"):
        made()


@pytest.mark.parametrize("name", ["UW", "IMTL"])
def test_learnt_weights_that_no_optimizer_has_are_warned_of_once(name: str) -> None:
    def passes(combiner: Combiner, step: bool) -> None:
        w = torch.ones(2, requires_grad=True)
        optimizer = torch.optim.SGD(combiner.parameters(), lr=0.01)
        for i in range(450):
            combiner.backward({"a": w[0] ** 2, "b": 2 * w[1] ** 2}, [w])
            if step and i % 100 == 99:  # accumulated
                optimizer.step()

    passes(make(name), step=True)
    with pytest.warns(RuntimeWarning, match=r"parameters\(\)") as told:
        passes(make(name), step=False)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["UW", "IMTL"])
def test_frozen_weights_get_no_gradient_and_are_no_reason_for_a_warning(name: str) -> None:
    problem, fixed = Problem(), make(name)
    for s in fixed.parameters():
        s.requires_grad_(False)
    fixed.combine(task_gradients(problem.losses(), problem.parameters))
    w = torch.ones(2, requires_grad=True)
    for _ in range(250):
        fixed.backward({"a": w[0] ** 2, "b": 2 * w[1] ** 2}, [w])
    assert all(s.grad is None for s in fixed.parameters())
