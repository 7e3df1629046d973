from __future__ import annotations

import math

import pytest
import torch
from optim.problems import Problem, flat_grad
from torch import Tensor

from dominance.optim import EqualWeight, MoCoGrad
from dominance.optim.engine.gradients import task_gradients

torch.set_num_threads(1)
F64 = torch.float64


def brute(
    gs: list[Tensor], ms: list[Tensor], lam: float, beta: float, average: str, t: int, power: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Algorithm 1 on whole vectors, with the momenta moved once a step."""
    calibrated = []
    for i, g_i in enumerate(gs):
        hat = g_i.clone()
        for j, g_j in enumerate(gs):
            if i != j and 1 - torch.cosine_similarity(g_i, g_j, dim=0) > 1 and ms[j].norm() > 0:
                hat += lam / t**power * g_j.norm() / ms[j].norm() * ms[j]
        calibrated.append(hat)
    fed = {"raw": gs, "calibrated": calibrated, "joint": [torch.stack(calibrated).sum(dim=0)] * len(gs)}[average]
    return calibrated, [beta * m + (1 - beta) * g for m, g in zip(ms, fed, strict=True)]


def two(w: Tensor, a: list[float], b: list[float]) -> dict[str, Tensor | None]:
    return {"a": w @ torch.tensor(a, dtype=w.dtype), "b": w @ torch.tensor(b, dtype=w.dtype)}


def step(combiner: MoCoGrad, w: Tensor, a: list[float], b: list[float]) -> list[float]:
    w.grad = None
    combiner.backward(two(w, a, b), [w])
    assert w.grad is not None
    return list(w.grad.tolist())


def test_two_tasks_by_hand() -> None:
    w = torch.zeros(2, dtype=F64, requires_grad=True)
    moco = MoCoGrad(lam=0.5, beta1=0.5)
    assert step(moco, w, [2.0, 0.0], [-1.0, 1.0]) == [1.0, 1.0]  # no momentum yet: the plain sum
    # m_a = (1, 0), m_b = (-0.5, 0.5); ĝ_a = (0, 4) + 0.5 * 3 * (-1, 1) / sqrt 2, ĝ_b = (0, -3) + 0.5 * 4 * (1, 0)
    share = 1.5 / math.sqrt(2)
    assert step(moco, w, [0.0, 4.0], [0.0, -3.0]) == pytest.approx([2 - share, 1 + share], abs=1e-14)
    # m_a = (0.5, 2), m_b = (-0.25, -1.25): no conflict now, so nothing is added
    assert step(moco, w, [1.0, 0.0], [1.0, 1.0]) == [2.0, 1.0]


def test_the_two_averages_differ_from_the_second_conflict_on() -> None:
    found = {}
    for average in ("raw", "calibrated"):
        w = torch.zeros(2, dtype=F64, requires_grad=True)
        moco = MoCoGrad(lam=1.0, beta1=0.5, average=average)  # type: ignore[arg-type]
        steps = [step(moco, w, [2.0, 0.0], [-1.0, 1.0]) for _ in range(3)]
        found[average] = [[round(x, 6) for x in row] for row in steps]
    assert found["raw"][:2] == found["calibrated"][:2]
    assert found["raw"][2] != found["calibrated"][2]


@pytest.mark.parametrize("average", ["raw", "calibrated", "joint"])
@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_as_algorithm_1_on_whole_vectors(average: str, power: float, dtype: torch.dtype, close: float) -> None:
    problem = Problem(seed=3, dtype=dtype)
    moco = MoCoGrad(lam=0.7, average=average, decay_power=power)  # type: ignore[arg-type]
    momenta = [torch.zeros(sum(p.numel() for p in problem.shared), dtype=dtype) for _ in range(3)]
    conflicts = 0
    for t in range(1, 9):
        problem.batch()
        gs = list(problem.flat())
        conflicts += sum(float(a @ b) < 0 for a in gs for b in gs)
        hats, momenta = brute(gs, momenta, 0.7, 0.9, average, t, power)
        problem.net.zero_grad()
        moco.backward(problem.losses(), problem.parameters)
        expected = torch.stack(hats).sum(0)
        assert (flat_grad(problem.shared) - expected).norm() <= close * expected.norm()
    assert conflicts > 4
    assert moco.steps == 8


def test_rows_sum_to_the_total_and_heads_are_plain() -> None:
    problem = Problem(seed=3, dtype=F64)
    moco, plain = MoCoGrad(lam=0.9), EqualWeight()
    for _ in range(4):
        problem.batch()
        problem.net.zero_grad()
        moco.backward(problem.losses(), problem.parameters)
    heads = list(problem.net.heads.parameters())
    moved = flat_grad(heads)
    problem.net.zero_grad()
    plain.backward(problem.losses(), problem.parameters)
    torch.testing.assert_close(moved, flat_grad(heads))
    problem.batch()
    gradients = task_gradients(problem.losses(), problem.parameters)
    mixture = moco.mix(gradients)
    rows = mixture.rows()
    for total, summed in zip(mixture.total(), rows.total(), strict=True):
        torch.testing.assert_close(total, summed)


def test_an_absent_task_keeps_its_momentum_and_one_task_is_plain() -> None:
    problem = Problem(dtype=F64)
    moco = MoCoGrad()
    moco.backward(problem.losses(), problem.parameters)
    kept = {key: m.clone() for key, m in moco.momenta["b"].items()}
    before = {key: m.clone() for key, m in moco.momenta["a"].items()}
    problem.net.zero_grad()
    moco.backward(problem.losses(absent=["b", "c"]), problem.parameters)
    assert kept.keys() == moco.momenta["b"].keys()
    assert all(torch.equal(m, moco.momenta["b"][key]) for key, m in kept.items())
    assert not all(torch.equal(m, moco.momenta["a"][key]) for key, m in before.items())
    torch.testing.assert_close(flat_grad(problem.shared), problem.flat(absent=["b", "c"])[0])


def test_no_momentum_is_kept_for_heads() -> None:
    problem = Problem()
    moco = MoCoGrad()
    moco.backward(problem.losses(), problem.parameters)
    shared = [i for i, p in enumerate(problem.parameters) if any(p is q for q in problem.shared)]
    assert list(moco.momenta["a"]) == shared


@pytest.mark.parametrize("own_inputs", [False, True])
def test_at_the_representation(own_inputs: bool) -> None:
    """The definition, spelled out at the representation; batches of different sizes."""
    problem = Problem(seed=6, dtype=F64, scales=(1.0, 1.0))
    moco = MoCoGrad(lam=0.8)
    means = {task: torch.zeros(6, dtype=F64) for task in "ab"}
    conflicts = 0
    for size in (8, 5, 7, 6, 9, 4, 8, 5, 7):
        problem.batch(size)
        losses = problem.losses()
        z = problem.representation
        a, b = (torch.autograd.grad(losses[t], z, retain_graph=True)[0] for t in "ab")  # type: ignore[arg-type]
        pulled = a + b
        if (a * b).sum() < 0:
            conflicts += 1
            for g, m in ((a, means["a"]), (b, means["b"])):
                if m.norm() > 0:
                    spread = m.expand_as(g)
                    pulled = pulled + 0.8 * g.norm() / spread.norm() * spread
        expected = torch.autograd.grad(z, problem.shared, pulled, retain_graph=True)
        means = {t: 0.9 * means[t] + 0.1 * g.mean(0) for t, g in (("a", a), ("b", b))}
        problem.net.zero_grad()
        if own_inputs:
            zs = {t: problem.net.trunk(problem.x) for t in "ab"}
            losses = {t: (problem.net.heads[t](zs[t]) - problem.targets[t]).square().mean() for t in "ab"}
            moco.backward(losses, problem.parameters, representation=zs)
        else:
            moco.backward(losses, problem.parameters, representation=z)
        torch.testing.assert_close(flat_grad(problem.shared), torch.cat([g.reshape(-1) for g in expected]))
    assert conflicts > 1


def test_at_representations_of_different_batch_sizes() -> None:
    """Whatever the order of the tasks: averages decide on the conflict, norms are those of the gradients."""
    found = []
    for tasks in (("a", "b"), ("b", "a")):
        problem = Problem(seed=6, dtype=F64, scales=(1.0, 1.0))
        generator = torch.Generator().manual_seed(3)
        moco = MoCoGrad(lam=0.8)
        means = {task: torch.zeros(6, dtype=F64) for task in "ab"}
        conflicts = 0
        for _ in range(16):
            zs, losses = {}, {}
            for task, size in (("a", 8), ("b", 5)):
                x = torch.randn(size, 4, generator=generator, dtype=F64)
                y = torch.randn(size, 1, generator=generator, dtype=F64)
                zs[task] = problem.net.trunk(x)
                losses[task] = (problem.net.heads[task](zs[task]) - y).square().mean()
            g = {t: torch.autograd.grad(losses[t], zs[t], retain_graph=True)[0] for t in "ab"}
            pulled = dict(g)
            if g["a"].mean(0) @ g["b"].mean(0) < 0 and means["a"].norm() > 0:
                conflicts += 1
                for t, m in means.items():
                    pulled[t] = g[t] + 0.8 * g[t].norm() / m.expand_as(g[t]).norm() * m.expand_as(g[t])
            expected = torch.autograd.grad(
                [zs["a"], zs["b"]], problem.shared, [pulled["a"], pulled["b"]], retain_graph=True
            )
            means = {t: 0.9 * means[t] + 0.1 * g[t].mean(0) for t in "ab"}
            problem.net.zero_grad()
            moco.backward({t: losses[t] for t in tasks}, problem.parameters, representation=zs)
            torch.testing.assert_close(flat_grad(problem.shared), torch.cat([e.reshape(-1) for e in expected]))
        assert 1 < conflicts < 16
        found.append(flat_grad(problem.shared))
    torch.testing.assert_close(*found)


def test_representations_of_different_features_are_refused() -> None:
    w = torch.ones(4, 3, requires_grad=True)
    zs = {"a": w * 2, "b": w[:, :2] * 2}
    losses = {"a": zs["a"].sum(), "b": zs["b"].sum()}
    with pytest.raises(ValueError, match=r"more than the number of samples: a \(4, 3\), b \(4, 2\)"):
        MoCoGrad().backward(losses, [w], representation=zs)


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_momentum_stays_with_its_parameter_while_others_freeze(filtered: bool, resumed: bool) -> None:
    """Against momenta by parameter, over steps in which one of two equally shaped layers is frozen in turn."""
    if filtered and resumed:
        pytest.skip("a state goes by the order of all parameters")
    problem, moco = Problem(seed=3, dtype=F64), MoCoGrad(lam=0.7)
    momenta = {(task, i): torch.zeros_like(p) for task in "abc" for i, p in enumerate(problem.shared)}
    first, second = problem.net.trunk[0].bias, problem.net.trunk[2].bias  # of the same shape
    calibrated = 0
    for t, frozen in enumerate((first, first, first, second, second, None, first, None, second)):
        for p in problem.shared:
            p.requires_grad_(p is not frozen)
        problem.batch()
        problem.net.zero_grad()
        losses = problem.losses()
        there = [i for i, p in enumerate(problem.shared) if p.requires_grad]
        wanted = [problem.shared[i] for i in there]
        gs = [torch.autograd.grad(loss, wanted, retain_graph=True) for loss in losses.values() if loss is not None]
        flat = [torch.cat([x.reshape(-1) for x in g]) for g in gs]
        ms = [torch.cat([momenta[task, i].reshape(-1) for i in there]) for task in "abc"]
        hats, moved = brute(flat, ms, 0.7, 0.9, "raw", t + 1, 0.0)
        calibrated += any(not torch.equal(hat, g) for hat, g in zip(hats, flat, strict=True))
        for task, m in zip("abc", moved, strict=True):
            for i, part in zip(there, m.split([p.numel() for p in wanted]), strict=True):
                momenta[task, i] = part.reshape(problem.shared[i].shape)
        given = [p for p in problem.parameters if p.requires_grad or not filtered]
        moco.backward(losses, given)
        torch.testing.assert_close(flat_grad(wanted), torch.stack(hats).sum(0))
        if resumed:
            state, moco = moco.state_dict(), MoCoGrad(lam=0.7)
            moco.load_state_dict(state)
    assert calibrated > 3


def test_the_state_of_another_model_is_refused() -> None:
    problem, moco = Problem(), MoCoGrad()
    moco.backward(problem.losses(), problem.parameters)
    other = MoCoGrad()
    other.load_state_dict(moco.state_dict())
    with pytest.raises(ValueError, match="of a is of other parameters"):
        other.backward(problem.losses(), [*problem.parameters[1:], problem.parameters[0]])


def test_not_finite() -> None:
    w = torch.zeros(2, requires_grad=True)
    with pytest.raises(FloatingPointError, match="gradient of a is not finite"):
        MoCoGrad().backward(two(w, [math.inf, 0.0], [1.0, 0.0]), [w])


@pytest.mark.parametrize("wrong", [{"lam": 0.0}, {"lam": 1.5}, {"beta1": 1.0}, {"decay_power": -1}, {"average": "x"}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MoCoGrad(**wrong)  # type: ignore[arg-type]
