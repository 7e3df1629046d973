"""AdaTask against Algorithm 2 of the paper, written as loops over numbers; and what holds for all three bases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from optim.random_rows import PRESENT, Stream, as_arrays

from dominance.optim import AdaTaskAdagrad, AdaTaskAdam, AdaTaskRMSprop
from dominance.optim.engine.gradients import listeners
from dominance.optim.optimizers.adatask import AdaTaskOptimizer

torch.set_num_threads(1)

LR, B1, B2, ALPHA, LR_DECAY, START, EPS = 0.01, 0.8, 0.9, 0.95, 0.1, 0.3, 1e-3
MAKE: dict[str, tuple[Callable[..., AdaTaskOptimizer], dict[str, Any]]] = {
    "adam": (AdaTaskAdam, {"betas": (B1, B2)}),
    "amsgrad": (AdaTaskAdam, {"betas": (B1, B2), "amsgrad": True}),
    "adamw": (AdaTaskAdam, {"betas": (B1, B2), "decoupled_weight_decay": True}),
    "rmsprop": (AdaTaskRMSprop, {"alpha": ALPHA}),
    "adagrad": (AdaTaskAdagrad, {"lr_decay": LR_DECAY, "initial_accumulator_value": START}),
}


def algorithm_2(base: str, theta: list[Any], steps: list[dict[str, list[Any]]], weight_decay: float) -> list[Any]:
    """Task by task and number by number; eps outside the root, as the classes say."""
    m: dict[Any, float] = {}
    G: dict[Any, float] = {}
    top: dict[Any, float] = {}
    t: dict[Any, int] = {}
    for rows in steps:
        for j, parameter in enumerate(theta):
            for i in np.ndindex(parameter.shape):
                reached = {task: row[j][i] for task, row in rows.items() if row[j] is not None}
                before = parameter[i]
                if reached and base == "adamw":
                    parameter[i] -= LR * weight_decay * before
                for task, g in reached.items():
                    key = (task, j, i)
                    if base != "adamw":
                        g = g + weight_decay * before / len(reached)
                    t[key] = t.get(key, 0) + 1
                    if base == "rmsprop":
                        G[key] = ALPHA * G.get(key, 0) + (1 - ALPHA) * g**2
                        parameter[i] -= LR / (math.sqrt(G[key]) + EPS) * g
                    elif base == "adagrad":
                        G[key] = G.get(key, START) + g**2
                        parameter[i] -= LR / (1 + (t[key] - 1) * LR_DECAY) / (math.sqrt(G[key]) + EPS) * g
                    else:
                        G[key] = B2 * G.get(key, 0) + (1 - B2) * g**2
                        m[key] = B1 * m.get(key, 0) + (1 - B1) * g
                        top[key] = max(top.get(key, 0), G[key]) if base == "amsgrad" else G[key]
                        corrected = top[key] / (1 - B2 ** t[key])
                        parameter[i] -= LR / (math.sqrt(corrected) + EPS) * m[key] / (1 - B1 ** t[key])
    return theta


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("base", MAKE)
def test_is_algorithm_2_with_absent_tasks_and_parameters_out_of_reach(
    base: str, weight_decay: float, foreach: bool
) -> None:
    stream = Stream()
    make, options = MAKE[base]
    optimizer = make(stream.named.values(), lr=LR, eps=EPS, weight_decay=weight_decay, foreach=foreach, **options)
    theta = [p.detach().numpy().copy() for p in stream.named.values()]
    seen = []
    for step in range(48):
        gradients = stream.rows(PRESENT[step % len(PRESENT)])
        seen.append(as_arrays(gradients))
        optimizer.step(gradients)
    expected = np.concatenate([p.ravel() for p in algorithm_2(base, theta, seen, weight_decay)])
    np.testing.assert_allclose(stream.values(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("base", MAKE)
def test_a_task_that_does_not_reach_a_parameter_has_no_state_there(base: str) -> None:
    stream = Stream()
    make, options = MAKE[base]
    optimizer = make(stream.named.values(), **options)
    optimizer.step(stream.rows())
    assert set(optimizer.state[stream.named["head.weight"]]["tasks"]) == {"a"}
    assert set(optimizer.state[stream.named["trunk.0.bias"]]["tasks"]) == {"a", "b"}


@pytest.mark.parametrize("base", MAKE)
def test_an_absent_task_neither_moves_the_parameters_nor_its_state(base: str) -> None:
    make, options = MAKE[base]
    stream = Stream()
    optimizer = make(stream.named.values(), **options)
    optimizer.step(stream.rows(["a", "b"]))
    before = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in _state(optimizer, stream, "b").items()}
    theta = stream.named["trunk.1.weight"].detach().clone()
    gradients = stream.rows(["a"])
    gradients.rows[0] = [None, None, None, gradients.rows[0][3]]
    optimizer.step(gradients)
    torch.testing.assert_close(_state(optimizer, stream, "b"), before, rtol=0, atol=0)
    assert torch.equal(theta, stream.named["trunk.1.weight"])


def _state(optimizer: AdaTaskOptimizer, stream: Stream, task: str) -> dict[str, Any]:
    kept: dict[str, Any] = optimizer.state[stream.named["trunk.1.weight"]]["tasks"][task]
    return kept


@pytest.mark.parametrize("granularity", ["parameter", "layer"])
@pytest.mark.parametrize("base", MAKE)
def test_the_order_of_the_tasks_does_not_matter(base: str, granularity: Any) -> None:
    make, options = MAKE[base]
    results = []
    for order in (("a", "b", "c"), ("c", "a", "b")):
        stream = Stream()
        optimizer = make(list(stream.named.items()), granularity=granularity, weight_decay=0.1, **options)
        for _ in range(20):
            optimizer.step(stream.rows(order))
        results.append(stream.values())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("base", ["adam", "amsgrad", "rmsprop", "adagrad"])
def test_multiplying_one_loss_by_a_thousand_changes_nothing(base: str) -> None:
    make, options = MAKE[base]
    results = []
    for factor in (1.0, 1000.0):
        stream = Stream()
        optimizer = make(
            stream.named.values(),
            eps=0.0,
            **{**options, "initial_accumulator_value": 0.0} if base == "adagrad" else options,
        )
        for _ in range(20):
            optimizer.step(stream.rows(factors={"b": factor}))
        results.append(stream.values())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-11)


class Sums:
    """Adds up what is announced."""

    def __init__(self) -> None:
        self.sums: dict[int, torch.Tensor] = {}
        self.told: list[str] = []

    def updates(self, optimizer: Any, parameters: Any, task: str, updates: Any) -> None:
        self.told.append(task)
        for p, update in zip(parameters, updates, strict=True):
            self.sums[id(p)] = self.sums.get(id(p), torch.zeros_like(p)) + update

    def effective(self, gradients: Any, weights: Any) -> None:
        self.told.append("effective")


@pytest.mark.parametrize("granularity", ["parameter", "layer"])
@pytest.mark.parametrize("base", MAKE)
def test_the_announced_updates_are_the_step_and_announcing_changes_no_bit(base: str, granularity: Any) -> None:
    make, options = MAKE[base]
    ends = []
    for listening in (False, True):
        stream = Stream(dtype=torch.float32)
        optimizer = make(list(stream.named.items()), granularity=granularity, weight_decay=0.1, **options)
        for step in range(5):
            before = stream.values()
            told = Sums()
            gradients = stream.rows(PRESENT[step % len(PRESENT)])
            if listening:
                listeners.append(told)  # type: ignore[arg-type]
            try:
                optimizer.step(gradients)
            finally:
                listeners.clear()
            if listening:
                assert told.told[0] == "effective"
                assert set(told.told[1:]) == set(gradients.tasks)
                total = [told.sums.get(id(p), torch.zeros_like(p)) for p in stream.named.values()]
                announced = np.concatenate([u.detach().numpy().ravel() for u in total])
                if base == "adamw":
                    moved = np.concatenate([np.full(p.numel(), id(p) in told.sums) for p in stream.named.values()])
                    announced = announced - np.where(moved, optimizer.param_groups[0]["lr"] * 0.1 * before, 0)
                np.testing.assert_allclose(stream.values() - before, announced, rtol=1e-4, atol=1e-6)
        ends.append(stream.values())
    np.testing.assert_array_equal(ends[0], ends[1])


def elements(state: Any) -> int:
    """Numbers in a state, counts of steps left out."""
    if isinstance(state, dict):
        return sum(elements(value) for key, value in state.items() if key != "step")
    return state.numel() if isinstance(state, torch.Tensor) else 1


@pytest.mark.parametrize(
    ("base", "granularity", "expected"),
    [
        ("rmsprop", "parameter", lambda n, k, layers: n * k),
        ("rmsprop", "layer", lambda n, k, layers: n + layers * k),
        ("adagrad", "layer", lambda n, k, layers: n + layers * k),
        ("adam", "parameter", lambda n, k, layers: 2 * n * k),
        ("adam", "layer", lambda n, k, layers: n * k + n + layers * k),
    ],
)
def test_memory_is_that_of_table_5(base: str, granularity: Any, expected: Any) -> None:
    make, options = MAKE[base]
    stream = Stream()
    optimizer = make(list(stream.named.items()), granularity=granularity, **options)
    for _ in range(3):
        optimizer.step(stream.rows(everywhere=True))
    n = sum(p.numel() for p in stream.named.values())
    assert sum(elements(state) for state in optimizer.state.values()) == expected(n, 3, 3)


@pytest.mark.parametrize("make", [AdaTaskAdam, AdaTaskRMSprop, AdaTaskAdagrad])
def test_options_out_of_their_range(make: Any) -> None:
    p = [torch.zeros(2, requires_grad=True)]
    for options in (
        {"lr": -1.0},
        {"eps": -1.0},
        {"weight_decay": math.nan},
        {"aggregate": "max"},
        {"granularity": "x"},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            make(p, **options)
