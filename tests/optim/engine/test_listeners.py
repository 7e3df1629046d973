"""A listener is told what the optimizer is fed for each task, and changes no bit of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from optim.architectures import ARCHITECTURES
from torch import Tensor

from dominance.optim.engine.combiner import Combiner, Weighting
from dominance.optim.engine.gradients import listeners, own_passes
from dominance.optim.engine.task_gradients import Matrix, TaskGradients


class Doubling(Weighting):
    """1, 2, 3 ..."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.arange(1, len(tasks) + 1, dtype=np.float64)


class Mixing(Combiner):
    """A full matrix that depends on the gradients."""

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.eye(len(tasks)) + 0.1 * gram / gram.max()


class Told:
    """Copies what it is lent."""

    def __init__(self) -> None:
        self.inside = 0
        self.sums: dict[int, Tensor] = {}
        self.weights: Mapping[str, float] | None = None
        self.order: list[str] = []

    @contextmanager
    def own_passes(self) -> Iterator[None]:
        self.inside += 1
        self.order.append("passes")
        yield
        self.inside -= 1

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        self.order.append("observe")

    def weighted(
        self, losses: Mapping[str, Tensor], weights: Any, beside: Any, trunk: Sequence[Tensor]
    ) -> Callable[[], None]:
        self.order.append("weighted")
        self.weights = weights
        return lambda: self.order.append("done")

    def effective(self, gradients: TaskGradients, weights: Mapping[str, float] | None) -> None:
        self.order.append("effective")
        self.weights = weights
        for row in gradients.rows:
            for p, g in zip(gradients.parameters, row, strict=True):
                if g is not None:
                    self.sums[id(p)] = self.sums[id(p)] + g if id(p) in self.sums else g.clone()


@contextmanager
def listening(listener: Told) -> Iterator[None]:
    listeners.append(listener)  # type: ignore[arg-type]
    try:
        yield
    finally:
        listeners.clear()


@pytest.mark.parametrize("combiner", [Doubling, Mixing])
@pytest.mark.parametrize("name", ["mlp", "experts", "two_levels", "residual_convolutions"])
def test_the_told_gradients_sum_to_grad_and_listening_changes_no_bit(name: str, combiner: type[Combiner]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, losses = ARCHITECTURES[name]()
    made = [losses(), losses()]
    parameters = list(model.parameters())
    results = []
    told = Told()
    for once, heard in zip(made, (False, True), strict=True):
        model.zero_grad()
        if heard:
            with listening(told):
                combiner().backward(once, parameters)
        else:
            combiner().backward(once, parameters)
        results.append([None if p.grad is None else p.grad.clone() for p in parameters])
    for one, two, p in zip(*results, parameters, strict=True):
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            assert torch.equal(one, two)
            torch.testing.assert_close(told.sums[id(p)], two, rtol=1e-4, atol=1e-6)
    assert told.order == ["passes", "effective"]
    assert told.weights == ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5} if combiner is Doubling else None)


def test_a_pass_through_the_representation_is_told_before_and_after() -> None:
    w, v = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    z = w * 2
    told = Told()
    with listening(told):
        Doubling().backward({"a": (z * v).sum(), "b": (z * z).sum()}, [w, v], representation=z)
    assert told.order[-3:] == ["weighted", "passes", "done"]
    assert told.weights == {"a": 1, "b": 2}


def test_own_passes_enter_and_leave_every_listener_also_after_an_error() -> None:
    told = Told()
    with listening(told), own_passes():
        assert told.inside == 1
    assert told.inside == 0
    with own_passes():
        pass
