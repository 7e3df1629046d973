"""PUB against Algorithm 1 of the paper, written as loops, with an equation solver of its own."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from optim.random_rows import PRESENT, Stream, as_arrays

from dominance.optim import PUB, AdaTask, Clippy, TaskGradients
from dominance.optim.engine.gradients import listeners

torch.set_num_threads(1)

LR, B1, B2, BETA, EPS, DECAY = 0.01, 0.8, 0.9, 0.95, 1e-3, 0.1
COMMON = 3.0
"""Share of the gradients that the tasks have in common: no Pareto stationary points."""


def alpha_of(M: Any) -> Any:
    """M alpha = 1 / alpha by minimising ½ αᵀMα - Σ log α one coordinate after the other, each in closed form."""
    a = 1 / np.sqrt(np.diagonal(M))
    for _ in range(10_000):
        for i in range(len(a)):
            rest = M[i] @ a - M[i, i] * a[i]
            a[i] = (-rest + np.sqrt(rest**2 + 4 * M[i, i])) / (2 * M[i, i])
        if np.abs(a * (M @ a) - 1).max() < 1e-14:
            break
    return a


def algorithm_1(
    base: str,
    theta: list[Any],
    steps: list[dict[str, list[Any]]],
    *,
    shared: Sequence[bool],
    every: int,
    normalise: bool,
    manipulation: str,
    form: str,
) -> tuple[list[Any], dict[str, float]]:
    """Line by line. Parameters of one task alone take its update with alpha = 1."""
    moments: dict[Any, tuple[Any, Any, int]] = {}
    alpha: dict[str, float] = {}

    def key(j: int, task: str) -> Any:
        return (j, task) if manipulation == "adatask" else j

    def moved(kept: Any, g: Any) -> tuple[Any, Any]:
        m, v, _ = kept
        if base == "adam":
            return B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        return g, v + g**2 if base == "adagrad" else BETA * v + (1 - BETA) * g**2

    for count, rows in enumerate(steps):
        solo: dict[tuple[int, str], Any] = {}
        fed: dict[tuple[int, str], Any] = {}
        for j, parameter in enumerate(theta):
            reached = [task for task in rows if rows[task][j] is not None]
            for task in reached:
                g = rows[task][j] + DECAY * parameter / len(reached)
                kept = moments.setdefault(key(j, task), (0 * g, 0 * g, 0))
                m, v = moved(kept, g)
                if form == "paper":
                    update = m / np.sqrt(v + EPS)
                else:
                    t, adam = kept[2] + 1, base == "adam"
                    update = m / (1 - (B1 if adam else 0) ** t) / (np.sqrt(v / (1 - (B2 if adam else 0) ** t)) + EPS)
                if manipulation == "clippy":
                    update = update * min(1, ((0.5 * np.abs(parameter) + 0.01) / np.abs(LR * update)).min())
                solo[j, task], fed[j, task] = update, g
        if count % every == 0 or any(task not in alpha for task in rows):
            zero = [np.zeros(p.size) for p in theta]
            D = np.stack(
                [
                    np.concatenate([solo.get((j, task), z).ravel() for j, z in enumerate(zero) if shared[j]])
                    for task in rows
                ]
            )
            M = D @ D.T
            alpha.update(zip(rows, alpha_of(M / np.linalg.norm(M) if normalise else M), strict=True))
        for j, parameter in enumerate(theta):
            reached = [task for task in rows if (j, task) in solo]
            weight = {task: alpha[task] if shared[j] else 1.0 for task in reached}
            if not reached:
                continue
            parameter -= LR * sum(weight[task] * solo[j, task] for task in reached)
            if manipulation == "adatask":
                for task in reached:
                    moments[j, task] = (*moved(moments[j, task], fed[j, task]), moments[j, task][2] + 1)
            else:
                joint = sum(weight[task] * fed[j, task] for task in reached)
                moments[j] = (*moved(moments[j], joint), moments[j][2] + 1)
    return theta, alpha


@pytest.mark.parametrize(
    ("every", "normalise", "manipulation", "form"),
    [
        (1, False, "", "paper"),
        (1, True, "", "paper"),
        (3, True, "", "torch"),
        (1, True, "clippy", "paper"),
        (2, True, "adatask", "paper"),
        (1, True, "adatask", "torch"),
    ],
)
@pytest.mark.parametrize("base", ["adam", "adagrad", "rmsprop"])
def test_is_algorithm_1(base: Any, every: int, normalise: bool, manipulation: str, form: Any) -> None:
    stream = Stream()
    manipulations: dict[str, Clippy | AdaTask | None] = {"clippy": Clippy(), "adatask": AdaTask(), "": None}
    optimizer = PUB(
        stream.named.values(),
        base,
        lr=LR,
        betas=(B1, B2),
        beta=BETA,
        eps=EPS,
        weight_decay=DECAY,
        every=every,
        manipulation=manipulations[manipulation],
        form=form,
        normalise=normalise,
    )
    theta = [p.detach().numpy().copy() for p in stream.named.values()]
    seen: list[Any] = []
    shared: tuple[bool, ...] = ()
    for step in range(24):
        gradients = stream.rows(PRESENT[step % len(PRESENT)], common=COMMON)
        shared = gradients.shared
        seen.append(as_arrays(gradients))
        optimizer.step(gradients)
    expected, alpha = algorithm_1(
        base, theta, seen, shared=shared, every=every, normalise=normalise, manipulation=manipulation, form=form
    )
    assert optimizer.failures == 0
    assert optimizer.alpha == pytest.approx(alpha, rel=1e-9)
    np.testing.assert_allclose(stream.values(), np.concatenate([p.ravel() for p in expected]), rtol=1e-9, atol=1e-10)


def one_step(p: torch.Tensor, *gs: list[float], tasks: Sequence[str] = ("a", "b", "c")) -> TaskGradients:
    rows: Any = [[torch.tensor(g, dtype=torch.float64)] for g in gs]
    return TaskGradients(tuple(tasks[: len(gs)]), (p,), rows, (torch.tensor(0.0),) * len(gs), (True,))


def test_two_steps_by_hand() -> None:
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = PUB([p], "rmsprop", lr=0.1, beta=0.75, eps=0.25, normalise=False, form="paper")
    optimizer.step(one_step(p, [3.0, 0.0], [0.0, -1.0]))
    # Delta = 3 / sqrt(9/4 + 1/4) and -1 / sqrt(1/4 + 1/4), orthogonal: alpha = 1 / |Delta|, steps of length lr
    assert p.tolist() == pytest.approx([-0.1, 0.1])
    alpha = [np.sqrt(10 / 4) / 3, np.sqrt(2 / 4)]
    assert list(optimizer.alpha.values()) == pytest.approx(alpha)
    # G is fed alpha_a * 3 = sqrt(10)/2 and alpha_b * -1: G = 1/4 * 10/4 and 1/4 * 2/4
    assert optimizer.state[p]["joint"]["v"].tolist() == pytest.approx([10 / 16, 2 / 16])
    optimizer.step(one_step(p, [1.0, 0.0], [0.0, 2.0]))
    assert p.tolist() == pytest.approx([-0.2, 0.0])
    # squared, Delta_a is 1 / (30/64 + 1/4 + 1/4) and Delta_b 4 / (6/64 + 1 + 1/4); alpha is one over its length
    fed = [30 / 64 + 1 / 2, 6 / 64 + 5 / 4]
    assert optimizer.state[p]["joint"]["v"].tolist() == pytest.approx([30 / 64 + fed[0] / 4, 6 / 64 + fed[1] / 4])


@pytest.mark.parametrize("manipulation", [None, AdaTask(), Clippy(lambda_abs=1e6)])
@pytest.mark.parametrize("base", ["adam", "rmsprop", "adagrad"])
def test_with_one_task_it_is_the_base_optimizer(base: Any, manipulation: Any) -> None:
    """Its alpha is 1, by the normalised matrix, whether the parameters count as shared or not."""
    make = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad}[base]
    for shared in (True, False):
        generator = torch.Generator().manual_seed(0)
        p = torch.randn(5, generator=generator, dtype=torch.float64).requires_grad_()
        q = p.detach().clone().requires_grad_()
        ours = PUB([p], base, lr=0.01, weight_decay=1e-2, manipulation=manipulation)
        theirs = make([q], lr=0.01, eps=1e-8, weight_decay=1e-2)
        for _ in range(100):
            q.grad = torch.randn(5, generator=generator, dtype=torch.float64)
            gradients = one_step(p, q.grad.tolist())
            gradients.shared = (shared,)
            ours.step(gradients)
            theirs.step()
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-12)
        assert ours.alpha == (pytest.approx({"a": 1.0}, abs=1e-14) if shared else {})


@pytest.mark.parametrize("tasks", [2, 3])
def test_tasks_with_the_same_update_step_as_many_times_as_far_as_one(tasks: int) -> None:
    moved = []
    for count in (1, tasks):
        p = torch.ones(3, dtype=torch.float64, requires_grad=True)
        optimizer = PUB([p], lr=0.01)
        optimizer.step(one_step(p, *[[1.0, -2.0, 3.0]] * count))
        assert list(optimizer.alpha.values()) == pytest.approx([1.0] * count)
        moved.append(p.detach() - 1)
    torch.testing.assert_close(moved[1], tasks * moved[0])


def test_without_normalising_one_task_moves_along_the_base_optimizers_step_with_length_lr() -> None:
    p = torch.ones(4, dtype=torch.float64, requires_grad=True)
    q = torch.ones(4, dtype=torch.float64, requires_grad=True)
    PUB([p], lr=0.01, normalise=False).step(one_step(p, [1.0, -2.0, 3.0, -1e-8]))
    q.grad = torch.tensor([1.0, -2.0, 3.0, -1e-8], dtype=torch.float64)
    torch.optim.Adam([q], lr=0.01).step()
    moved, parent = p.detach() - 1, q.detach() - 1
    assert moved.norm().item() == pytest.approx(0.01)
    torch.testing.assert_close(moved / moved.norm(), parent / parent.norm(), rtol=1e-12, atol=1e-14)


def test_both_solvers_find_the_same_weights() -> None:
    ends = []
    for solver in ("newton", "sequential"):
        stream = Stream()
        optimizer = PUB(stream.named.values(), solver=solver)  # type: ignore[arg-type]
        for _ in range(4):
            optimizer.step(stream.rows(common=COMMON))
        ends.append(list(optimizer.alpha.values()))
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_where_the_updates_oppose_each_other_the_weights_stay_and_this_is_counted() -> None:
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = PUB([p], "rmsprop", lr=0.1)
    optimizer.step(one_step(p, [1.0, 2.0], [3.0, 1.0]))
    weights = optimizer.alpha
    with pytest.warns(UserWarning, match="opposite"):
        optimizer.step(one_step(p, [1.0, 1.0], [-1.0, -1.0]))
    optimizer.step(one_step(p, [1.0, 1.0], [-1.0, -1.0]))  # no second warning
    assert (optimizer.failures, optimizer.alpha) == (2, weights)
    assert pickle.loads(pickle.dumps(optimizer)).failures == 2


def test_a_task_without_an_update_takes_no_part() -> None:
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = PUB([p], "rmsprop", lr=0.1)
    optimizer.step(one_step(p, [1.0, 2.0], [0.0, 0.0]))
    assert optimizer.alpha == pytest.approx({"a": 1.0, "b": 1.0})
    assert optimizer.failures == 0


def test_an_update_that_is_not_finite_ends_the_training_before_the_step() -> None:
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(FloatingPointError, match="update of b is not finite"):
        PUB([p]).step(one_step(p, [1.0, 2.0], [float("nan"), 0.0]))
    assert p.tolist() == [0.0, 0.0]


def test_alpha_is_solved_every_few_steps_and_for_a_new_task() -> None:
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = PUB([p], every=10)
    generator = torch.Generator().manual_seed(0)
    changes: list[Any] = []
    last: dict[str, float] = {}
    for step in range(25):
        gs = [(torch.rand(3, generator=generator, dtype=torch.float64) + 0.5).tolist() for _ in range(3)]
        optimizer.step(one_step(p, *gs[: 3 if step == 15 else 2]))
        if optimizer.alpha != last:
            changes.append(step)
        last = optimizer.alpha
    assert changes == [0, 10, 15, 20]


def test_the_announced_updates_are_the_step_and_announcing_changes_no_bit() -> None:
    class Told:
        def __init__(self) -> None:
            self.total: dict[int, Any] = {}

        def effective(self, gradients: Any, weights: Any) -> None:
            self.total = {}

        def updates(self, optimizer: Any, parameters: Any, task: str, updates: Any) -> None:
            for p, update in zip(parameters, updates, strict=True):
                self.total[id(p)] = self.total.get(id(p), 0) + update.numpy()

    ends = []
    for listening in (False, True):
        stream, told = Stream(), Told()
        optimizer = PUB(stream.named.values(), weight_decay=0.1)
        listeners.extend([told] if listening else [])  # type: ignore[list-item]
        try:
            for _ in range(4):
                before = stream.values()
                optimizer.step(stream.rows(common=COMMON))
                if listening:
                    total = np.concatenate([told.total[id(p)].ravel() for p in stream.named.values()])
                    np.testing.assert_allclose(stream.values() - before, total, rtol=1e-9, atol=1e-15)
        finally:
            listeners.clear()
        ends.append(stream.values())
    np.testing.assert_array_equal(ends[0], ends[1])


@pytest.mark.parametrize("manipulation", [None, AdaTask(), Clippy()])
def test_state_goes_on_to_the_bit(manipulation: Any) -> None:
    stream = Stream(dtype=torch.float32)
    make = {"every": 3, "manipulation": manipulation}
    optimizer = PUB(stream.named.values(), **make)  # type: ignore[arg-type]
    for _ in range(4):
        optimizer.step(stream.rows(common=COMMON))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed, other = copy.deepcopy(stream.named), copy.deepcopy(stream)
    other.named = resumed
    after = PUB(resumed.values(), **make)  # type: ignore[arg-type]
    after.load_state_dict(torch.load(file, weights_only=True))
    other.generator.set_state(stream.generator.get_state())
    for _ in range(4):
        optimizer.step(stream.rows(common=COMMON))
        after.step(other.rows(common=COMMON))
    np.testing.assert_array_equal(stream.values(), other.values())
    assert after.alpha == optimizer.alpha


def test_options_out_of_their_range_and_states_of_others() -> None:
    p = [torch.zeros(2, requires_grad=True)]
    for options in (
        {"base": "sgd"},
        {"every": 0},
        {"solver": "cvxpy"},
        {"form": "keras"},
        {"manipulation": Clippy},
        {"beta": 1.0},
        {"lr": -1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            PUB(p, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another optimizer"):
        PUB(p).load_state_dict(torch.optim.Adam(p).state_dict())
