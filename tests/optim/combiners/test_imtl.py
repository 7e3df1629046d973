from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad
from torch import Tensor, nn

from dominance.optim import IMTL, IMTLG
from dominance.optim.engine.gradients import task_gradients

torch.set_num_threads(1)
F64 = torch.float64


def set_scales(imtl: IMTL, *values: float) -> None:
    with torch.no_grad():
        for s, value in zip(imtl.parameters(), values, strict=True):
            s.fill_(value)


def test_two_tasks_by_hand() -> None:
    """Scaled gradients (2, 0) and (0, 4): alpha is inversely proportional to their lengths, so 2/3 and 1/3."""
    imtl = IMTL(["a", "b"])
    set_scales(imtl, math.log(2), math.log(4))
    w, v = torch.ones(2, dtype=F64, requires_grad=True), torch.ones(2, dtype=F64, requires_grad=True)
    imtl.backward({"a": w[0] + 0 * w[1] + v[0] - 1, "b": w[1] + 0 * w[0] + 0.5}, [w, v])
    assert w.grad is not None
    np.testing.assert_allclose(w.grad, [4 / 3, 4 / 3], rtol=1e-6)
    assert v.grad is not None
    np.testing.assert_allclose(v.grad, [2, 0], rtol=1e-6)  # of task a alone: exp(s)
    # exp(s) L - 1
    assert [s.grad.item() for s in imtl.parameters() if s.grad is not None] == pytest.approx([2 * 1 - 1, 4 * 1.5 - 1])


def test_equal_projections_onto_the_scaled_gradients() -> None:
    problem, imtl = Problem(seed=3, dtype=F64), IMTL(TASKS)
    set_scales(imtl, 0.4, -1.0, 2.0)
    imtl.backward(problem.losses(), problem.parameters)
    unit = nn.functional.normalize(problem.flat(), dim=1)
    projections = unit @ flat_grad(problem.shared)
    torch.testing.assert_close(projections, projections[:1].expand(3), rtol=1e-6, atol=1e-9)


def test_as_algorithm_1_differentiated() -> None:
    """Weights from IMTL-G on the scaled gradients, then autograd on the scaled losses."""
    ours, plain, imtl = Problem(seed=3, dtype=F64), Problem(seed=3, dtype=F64), IMTL(TASKS)
    start = [0.4, -1.0, 2.0]
    set_scales(imtl, *start)
    imtl.backward(ours.losses(), ours.parameters)
    s = [nn.Parameter(torch.tensor(float(torch.tensor(x)), dtype=F64)) for x in start]
    losses = [loss for loss in plain.losses().values() if loss is not None]
    scaled = [torch.exp(x) * loss - x for x, loss in zip(s, losses, strict=True)]
    g = torch.stack([torch.cat([p.reshape(-1) for p in _grad(one, plain.shared)]) for one in scaled])
    alpha = torch.from_numpy(IMTLG().weights((g @ g.T).numpy(), np.ones(3), TASKS))
    torch.testing.assert_close(flat_grad(ours.shared), alpha @ g, rtol=1e-6, atol=1e-9)
    heads = list(plain.net.heads.parameters())
    own = _grad(torch.stack(scaled).sum(), [*heads, *s])
    torch.testing.assert_close(
        flat_grad(list(ours.net.heads.parameters())), torch.cat([x.reshape(-1) for x in own[:-3]]), rtol=1e-6, atol=1e-9
    )
    for mine, theirs in zip(imtl.parameters(), own[-3:], strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad.double(), theirs, rtol=1e-6, atol=1e-9)


def test_the_scales_learn_as_torchjd_says() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    imtl, peer = IMTL(TASKS), scalarization.IMTLL(3).double()
    optimizers = [torch.optim.SGD(list(m.parameters()), lr=0.05) for m in (imtl, peer)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        losses = rng.exponential(size=3)
        for optimizer in optimizers:
            optimizer.zero_grad()
        imtl.weights(np.eye(3), losses, TASKS)
        peer(torch.from_numpy(losses)).backward()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(
        torch.stack(list(imtl.parameters())).detach().double(), peer.log_scale.detach(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("way", ["combine", "representation"])
def test_other_ways_scale_heads_and_learn_the_same(way: str) -> None:
    one, two = Problem(dtype=F64), Problem(dtype=F64)
    mine, other = IMTL(TASKS), IMTL(TASKS)
    for imtl in (mine, other):
        set_scales(imtl, 0.4, -1.0, 2.0)
    mine.backward(one.losses(), one.parameters)
    if way == "combine":
        rows = other.combine(task_gradients(two.losses(), two.parameters))
        for p, g in zip(two.parameters, rows.total(), strict=True):
            p.grad = g
    else:
        losses = two.losses()
        other.backward(losses, two.parameters, representation=two.representation)
    heads = [list(p.net.heads.parameters()) for p in (one, two)]
    torch.testing.assert_close(flat_grad(heads[0]), flat_grad(heads[1]))
    torch.testing.assert_close([s.grad for s in mine.parameters()], [s.grad for s in other.parameters()])


def test_gradients_of_the_scales_add_up_until_they_are_zeroed() -> None:
    imtl = IMTL(["a"])
    for _ in range(2):
        imtl.weights(np.eye(1), np.array([3.0]), ("a",))
    assert [s.grad.item() for s in imtl.parameters() if s.grad is not None] == [4.0]


def test_an_absent_task_and_what_cannot_be() -> None:
    imtl = IMTL(TASKS)
    imtl.weights(np.eye(2), np.ones(2), ("a", "c"))
    assert imtl.log_scales["b"].grad is None
    with pytest.raises(ValueError, match=r"zero or more .* a has -1"):
        imtl.weights(np.eye(1), np.array([-1.0]), ("a",))
    with pytest.raises(ValueError, match="made for a, b, c, not for d"):
        imtl.weights(np.eye(1), np.ones(1), ("d",))


def _grad(loss: Tensor, parameters: list[Tensor] | list[nn.Parameter]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, parameters, retain_graph=True)
