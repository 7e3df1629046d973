"""With a GradScaler, training is what it is without one; and what overflows is skipped, and forgotten."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from optim.problems import Problem, flat_grad
from optim.recipes import ALL, make
from torch import Tensor
from torch.amp import GradScaler

from dominance.optim import TaskGradients, task_gradients
from dominance.optim.engine.gradients import listeners
from dominance.optim.engine.task_gradients import finite, times

torch.set_num_threads(1)


def scaler(scale: float = 65536.0, **options: Any) -> GradScaler:
    return GradScaler("cpu", init_scale=scale, **options)


def train(name: str, with_scaler: GradScaler | None, through: bool) -> list[Tensor]:
    problem, combiner = Problem(seed=3), make(name)
    learnt = list(combiner.parameters())
    optimizer = torch.optim.Adam([*problem.parameters, *learnt], lr=0.02)
    for step in range(5):
        problem.batch()
        optimizer.zero_grad()
        losses = problem.losses(("b",) if step == 3 else ())
        representation = problem.representation if through else None
        combiner.backward(losses, problem.parameters, representation=representation, scaler=with_scaler)
        if with_scaler is None:
            optimizer.step()
        else:
            with_scaler.step(optimizer)
            with_scaler.update()
        combiner.after_step(problem.losses(("b",) if step == 3 else ()))
        combiner.epoch()
    return [p.detach() for p in (*problem.parameters, *learnt)]


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_the_scale_makes_no_difference(name: str, through: bool) -> None:
    plainly = train(name, None, through)
    for scale in (1.0, 65536.0):
        for p, truth in zip(train(name, scaler(scale), through), plainly, strict=True):
            torch.testing.assert_close(p, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_an_overflow_is_skipped_and_leaves_no_trace(name: str, through: bool) -> None:
    problem, combiner = Problem(seed=3), make(name)
    optimizer = torch.optim.SGD([*problem.parameters, *combiner.parameters()], lr=0.02)
    scaling = scaler()
    kept = copy.deepcopy([p.detach() for p in (*problem.parameters, *combiner.parameters())])
    before = combiner.state_dict()
    for where in ("gradient", "loss"):
        losses = problem.losses()
        assert losses["b"] is not None
        nothing = 0 * problem.representation.sum()
        losses["b"] = losses["b"] + nothing.sqrt() if where == "gradient" else losses["b"] * torch.nan
        representation = problem.representation if through else None
        combiner.backward(losses, problem.parameters, representation=representation, scaler=scaling)
        assert not finite([p.grad for p in problem.parameters])
        scaling.step(optimizer)
        scaling.update()
        after = combiner.state_dict()
        assert _same(
            {k: v for k, v in after.items() if k != "reach"}, {k: v for k, v in before.items() if k != "reach"}
        )
        now = [p.detach() for p in (*problem.parameters, *combiner.parameters())]
        assert all(torch.equal(p, was) for p, was in zip(now, kept, strict=True))
        optimizer.zero_grad()
    assert scaling.get_scale() == 65536 / 4
    combiner.backward(problem.losses(), problem.parameters, scaler=scaling)
    scaling.step(optimizer)
    assert not torch.equal(problem.parameters[0], kept[0])


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, Mapping):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    return bool(one == two)


@pytest.mark.parametrize("name", sorted({"EqualWeight", "PCGrad", "SI"}))
def test_a_scaler_that_is_off_is_none(name: str) -> None:
    w = torch.ones(1, requires_grad=True)
    make(name).backward({"a": w.sum(), "b": 2 * w.sum()}, [w], scaler=scaler(enabled=False))
    assert finite([w.grad])
    with pytest.raises(FloatingPointError, match="loss of b"):
        make(name).backward({"a": w.sum(), "b": torch.nan * w.sum()}, [w], scaler=scaler(enabled=False))


class Told:
    """Keeps what it is told."""

    gradients: TaskGradients
    weights: Mapping[str, float] | None

    @contextmanager
    def own_passes(self) -> Any:
        yield

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        pass

    def weighted(self, losses: Any, weights: Mapping[str, float], beside: Any, trunk: Sequence[Tensor]) -> Any:
        self.weights = weights
        return lambda: None

    def effective(self, gradients: TaskGradients, weights: Mapping[str, float] | None) -> None:
        self.gradients, self.weights = gradients, weights

    def updates(self, *_: object) -> None:
        pass


def test_listeners_are_told_of_what_lies_in_grad() -> None:
    for name in ("PCGrad", "IMTLG", "MoCoGrad"):
        quiet, loud, one, two = Problem(seed=2), Problem(seed=2), make(name), make(name)
        told = Told()
        for _ in range(3):
            for problem, combiner, heard in ((quiet, one, False), (loud, two, True)):
                problem.batch()
                problem.net.zero_grad()
                listeners.extend([told] if heard else [])
                try:
                    combiner.backward(problem.losses(), problem.parameters, scaler=scaler())
                finally:
                    listeners.clear()
        assert torch.equal(flat_grad(quiet.parameters), flat_grad(loud.parameters))
        for p, g in zip(told.gradients.parameters, told.gradients.total(), strict=True):
            torch.testing.assert_close(p.grad, g, rtol=1e-4, atol=0.1)
        assert told.weights is None or max(told.weights.values()) > 1000


def test_scaled_passes_save_what_half_precision_would_lose() -> None:
    w = torch.ones(1, requires_grad=True)
    losses = {task: (w.half() * 1e-4).float().sum() * 1e-4 for task in ("a", "b")}
    lost = task_gradients(losses, [w], retain_graph=True)
    saved = task_gradients(losses, [w], scale=65536.0)
    assert [float(row[0]) for row in lost.rows if row[0] is not None] == [0.0, 0.0]
    assert [float(row[0]) for row in saved.rows if row[0] is not None] == pytest.approx([1e-8, 1e-8], rel=1e-2)
    assert saved.loss_values() == pytest.approx([1e-8, 1e-8], rel=1e-2)


def test_finite_looks_at_everything() -> None:
    fine = [None, torch.zeros(0), torch.full((3,), 3e38), torch.ones(2, dtype=torch.float64)]
    assert finite(fine)
    assert finite([])
    large = torch.ones(10_000)
    assert finite([*fine, large, large.half() * 60000])
    large[7] = -torch.inf
    assert not finite([*fine, large])
    assert not finite([torch.tensor([torch.inf]), torch.tensor([-torch.inf])])
    for broken in (torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf]), torch.tensor(-torch.inf).half()):
        assert not finite([*fine, broken])
        assert not finite([broken])
    assert times([None, torch.ones(1)], 2.0) == [None, torch.full((1,), 2.0)]
