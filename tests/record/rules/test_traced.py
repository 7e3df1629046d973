"""Steps of classes without a rule: found linear or not by a copy, and split by following the parts through it."""

from __future__ import annotations

import random

import pytest
import torch
from record.attribution_cases import LINEAR, Case, Problem, gap, recorded
from record.rules import foreign
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dominance.record.rules import rule_for, traced_for
from dominance.record.rules.lbfgs_parts import LBFGSParts
from dominance.record.rules.traced import Traced
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")
ADDITIVE = [foreign.Belief, foreign.TrustRatio, foreign.TwoSequences, foreign.PulledBack, foreign.Scratch, foreign.Each,
            foreign.Centred]  # fmt: skip


def fed(problem: Problem) -> dict[Tensor, GradientSplit]:
    """Gradients, with the whole of each as it is before the step."""
    gradients = problem.backward()
    for p, split in gradients.items():
        split.total = p.grad.clone()
    return gradients


@pytest.mark.parametrize("kind", ADDITIVE)
def test_parts_sum_to_the_step(kind: type[foreign.Foreign]) -> None:
    problem = Problem(torch.float64)
    attributor = Attributor(kind(problem.parameters.values()))
    assert attributor.additive
    for step in range(8):
        gradients = fed(problem)
        attributor.before_step(problem.parameters.values())
        attributor.optimizer.step()
        made = attributor.after_step(gradients)
        assert set(made) == set(gradients)
        for split in made.values():
            assert set(split.tasks) >= {"a"}
            assert off(split) <= 1e-6, step
            assert split.unattributed is None


def off(split: object) -> float:
    """``gap``, the pull towards slow weights included."""
    pulled = split.outside  # type: ignore[attr-defined]
    if pulled is not None:
        split.residual = pulled if split.residual is None else split.residual + pulled  # type: ignore[attr-defined]
    return gap(split)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", [case for case in LINEAR if not case.sparse], ids=str)
def test_the_parts_are_those_of_the_rules(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own classes, as if nobody had written a rule: from fresh, and from a state that was there before."""
    for before in (0, 5):
        ruled, followed = case.problem(torch.float64), case.problem(torch.float64)
        optimizers = [case.make(ruled), case.make(followed)]
        for _ in range(before):
            for problem, optimizer in zip((ruled, followed), optimizers, strict=True):
                problem.backward()
                optimizer.step()
        one = Attributor(optimizers[0])
        with monkeypatch.context() as patched:
            patched.setattr("dominance.record.split.attribution.rule_for", lambda optimizer: None)
            other = Attributor(optimizers[1])
        assert rule_for(optimizers[1]) is not None
        assert other.additive
        for _, (expected, made) in zip(range(6), pairs(one, other, ruled, followed), strict=False):
            for split, same in zip(expected.values(), made.values(), strict=True):
                for part in ("residual", "unattributed", "decay"):
                    assert close(getattr(split, part), getattr(same, part), split.total), part
                assert {k for k, u in split.tasks.items() if u.any()} == {k for k, u in same.tasks.items() if u.any()}
                assert all(close(split.tasks[task], u, split.total) for task, u in same.tasks.items())


def pairs(one: Attributor, other: Attributor, ruled: Problem, followed: Problem):  # type: ignore[no-untyped-def]
    for (_, expected), (_, made) in zip(recorded(one, ruled, 6), recorded(other, followed, 6), strict=True):
        yield expected, made


def close(a: Tensor | None, b: Tensor | None, step: Tensor) -> bool:
    """Single precision of the step: parts are followed in it, and so are capturable corrections."""
    zero = torch.zeros_like(step)
    return bool(((zero if a is None else a) - (zero if b is None else b)).abs().max() <= 2e-5 * step.abs().max())


def test_a_pull_towards_slow_weights_is_a_part_of_its_own() -> None:
    p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    attributor = Attributor(foreign.PulledBack([p], lr=0.1))
    made = []
    for a, b in ((1.0, 0.0), (0.0, 2.0)):
        p.grad = torch.tensor([a + b], dtype=torch.float64)
        tasks = {"a": torch.tensor([a]).double(), "b": torch.tensor([b]).double()}
        attributor.before_step([p])
        attributor.optimizer.step()
        made.append(attributor.after_step({p: GradientSplit(tasks)})[p])
    # theta: 1, 0.9, 0.7; slow weights at 1, so halfway back is 0.85: half of b's step stays, and 0.05 come back
    assert made[0].outside is None
    assert made[1].tasks["b"].item() == pytest.approx(-0.1)
    assert made[1].outside is not None
    assert made[1].outside.item() == pytest.approx(0.05)
    assert made[1].decay is None


def test_a_second_sequence_of_weights_remembers_whose_it_is() -> None:
    """Schedule-free by hand: z takes the whole step, the model's weights come after it."""
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    attributor = Attributor(foreign.TwoSequences([p], lr=0.1))
    y, z = {"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}
    for step, (a, b) in enumerate(((1.0, 0.0), (0.0, 2.0), (3.0, 1.0)), start=1):
        p.grad = torch.tensor([a + b], dtype=torch.float64)
        tasks = {"a": torch.tensor([a]).double(), "b": torch.tensor([b]).double()}
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit(tasks)})[p]
        for task, g in (("a", a), ("b", b)):
            moved = (z[task] - y[task]) / step - 0.1 * (1 - 0.9 / step) * g
            y[task] += moved
            z[task] -= 0.1 * g
            made = split.tasks.get(task)
            assert (0.0 if made is None else made.item()) == pytest.approx(moved, abs=1e-7)


