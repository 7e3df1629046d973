"""The solo update is the step of a separate optimizer given one task's gradient and the state before the step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from record.attribution_cases import LINEAR, Case, Problem, recorded
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dominance.record.guest.hidden import is_hidden
from dominance.record.rules.solo import shadow_of
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")

NONLINEAR = [Case("Rprop", {}), Case("Rprop", {"maximize": True, "etas": (0.3, 1.5)})]
MUON = [Case("Muon", {"weight_decay": 0.1}), Case("Muon", {"nesterov": False, "momentum": 0.5})]
MUON = MUON if hasattr(torch.optim, "Muon") else []


def problem_of(case: Case) -> Problem:
    if case.name == "Muon":
        return Problem(names=("shared", "head", "lazy"))
    return case.problem()


def alone(
    case: Case, optimizer: torch.optim.Optimizer, given: dict[Tensor, GradientSplit], task: str
) -> dict[Tensor, Tensor]:
    """The step of a newly built optimizer that has the state of ``optimizer`` and is given this gradient alone."""
    before = [[p.detach().clone() for p in group["params"]] for group in optimizer.param_groups]
    twin = getattr(torch.optim, case.name)([{"params": [p.clone() for p in group]} for group in before], lr=1.0)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group, originals in zip(twin.param_groups, optimizer.param_groups, strict=True):
        group.update({name: 0.0 for name in ("weight_decay", "lambd") if name in group})
        for q, p in zip(group["params"], originals["params"], strict=True):
            gradient = given[p].tasks.get(task) if p in given else None
            q.grad = gradient.to_sparse(1) if case.sparse and gradient is not None else gradient
    twin.step()
    return {
        p: q - old
        for group, originals, olds in zip(twin.param_groups, optimizer.param_groups, before, strict=True)
        for q, p, old in zip(group["params"], originals["params"], olds, strict=True)
    }


@pytest.mark.parametrize("case", [*LINEAR, *NONLINEAR, *MUON], ids=str)
def test_against_a_separate_optimizer(case: Case) -> None:
    problem = problem_of(case)
    optimizer = case.make(problem)
    attributor = Attributor(optimizer, "both")
    assert attributor.additive == (case not in NONLINEAR)
    for _ in range(6):
        given = problem.backward()
        expected = {task: alone(case, optimizer, given, task) for task in ("a", "b")}
        attributor.before_step(problem.parameters.values())
        optimizer.step()
        made = attributor.after_step(given)
        assert set(made) == set(given)
        for p, split in made.items():
            assert set(split.solo) == set(given[p].tasks)
            assert all(torch.equal(split.solo[task], expected[task][p]) for task in split.solo)


@pytest.mark.parametrize("case", NONLINEAR, ids=str)
def test_a_step_that_is_not_linear_is_split_solo_only(case: Case) -> None:
    problem = problem_of(case)
    attributor = Attributor(case.make(problem), "additive")
    assert not attributor.has_momentum
    assert "not linear" in attributor.note
    assert "solo update" in attributor.note
    for _, splits in recorded(attributor, problem, 3):
        for split in splits.values():
            assert split.tasks == {}
            assert set(split.solo) >= {"a"}
            assert math.isnan(split.closure)
            assert split.total.any()


def test_solo_alone_leaves_the_additive_update_out() -> None:
    case = Case("Adam", {})
    problem = case.problem()
    attributor = Attributor(case.make(problem), "solo")
    assert attributor.additive
    for _, splits in recorded(attributor, problem, 3):
        for split in splits.values():
            assert split.tasks == {}
            assert math.isnan(split.closure)
            assert split.solo


def test_adam_by_hand() -> None:
    """PUB, Algorithm 1 with torch's bias corrections: the shared moments m and v, and the task's own gradient."""
    lr, beta1, beta2 = 0.1, 0.9, 0.99
    p = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    attributor = Attributor(torch.optim.Adam([p], lr=lr, betas=(beta1, beta2), eps=0.0, weight_decay=0.3), "solo")
    m = v = 0.0
    for t, (a, b) in enumerate([(3.0, 1.0), (-1.0, 0.5)], start=1):
        tasks = {"a": torch.tensor([a]).double(), "b": torch.tensor([b]).double()}
        p.grad = tasks["a"] + tasks["b"]
        fed = a + b + 0.3 * p.item()
        attributor.before_step([p])
        attributor.optimizer.step()
        solo = attributor.after_step({p: GradientSplit(tasks)})[p].solo
        for task, g in (("a", a), ("b", b)):
            first, second = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            step = -lr * first / (1 - beta1**t) / math.sqrt(second / (1 - beta2**t))
            assert solo[task].item() == pytest.approx(step, rel=1e-12)
        m, v = beta1 * m + (1 - beta1) * fed, beta2 * v + (1 - beta2) * fed * fed


@pytest.fixture
def calls() -> Iterator[list[torch.optim.Optimizer]]:
    """Every optimizer whose step the global hooks see."""
    seen: list[torch.optim.Optimizer] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(optimizer))
    yield seen
    handle.remove()


def test_no_hook_fires_for_a_copy(calls: list[torch.optim.Optimizer]) -> None:
    case = Case("Adam", {})
    problem = case.problem()
    optimizer = case.make(problem)
    own: list[Any] = []
    optimizer.register_step_post_hook(lambda *_: own.append(1))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)  # replaces optimizer.step by a counting one
    for _ in recorded(Attributor(optimizer, "both"), problem, 3):
        schedule.step()
    assert calls == [optimizer] * 3
    assert own == [1, 1, 1]


class Uncopyable:
    def __deepcopy__(self, memo: object) -> object:
        raise AssertionError("copied")

    def hook(self, *_: object) -> None:
        return None


def test_what_hangs_on_the_optimizer_is_not_copied() -> None:
    case = Case("SGD", {"momentum": 0.9})
    problem = case.problem()
    optimizer = case.make(problem)
    optimizer.register_state_dict_post_hook(Uncopyable().hook)
    optimizer.register_load_state_dict_pre_hook(Uncopyable().hook)
    optimizer.zero_grad = optimizer.zero_grad  # type: ignore[method-assign]  # a bound method, as wrappers leave behind
    for _, splits in recorded(Attributor(optimizer, "solo"), problem, 2):
        assert all(split.solo for split in splits.values())
    shadow, _ = shadow_of(optimizer)
    assert shadow.zero_grad.__self__ is shadow  # type: ignore[attr-defined]


class SignSGD(torch.optim.Optimizer):
    """Somebody's own optimizer: it prints, it draws random numbers, it keeps a counter on itself."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.count = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        print("stepping")
        self.count += 1
        torch.rand(1)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad.sign(), alpha=-group["lr"])


