from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad
from optim.sampling import jacobians
from torch import Tensor

from dominance.optim import EqualWeight, GradDrop
from dominance.optim.engine.gradients import task_gradients
from dominance.optim.engine.task_gradients import TaskGradients

torch.set_num_threads(1)
F64 = torch.float64


def brute(g: Tensor, u: Tensor, leak: Sequence[float]) -> Tensor:
    """The definition, coordinate by coordinate; rows of masked gradients."""
    rows = torch.zeros_like(g)
    for n in range(g.shape[1]):
        size = float(g[:, n].abs().sum())
        purity = 0.5 * (1 + float(g[:, n].sum()) / size) if size else 0.5
        for k in range(g.shape[0]):
            kept = (purity > u[n] and g[k, n] > 0) or (purity < u[n] and g[k, n] < 0)
            rows[k, n] = g[k, n] * (leak[k] + (1 - leak[k]) * kept)
    return rows


def of_matrix(g: Tensor) -> TaskGradients:
    """Gradients of one shared parameter."""
    tasks = ("a", "b", "c")[: len(g)]
    losses = tuple(torch.zeros(()) for _ in tasks)
    return TaskGradients(tasks, (torch.zeros(g.shape[1]),), [[row] for row in g], losses, (True,))


def draws(combiner: GradDrop, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    twin = torch.Generator()
    twin.set_state(combiner.generator.get_state())
    return [torch.rand(tuple(shape), generator=twin) for shape in shapes]


def test_by_hand() -> None:
    g = torch.tensor([[3.0, 1.0, -2.0, 0.0], [-1.0, 2.0, -1.0, 0.0]])  # purity 3/4, 1, 0, -
    for seed in range(20):
        drop = GradDrop(seed=seed)
        (u,) = draws(drop, [(4,)])
        rows = drop.mix(of_matrix(g)).rows().rows
        positive = bool(u[0] < 0.75)
        assert rows[0][0].tolist() == [3.0 * positive, 1.0, -2.0, 0.0]  # type: ignore[union-attr]
        assert rows[1][0].tolist() == [-1.0 * (not positive), 2.0, -1.0, 0.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("leak", [0.0, {"a": 0.3, "c": 1.0}])
def test_as_the_definition_coordinate_by_coordinate(leak: float | dict[str, float]) -> None:
    problem, drop = Problem(seed=3, dtype=F64), GradDrop(leak=leak, seed=5)
    per_task = [leak.get(task, 0.0) if isinstance(leak, dict) else leak for task in "abc"]
    for _ in range(3):
        problem.batch()
        u = torch.cat([one.reshape(-1) for one in draws(drop, [p.shape for p in problem.shared])])
        expected = brute(problem.flat(), u, per_task)
        mixture = drop.mix(task_gradients(problem.losses(), problem.parameters))
        n = len(problem.shared)
        for row, of_task in zip(mixture.rows().rows, expected, strict=True):
            torch.testing.assert_close(torch.cat([g.reshape(-1) for g in row[:n] if g is not None]), of_task)
        total = torch.cat([g.reshape(-1) for g in mixture.total()[:n] if g is not None])
        torch.testing.assert_close(total, expected.sum(0))
        assert mixture.weights() is None


def test_the_same_vectors_as_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    leaks = {"a": 0.25, "b": 0.0, "c": 0.9}
    for number, g in enumerate(jacobians(300)):
        jacobian = torch.from_numpy(g)
        ours = GradDrop(leak=leaks, seed=number)
        drawn = draws(ours, [(6,)])
        peer = torchjd.GradDrop(leak=torch.tensor(list(leaks.values())[: len(g)], dtype=F64))
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", lambda *_, drawn=drawn, **__: drawn[0])
            expected = peer(jacobian)
        (total,) = ours.mix(of_matrix(jacobian)).total()
        torch.testing.assert_close(total, expected, rtol=1e-12, atol=0)


def test_a_leak_of_one_is_the_plain_sum() -> None:
    plain, drop = Problem(dtype=F64), Problem(dtype=F64)
    EqualWeight().backward(plain.losses(), plain.parameters)
    GradDrop(leak=1.0).backward(drop.losses(), drop.parameters)
    torch.testing.assert_close(flat_grad(plain.parameters), flat_grad(drop.parameters))


def test_one_sign_survives_as_often_as_its_purity() -> None:
    g = torch.tensor([[3.0], [-1.0]]).expand(2, 4000).contiguous()
    (total,) = GradDrop(seed=1).mix(of_matrix(g)).total()
    assert total is not None
    assert float((total > 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert set(total.tolist()) == {3.0, -1.0}


def test_a_transform_bends_the_purity() -> None:
    g = torch.tensor([[3.0], [-1.0]]).expand(2, 100).contiguous()
    (total,) = GradDrop(transform=lambda p: (p > 0.5).to(p.dtype)).mix(of_matrix(g)).total()
    assert total is not None
    assert total.tolist() == [3.0] * 100


def test_heads_are_plain_and_one_task_keeps_everything() -> None:
    problem = Problem(dtype=F64)
    GradDrop().backward(problem.losses(absent=["a", "c"]), problem.parameters)
    expected = task_gradients(problem.losses(absent=["a", "c"]), problem.parameters).rows[0]
    for p, g in zip(problem.parameters, expected, strict=True):
        if g is not None:
            assert p.grad is not None
            torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize("own_inputs", [False, True])
def test_at_the_representation_one_draw_a_feature(own_inputs: bool) -> None:
    problem, drop = Problem(seed=2, dtype=F64), GradDrop(seed=3)
    losses = problem.losses()
    z = problem.representation
    gs = [torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses.values() if loss is not None]
    summed = torch.stack([(g * z.detach().sign()).sum(0) for g in gs])
    (u,) = draws(drop, [(6,)])
    masks = brute(summed, u, [0.0] * 3) != 0
    assert 0 < int(masks.sum()) < masks.numel()
    pulled = torch.stack([g * mask for g, mask in zip(gs, masks, strict=True)]).sum(0)
    expected = torch.autograd.grad(z, problem.shared, pulled, retain_graph=True)
    if own_inputs:
        zs = {task: problem.net.trunk(problem.x) for task in "abc"}
        losses = {
            task: scale * (problem.net.heads[task](zs[task]) - problem.targets[task]).square().mean()
            for task, scale in problem.scales.items()
        }
        drop.backward(losses, problem.parameters, representation=zs)
    else:
        drop.backward(losses, problem.parameters, representation=z)
    torch.testing.assert_close(flat_grad(problem.shared), torch.cat([g.reshape(-1) for g in expected]))


def test_zero_gradients_give_zero_not_nan() -> None:
    (total,) = GradDrop().mix(of_matrix(torch.zeros(2, 3))).total()
    assert total is not None
    assert np.array_equal(total.numpy(), np.zeros(3))


def test_leak_out_of_range() -> None:
    with pytest.raises(ValueError, match="leak is"):
        GradDrop(leak={"a": 1.5})
