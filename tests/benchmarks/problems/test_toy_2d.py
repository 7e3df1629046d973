"""The two-parameter problem: values worked out by hand, its gradient, its Pareto set and its ties."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize

from dominance.benchmarks.problems.toy_2d import PARETO_X2, STARTS, Toy2D, distance, losses
from dominance.errors import BadOption

torch.set_num_threads(1)


def at(x1: float, x2: float, scale: float = 0.1) -> tuple[float, float]:
    first, second = losses(torch.tensor([x1, x2], dtype=torch.float64), scale)
    return first.item(), second.item()


def test_values_above_the_axis_by_hand() -> None:
    c = math.tanh(4.5)  # x2 = 9: only the f count
    f1 = math.log(8 + -math.tanh(9.0)) + 6  # |0.5 (-9 - 7) - tanh(-9)| = 8 - tanh(9)
    f2 = math.log(abs(-3 - math.tanh(9.0) + 2)) + 6
    assert at(9, 9) == pytest.approx((0.1 * c * f1, c * f2))


def test_values_below_the_axis_by_hand() -> None:
    c = math.tanh(0.5)  # x2 = -1: only the q count
    q1 = (4 + 0.1 * 49) / 10 - 20
    q2 = (256 + 0.1 * 49) / 10 - 20
    assert at(9, -1) == pytest.approx((0.1 * c * q1, c * q2))


def test_the_logarithm_is_bounded() -> None:
    x2 = 1.0
    x1 = -7 + 2 * math.tanh(x2)  # 0.5 (-x1 - 7) - tanh(-x2) = 0
    assert at(x1, x2, scale=1.0)[0] == pytest.approx(math.tanh(0.5) * (math.log(5e-6) + 6))


def test_the_tie_at_the_origin() -> None:
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    first, second = losses(x)
    assert (first.item(), second.item()) == (0.0, 0.0)
    f1, q1 = math.log(3.5) + 6, (49 + 6.4) / 10 - 20
    f2, q2 = math.log(3.5) + 6, (49 + 6.4) / 10 - 20
    assert torch.autograd.grad(first, x, retain_graph=True)[0].tolist() == pytest.approx([0.0, 0.1 * (f1 - q1) / 2])
    assert torch.autograd.grad(second, x)[0].tolist() == pytest.approx([0.0, (f2 - q2) / 2])


@pytest.mark.parametrize("x1", [-6.0, 0.0, 5.0])
def test_on_the_pareto_set_the_gradients_are_opposed(x1: float) -> None:
    x = torch.tensor([x1, PARETO_X2], dtype=torch.float64, requires_grad=True)
    first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses(x))
    assert torch.nn.functional.cosine_similarity(first, second, dim=0).item() == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize(
    ("x", "expected"),
    [((0, PARETO_X2), 0.0), ((-7, PARETO_X2), 0.0), ((3, PARETO_X2 + 2), 2.0), ((10, PARETO_X2 - 4), 5.0)],
)
def test_distance(x: tuple[float, float], expected: float) -> None:
    assert distance(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(expected)


@pytest.mark.parametrize("start", range(5))
def test_a_model_starts_at_its_start(start: int) -> None:
    problem = Toy2D(start=start)
    problem.load(0)
    model = problem.model("point", ("L1", "L2"))
    (x,) = model.parameters()
    assert tuple(x.tolist()) == pytest.approx(STARTS[start])
    batch = next(problem.batches("train", 1))
    outputs = problem.outputs(model, batch)
    found = {task: problem.loss(task, outputs[task], batch.targets[task]).item() for task in batch.targets}
    assert tuple(found.values()) == pytest.approx(at(*STARTS[start]), abs=1e-6)
    scores = problem.score("L1", outputs["L1"].detach(), batch.targets["L1"])
    assert scores == {"loss": pytest.approx(found["L1"]), "distance": pytest.approx(distance(x).item())}


def test_only_the_loss_has_a_gradient() -> None:
    model = Toy2D(start=2).model("point", ("L2",))
    (x,) = model.parameters()
    (output,) = model(torch.zeros(1)).values()
    free = torch.tensor(STARTS[2], requires_grad=True)
    torch.testing.assert_close(torch.autograd.grad(output.sum(), x)[0], torch.autograd.grad(losses(free)[1], free)[0])


def test_the_minimum_of_each_loss_is_an_end_of_the_pareto_set() -> None:
    for task, x1 in ((0, 7.0), (1, -7.0)):

        def loss(x: list[float], task: int = task) -> float:
            return losses(torch.tensor(x, dtype=torch.float64))[task].item()

        found = minimize(loss, [0.8 * x1, -7.5], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}).x
        assert found[0] == pytest.approx(x1, abs=1e-3)
        assert found[1] == pytest.approx(PARETO_X2, abs=0.1)  # the set is bent by that much; published is its middle


def test_an_epoch_is_as_long_as_asked() -> None:
    problem = Toy2D(steps=7)
    assert [len(list(problem.batches(split, 1))) for split in ("train", "val", "test")] == [7, 1, 1]
    assert Toy2D.settings.epochs * Toy2D().steps == 35_000


def test_bad_settings() -> None:
    with pytest.raises(BadOption, match="start=5"):
        Toy2D(start=5)
    with pytest.raises(BadOption, match="mmoe"):
        Toy2D().model("mmoe", ("L1", "L2"))