def test_an_unknown_class_is_copied_unheard_and_unseen(capsys: pytest.CaptureFixture[str]) -> None:
    p = torch.zeros(3, requires_grad=True)
    optimizer = SignSGD([p], lr=0.1)
    attributor = Attributor(optimizer)
    assert not attributor.additive
    torch.manual_seed(1)
    a, b = torch.tensor([1.0, -1.0, 0.0]), torch.tensor([5.0, 5.0, 5.0])
    p.grad = a + b
    attributor.before_step([p])
    optimizer.step()
    split = attributor.after_step({p: GradientSplit({"a": a, "b": b})})[p]
    assert torch.equal(split.solo["a"], torch.tensor([-0.1, 0.1, 0.0]))
    assert torch.equal(split.solo["b"], torch.full((3,), -0.1))
    assert optimizer.count == 1
    assert capsys.readouterr().out == "stepping\n"
    after = torch.rand(1)
    torch.manual_seed(1)
    torch.rand(1)
    assert torch.equal(after, torch.rand(1))


class NeedsClosure(SignSGD):
    def step(self, closure: Callable[[], float]) -> None:  # type: ignore[override]
        closure()
        super().step()


def test_an_unknown_class_whose_step_cannot_be_repeated() -> None:
    p = torch.zeros(3, requires_grad=True)
    optimizer = NeedsClosure([p], lr=0.1)
    attributor = Attributor(optimizer)
    p.grad = torch.ones(3)
    for _ in range(2):
        attributor.before_step([p])
        optimizer.step(lambda: 0.0)
        split = attributor.after_step({p: GradientSplit({"a": p.grad})})[p]
        assert split.tasks == {}
        assert split.solo["a"].isnan().all()
        assert torch.equal(split.total, torch.full((3,), -0.1))
    assert "no solo update" in attributor.note
    assert "closure" in attributor.note


