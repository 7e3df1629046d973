"""What listeners are told of each combiner's gradients: they sum to what was fed, and listening changes no bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
import torch
from optim.problems import Problem, flat_grad
from optim.recipes import ALL, make
from torch import Tensor
from torch.optim import Optimizer

from dominance.optim import GradDrop, LossWeighting, MoCoGrad, TaskGradients
from dominance.optim.engine.gradients import listeners
from dominance.optim.engine.task_gradients import Loss

torch.set_num_threads(1)


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.gradients: TaskGradients | None = None
        self.weights: Mapping[str, float] | None = None
        self.heads: Mapping[str, float] | None = None
        self.trunk: Sequence[Tensor] = ()

    @contextmanager
    def own_passes(self) -> Iterator[None]:
        yield

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        pass

    def weighted(
        self,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
        beside: Mapping[str, float],
        trunk: Sequence[Tensor],
    ) -> Callable[[], None]:
        self.weights, self.heads, self.trunk = weights, beside, trunk
        return lambda: None

    def effective(self, gradients: TaskGradients, weights: Mapping[str, float] | None) -> None:
        self.gradients = gradients

    def updates(self, optimizer: Optimizer, parameters: Sequence[Tensor], task: str, updates: Sequence[Tensor]) -> None:
        pass


@contextmanager
def listening(told: Told) -> Iterator[Told]:
    listeners.append(told)
    try:
        yield told
    finally:
        listeners.remove(told)


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_the_parts_sum_to_the_whole_and_no_bit_changes(name: str, through: bool) -> None:
    quiet, loud = Problem(seed=2, dtype=torch.float64), Problem(seed=2, dtype=torch.float64)
    one, two = make(name), make(name)
    parts = 0
    for _ in range(4):
        for problem in (quiet, loud):
            problem.batch()
            problem.net.zero_grad()
        losses = quiet.losses()
        one.backward(losses, quiet.parameters, representation=quiet.representation if through else None)
        losses = loud.losses()
        with listening(Told()) as told:
            two.backward(losses, loud.parameters, representation=loud.representation if through else None)
        assert torch.equal(flat_grad(quiet.parameters), flat_grad(loud.parameters))
        if told.gradients is not None:
            parts += 1
            for p, g in zip(told.gradients.parameters, told.gradients.total(), strict=True):
                torch.testing.assert_close(p.grad, g)
        elif told.weights is not None and told.heads is not None:
            parts += 1
            weights = torch.tensor(list(told.weights.values()), dtype=torch.float64)
            torch.testing.assert_close(flat_grad(loud.shared), weights @ loud.flat())
            assert [id(p) for p in told.trunk] == [id(p) for p in loud.shared]
            own = torch.autograd.grad(loud.losses()["b"], list(loud.net.heads["b"].parameters()))  # type: ignore[arg-type]
            for p, g in zip(loud.net.heads["b"].parameters(), own, strict=True):
                torch.testing.assert_close(p.grad, told.heads["b"] * g)
    assert parts == (0 if isinstance(one, LossWeighting) else 4)


@pytest.mark.parametrize("kind", [MoCoGrad, GradDrop])
def test_what_is_no_weighted_sum_is_told_part_by_part(kind: type[MoCoGrad | GradDrop]) -> None:
    """Through the representation: each row is that task's manipulated gradient, as a pass of its own gives it."""
    problem, combiner = Problem(seed=2, dtype=torch.float64), kind()
    for _ in range(6):
        problem.batch()
        problem.net.zero_grad()
        losses = problem.losses()
        with listening(Told()) as told:
            combiner.backward(losses, problem.parameters, representation=problem.representation)
        if told.gradients is not None:
            break
    assert told.gradients is not None
    assert told.gradients.tasks == ("a", "b", "c")
    head = [p is problem.net.heads["a"].weight for p in told.gradients.parameters].index(True)
    assert [row[head] is None for row in told.gradients.rows] == [False, True, True]
    assert len({float(row[-1].norm()) for row in told.gradients.rows if row[-1] is not None}) == 3
