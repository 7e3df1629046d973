"""LAdaTask against Eq. 8-9 of the paper, written as loops over numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from optim.random_rows import PRESENT, SHAPES, Stream, as_arrays
from torch import nn

from dominance.optim import AdaTaskAdagrad, AdaTaskAdam, AdaTaskRMSprop

torch.set_num_threads(1)

LR, EPS, GAMMA, B1 = 0.01, 1e-3, 0.9, 0.8
MAKE: dict[str, Callable[..., Any]] = {
    "rmsprop": lambda named, **rest: AdaTaskRMSprop(named, lr=LR, alpha=GAMMA, eps=EPS, **rest),
    "adagrad": lambda named, **rest: AdaTaskAdagrad(named, lr=LR, eps=EPS, **rest),
    "adam": lambda named, **rest: AdaTaskAdam(named, lr=LR, betas=(B1, GAMMA), eps=EPS, **rest),
}
GROUPS: dict[Any, list[str]] = {
    "layer": ["trunk.0", "trunk.0", "trunk.1", "head"],
    "module": ["trunk", "trunk", "trunk", "head"],
}


def equations_8_and_9(
    base: str, groups: list[str], aggregate: str, theta: list[Any], steps: list[dict[str, list[Any]]], decay: float
) -> list[Any]:
    """G of the square of the sum; C of every task that was ever there; Adam corrects both for their bias."""
    C: dict[tuple[str, str], float] = {}
    seen: dict[tuple[str, str], int] = {}
    G, fed = [np.zeros_like(p) for p in theta], [0] * len(theta)
    m: dict[tuple[str, int], Any] = {}
    t: dict[tuple[str, int], int] = {}

    def average(old: Any, new: Any) -> Any:
        return old + new if base == "adagrad" else GAMMA * old + (1 - GAMMA) * new

    for rows in steps:
        full = [
            {
                task: row[j] + decay * theta[j] / sum(r[j] is not None for r in rows.values())
                for task, row in rows.items()
                if row[j] is not None
            }
            for j in range(len(theta))
        ]
        for layer in dict.fromkeys(groups):
            for task in rows:
                squares = [
                    full[j][task].ravel() ** 2 for j in range(len(theta)) if groups[j] == layer and task in full[j]
                ]
                if squares:
                    every = np.concatenate(squares)
                    h = every.mean() if aggregate == "mean" else every.sum()
                    C[layer, task] = average(C.get((layer, task), 0.0), h)
                    seen[layer, task] = seen.get((layer, task), 0) + 1
        for j, parameter in enumerate(theta):
            if not full[j]:
                continue
            G[j], fed[j] = average(G[j], sum(full[j].values()) ** 2), fed[j] + 1
            corrected = {
                task: c / (1 - GAMMA ** seen[layer, task] if base == "adam" else 1)
                for (layer, task), c in C.items()
                if layer == groups[j]
            }
            change = np.zeros_like(parameter)
            for task, g in full[j].items():
                Gk = corrected[task] / sum(corrected.values()) * G[j]
                if base == "adam":
                    t[task, j] = t.get((task, j), 0) + 1
                    m[task, j] = B1 * m.get((task, j), 0) + (1 - B1) * g
                    g, Gk = m[task, j] / (1 - B1 ** t[task, j]), Gk / (1 - GAMMA ** fed[j])
                change -= LR / (np.sqrt(Gk) + EPS) * g
            parameter += change
    return theta


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("base", MAKE)
def test_is_equations_8_and_9(base: str, granularity: str, aggregate: str) -> None:
    stream = Stream()
    named = list(stream.named.items())
    # weights and biases in groups of their own: a layer goes over both
    split = [{"params": [pair for pair in named if ("bias" in pair[0]) == biases]} for biases in (False, True)]
    optimizer = MAKE[base](split, granularity=granularity, aggregate=aggregate, weight_decay=0.1)
    theta = [p.detach().numpy().copy() for p in stream.named.values()]
    seen = []
    for step in range(48):
        gradients = stream.rows(PRESENT[step % len(PRESENT)])
        seen.append(as_arrays(gradients))
        optimizer.step(gradients)
    found = equations_8_and_9(base, GROUPS[granularity], aggregate, theta, seen, 0.1)
    np.testing.assert_allclose(stream.values(), np.concatenate([p.ravel() for p in found]), rtol=1e-11, atol=1e-12)


def test_two_steps_by_hand() -> None:
    p = torch.tensor([3.0, -1.0], dtype=torch.float64, requires_grad=True)
    optimizer = AdaTaskRMSprop([("l.p", p)], lr=1.0, alpha=0.75, eps=0.0, granularity="layer", aggregate="sum")
    stream = Stream()
    for a, b in (([1.0, 1.0], [3.0, 5.0]), ([0.0, 2.0], [1.0, 1.0])):
        gradients = stream.rows(("a", "b"))
        gradients.parameters, gradients.shared = (p,), (True,)
        gradients.rows = [[torch.tensor(a, dtype=torch.float64)], [torch.tensor(b, dtype=torch.float64)]]
        before = p.detach().clone()
        optimizer.step(gradients)
    # first: C = 2/4 and 34/4, G = (16/4, 36/4); second: C = (3/8 + 4/4, 51/8 + 2/4), G = (3 + 1/4, 27/4 + 9/4)
    ca, cb, g1, g2 = 11 / 8, 55 / 8, 13 / 4, 9.0  # shares 1/6 and 5/6
    assert (ca / (ca + cb), cb / (ca + cb)) == pytest.approx((1 / 6, 5 / 6))
    move = [1 / math.sqrt(5 / 6 * g1), 2 / math.sqrt(g2 / 6) + 1 / math.sqrt(5 / 6 * g2)]
    assert (before - p.detach()).tolist() == pytest.approx(move, rel=1e-14)


def test_mean_and_sum_differ_only_where_a_task_reaches_part_of_a_layer() -> None:
    ends = {}
    for everywhere in (True, False):
        for aggregate in ("mean", "sum"):
            stream = Stream()
            optimizer = MAKE["rmsprop"](list(stream.named.items()), granularity="layer", aggregate=aggregate)
            for _ in range(5):
                optimizer.step(stream.rows(everywhere=everywhere))
            ends[everywhere, aggregate] = stream.values()
    np.testing.assert_allclose(ends[True, "mean"], ends[True, "sum"], rtol=1e-12)
    assert np.abs(ends[False, "mean"] - ends[False, "sum"]).max() > 1e-4


def test_any_function_of_name_and_parameter_groups() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []

    def everything(name: str, parameter: torch.Tensor) -> int:
        seen.append((name, tuple(parameter.shape)))
        return 0

    stream = Stream()
    optimizer = MAKE["rmsprop"](list(stream.named.items()), granularity=everything)
    assert seen == list(SHAPES.items())
    optimizer.step(stream.rows())
    assert [p is stream.named["trunk.0.weight"] for p, state in optimizer.state.items() if "layer" in state] == [True]
    unnamed = Stream()
    MAKE["rmsprop"](list(unnamed.named.values()), granularity=lambda name, p: p.ndim).step(unnamed.rows())


def test_layers_need_names() -> None:
    for granularity in ("layer", "module"):
        with pytest.raises(ValueError, match="named_parameters"):
            AdaTaskRMSprop([torch.zeros(2, requires_grad=True)], granularity=granularity)


def test_the_names_that_wrappers_put_before_a_layer_are_no_part_of_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    for prefix in ("", "module.", "module._orig_mod.", "_orig_mod.module.", "_orig_mod."):
        optimizer = AdaTaskRMSprop([(prefix + n, p) for n, p in model.named_parameters()], granularity="module")
        rows = [[torch.ones_like(p) for p in model.parameters()]]
        stream = Stream().rows(("a",))
        stream.parameters, stream.rows, stream.shared = tuple(model.parameters()), rows, (True,) * 4
        optimizer.step(stream)
        assert sum("layer" in state for state in optimizer.state.values()) == 2


def test_a_task_without_gradients_stays_where_it_is() -> None:
    p = torch.ones(3, requires_grad=True)
    optimizer = AdaTaskRMSprop([("l.p", p)], granularity="layer")
    gradients = Stream().rows(("a", "b"))
    gradients.parameters, gradients.rows, gradients.shared = (p,), [[torch.zeros(3)], [torch.zeros(3)]], (True,)
    optimizer.step(gradients)
    assert torch.equal(p, torch.ones(3))