class Clipped(torch.optim.Adam):
    """Overrides the step and calls the parent's, which has hooks of its own."""

    def step(self, closure: Any = None) -> Any:
        torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 1.0)
        return super().step(closure)


def test_a_subclass_with_a_step_of_its_own(calls: list[torch.optim.Optimizer]) -> None:
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # from now on the parent's step runs hooks too
    p = torch.zeros(2, requires_grad=True)
    optimizer = Clipped([p], lr=0.1)
    attributor = Attributor(optimizer, "both")
    p.grad = torch.tensor([3.0, 4.0])
    attributor.before_step([p])
    optimizer.step()
    split = attributor.after_step({p: GradientSplit({"a": torch.tensor([30.0, 0.0])})})[p]
    assert split.solo["a"] == pytest.approx(torch.tensor([-0.1, 0.0]))
    assert [is_hidden(seen) for seen in calls if seen is not optimizer] == [True] * (len(calls) - 2)


def test_processes_that_talk_to_each_other_are_not_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    p = torch.zeros(2, requires_grad=True)
    attributor = Attributor(SignSGD([p], lr=0.1))
    assert "no solo update" in attributor.note
    p.grad = torch.ones(2)
    attributor.before_step([p])
    attributor.optimizer.step()
    assert attributor.after_step({p: GradientSplit({"a": p.grad})})[p].solo["a"].isnan().all()
    assert "no solo update" not in Attributor(torch.optim.Adam([p]), "solo").note


@pytest.mark.parametrize("momentum", [0.1, 0.9])
def test_a_solo_update_that_the_momentum_decides_is_told(momentum: float) -> None:
    """Of a task with hardly any gradient, the solo update is the momentum that the other task made."""
    p = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=momentum)
    attributor = Attributor(optimizer, "solo")
    assert not attributor.state_dominated
    for step in range(2):
        tasks = {"a": torch.tensor([1.0, 1.0, 1.0]), "b": torch.tensor([-0.3, 0.3, 0.3])}
        p.grad = tasks["a"] + tasks["b"]
        attributor.before_step([p])
        optimizer.step()
        attributor.after_step({p: GradientSplit(tasks)})
        # of b, |g| / |momentum (a + b) + g| is 0.9 and 0.3
        assert attributor.state_dominated == (momentum == 0.9 and step == 1)
    assert ("mostly the optimizer's momentum" in attributor.note) == (momentum == 0.9)


class Generating(SignSGD):
    """Keeps a generator, which nobody can copy."""

    def __init__(self, params: Any, lr: float, *, used: bool) -> None:
        super().__init__(params, lr)
        self.source = (i for i in range(10))
        self.used = used

    def step(self, closure: Any = None) -> None:
        if self.used:
            next(self.source)
        super().step(closure)


@pytest.mark.parametrize("used", [False, True])
def test_what_cannot_be_copied_matters_only_where_it_is_used(used: bool) -> None:
    p = torch.zeros(3, requires_grad=True)
    optimizer = Generating([p], lr=0.1, used=used)
    attributor = Attributor(optimizer, "solo")
    p.grad = torch.ones(3)
    attributor.before_step([p])
    optimizer.step()
    solo = attributor.after_step({p: GradientSplit({"a": p.grad})})[p].solo["a"]
    assert bool(solo.isnan().all()) == used
    assert ("source" in attributor.note) == used
    assert next(optimizer.source) == (1 if used else 0)