def test_an_orthogonalised_momentum_is_split_by_its_preconditioner() -> None:
    """P m, P of the whole momentum: what one task makes of it is as long as its gradients are."""
    p = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    attributor = Attributor(foreign.Orthogonal([p]))
    assert attributor.additive
    for seed in range(5):
        g = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(seed))
        tasks = {"big": 1000 * g[0], "small": g[1]}
        p.grad = tasks["big"] + tasks["small"]
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit(tasks)})[p]
        assert split.closure <= split.rounding
        assert 300 < split.tasks["big"].norm() / split.tasks["small"].norm() < 3000


@pytest.mark.parametrize("kind", [foreign.Signed, foreign.Noisy])
def test_a_step_that_is_not_linear_is_found_out(kind: type[foreign.Foreign]) -> None:
    problem = Problem()
    attributor = Attributor(kind(problem.parameters.values()))
    assert not attributor.additive
    assert not attributor.has_momentum
    assert "not linear" in attributor.note


def test_a_gradient_that_is_rounding_alone_does_not_make_a_class_unlinear() -> None:
    """Of a bias before batch norm, say, in double precision."""
    weight, bias = (torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight.grad, bias.grad = torch.ones_like(weight), torch.full_like(bias, 1e-17)
    assert Attributor(foreign.Scratch([weight, bias])).additive
    assert not Attributor(foreign.Signed([weight, bias])).additive


def test_momentum_from_before_is_unattributed() -> None:
    problem = Problem(torch.float64)
    optimizer = foreign.Belief(problem.parameters.values())
    for _ in range(20):
        problem.backward()
        optimizer.step()
    attributor = Attributor(optimizer)
    assert attributor.has_momentum
    for burst in range(2):
        attributor.begin_burst()
        shares = []
        for _ in range(4):
            gradients = fed(problem)
            attributor.before_step(problem.parameters.values())
            optimizer.step()
            split = attributor.after_step(gradients)[problem.parameters["shared"]]
            assert split.unattributed is not None
            assert gap(split) <= 1e-6, burst
            shares.append(split.unattributed.norm() / split.total.norm())
        assert shares[0] > shares[-1]


def test_a_gradient_that_the_step_drops_is_split_as_it_was_fed() -> None:
    p = torch.ones(2, requires_grad=True)
    attributor = Attributor(foreign.Scratch([p], lr=0.1, weight_decay=0.0))
    p.grad = torch.tensor([1.0, 2.0])
    gradient = GradientSplit({"a": p.grad.clone()}, total=p.grad.clone())
    attributor.before_step([p])
    attributor.optimizer.step()
    assert p.grad is None
    split = attributor.after_step({p: gradient})[p]
    assert split.tasks["a"] == pytest.approx(torch.tensor([-0.1, -0.2]))
    assert split.closure < 1e-6


@pytest.mark.parametrize("kind", [*ADDITIVE, foreign.Signed, foreign.Noisy, foreign.Orthogonal])
def test_the_training_is_the_same_to_the_bit(kind: type[foreign.Foreign]) -> None:
    names = ("shared", "head")
    plain, watched = Problem(names=names), Problem(names=names)
    alone, optimizer = kind(plain.parameters.values()), kind(watched.parameters.values())
    attributor = Attributor(optimizer, "both")
    for _ in range(6):
        for problem, one in ((plain, alone), (watched, optimizer)):
            torch.manual_seed(1)
            random.seed(1)
            gradients = fed(problem)
            if one is optimizer:
                attributor.before_step(problem.parameters.values())
            one.step()
            if one is optimizer:
                attributor.after_step(gradients)
            drawn = (torch.rand(1).item(), random.random())
            if one is alone:
                expected = drawn
        assert drawn == expected
    for p, q in zip(plain.parameters.values(), watched.parameters.values(), strict=True):
        assert torch.equal(p, q)
        assert alone.state[p].keys() == optimizer.state[q].keys()


def test_dispatch_modes_of_the_script_do_not_see_the_copy() -> None:
    p = torch.randn(4, 6, requires_grad=True)
    attributor = Attributor(foreign.Orthogonal([p]))
    p.grad = torch.randn(4, 6)
    with FlopCounterMode(display=False) as counter:
        assert attributor.additive
        attributor.before_step([p])
    assert counter.get_total_flops() == 0


class Counted(foreign.Foreign):
    """Counts in a place that no copy shares, and steps by the count."""

    steps = 0

    def move(self, p: Tensor, g: Tensor, state: dict[str, object], group: dict[str, object]) -> None:
        Counted.steps += 1
        p.sub_(g, alpha=0.01 * Counted.steps)


def test_a_copy_that_does_something_else_is_given_up_with_a_word() -> None:
    p = torch.ones(2, requires_grad=True)
    attributor = Attributor(Counted([p]))
    assert attributor.additive
    for _ in range(2):
        p.grad = torch.ones(2)
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit({"a": p.grad})})[p]
        assert split.tasks == {}
    assert not attributor.additive
    assert "not what it does" in attributor.note
    assert set(split.solo) == {"a"}


class Unfinished(foreign.Foreign):
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        raise ValueError("not yet")


def test_a_class_that_cannot_be_tried() -> None:
    attributor = Attributor(Unfinished([torch.ones(2, requires_grad=True)]))
    assert attributor.cannot_be_tried
    assert "not yet" in attributor.note
    assert not Attributor(foreign.Signed([torch.ones(2, requires_grad=True)])).cannot_be_tried


def test_which_classes_are_followed() -> None:
    p = torch.ones(2, requires_grad=True)
    assert isinstance(traced_for(foreign.Signed([p])), Traced)
    assert traced_for(torch.optim.Rprop([p])) is None
    assert isinstance(traced_for(torch.optim.LBFGS([p])), LBFGSParts)
