"""What holds for the split of every linear class of torch.optim, whatever its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from record.attribution_cases import LINEAR, Case, gap, recorded
from torch import Tensor

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit, StepSplit

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")
ALL = pytest.mark.parametrize("case", LINEAR, ids=str)
MOMENTUM = [case for case in LINEAR if Attributor(case.make(case.problem())).has_momentum]


def close(actual: Tensor | None, expected: Tensor | None, bound: float) -> bool:
    """Whether two parts are equal to ``bound`` of their largest entry; None is zero."""
    if actual is None or expected is None:
        other = expected if actual is None else actual
        return other is None or not other.any()
    size = max(actual.abs().max().item(), expected.abs().max().item())
    return (actual - expected).abs().max().item() <= bound * size


@ALL
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-4), (torch.float64, 1e-10)], ids=["f32", "f64"])
def test_parts_sum_to_the_step_taken_at_every_step_of_200(case: Case, dtype: torch.dtype, bound: float) -> None:
    problem = case.problem(dtype)
    attributor = Attributor(case.make(problem))
    assert attributor.additive
    for step, (gradients, splits) in enumerate(recorded(attributor, problem, 200)):
        assert set(splits) == {p for p in problem.parameters.values() if p.grad is not None} == set(gradients)
        for p, split in splits.items():
            off = gap(split)
            assert off <= bound, (step, p.shape)
            assert abs(split.closure - off) <= 0.5 * off + (1e-6 if dtype == torch.float32 else 1e-15)
            assert split.unattributed is None
            assert split.total.dtype == dtype


@ALL
def test_recording_from_step_50_leaves_the_old_momentum_unattributed(case: Case) -> None:
    problem = case.problem(torch.float64)
    optimizer = case.make(problem)
    for _ in range(50):
        problem.backward()
        optimizer.step()
    attributor = Attributor(optimizer)
    for burst in range(2):
        attributor.begin_burst()
        for step, (_, splits) in enumerate(recorded(attributor, problem, 8)):
            for split in splits.values():
                assert gap(split) <= 1e-10, (burst, step)
                assert (split.unattributed is not None) == (case in MOMENTUM)
                assert set(split.tasks) <= {"a", "b"}


@pytest.mark.parametrize("case", MOMENTUM, ids=str)
def test_tasks_of_a_burst_are_worth_what_they_did_in_the_burst(case: Case) -> None:
    """With no gradient of "b" in the burst, b has no part, though it made the momentum that the burst started with."""
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem))
    for _ in recorded(attributor, problem, 5):
        pass
    attributor.begin_burst()
    for _ in range(3):
        gradients = problem.backward()
        for p, split in gradients.items():
            split.tasks.pop("b", None)
            p.grad = sum([*split.tasks.values(), *([] if split.residual is None else [split.residual])])
            if case.sparse:
                p.grad = p.grad.to_sparse(1)
        attributor.before_step(problem.parameters.values())
        attributor.optimizer.step()
        for step in attributor.after_step(gradients).values():
            assert set(step.tasks) == {"a"}
            assert step.unattributed is not None
            assert gap(step) <= 1e-10


@ALL
def test_one_task_and_the_decay_are_the_whole_step(case: Case) -> None:
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem))
    for _ in range(20):
        gradients = {p: GradientSplit({"all": p.grad.to_dense()}) for p in problem.backward()}
        attributor.before_step(problem.parameters.values())
        attributor.optimizer.step()
        for split in attributor.after_step(gradients).values():
            whole = split.tasks["all"] + (0 if split.decay is None else split.decay)
            assert split.residual is None
            assert close(whole, split.total, 1e-10)


@ALL
def test_tasks_with_proportional_gradients_have_proportional_parts(case: Case) -> None:
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem))
    for _ in range(20):
        gradients = {p: GradientSplit({"x": 0.75 * p.grad.to_dense(), "y": 0.25 * p.grad.to_dense()})
                     for p in problem.backward()}  # fmt: skip
        attributor.before_step(problem.parameters.values())
        attributor.optimizer.step()
        for split in attributor.after_step(gradients).values():
            assert close(split.tasks["x"], 3 * split.tasks["y"], 1e-12)
            assert gap(split) <= 1e-10


@ALL
def test_the_users_training_is_untouched_to_the_bit(case: Case) -> None:
    plain, watched = case.problem(seed=3), case.problem(seed=3)
    alone, optimizer = case.make(plain), case.make(watched)
    attributor = Attributor(optimizer, "both")
    torch.manual_seed(0)
    for _ in range(12):
        given = watched.backward()
        plain.backward()
        kept = {p: (split, {t: g.clone() for t, g in split.tasks.items()}) for p, split in given.items()}
        attributor.before_step(watched.parameters.values())
        optimizer.step()
        attributor.after_step(given)
        alone.step()
        for split, tasks in kept.values():
            assert all(torch.equal(split.tasks[t], g) for t, g in tasks.items())
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert_same_state(optimizer, alone)


def assert_same_state(one: torch.optim.Optimizer, other: torch.optim.Optimizer) -> None:
    """Parameters, gradients, hyper-parameters and all state are equal to the bit."""
    for group, same in zip(one.param_groups, other.param_groups, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {k: v for k, v in same.items() if k != "params"}
        for p, q in zip(group["params"], same["params"], strict=True):
            assert torch.equal(p, q)
            assert (p.grad is None) == (q.grad is None)
            assert p.grad is None or torch.equal(p.grad.to_dense(), q.grad.to_dense())
            assert (p in one.state) == (q in other.state)
            if p in one.state:
                assert one.state[p].keys() == other.state[q].keys()
                for name, value in one.state[p].items():
                    twin = other.state[q][name]
                    equal = (
                        torch.equal(value.to_dense(), twin.to_dense()) if isinstance(value, Tensor) else value == twin
                    )
                    assert equal, name


def outcome(case: Case, **options: Any) -> list[StepSplit]:
    """The splits of ten recorded steps that follow three unrecorded ones."""
    problem = case.problem()
    optimizer = case.make(problem, **options)
    for _ in range(3):
        problem.backward()
        optimizer.step()
    return [split for _, splits in recorded(Attributor(optimizer), problem, 10) for split in splits.values()]


def assert_same_parts(one: list[StepSplit], other: list[StepSplit], bound: float = 1e-4) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.closure <= 5e-4
        assert b.closure <= 5e-4
        for part in ("residual", "unattributed", "decay"):
            assert close(getattr(a, part), getattr(b, part), bound), part
        assert a.tasks.keys() == b.tasks.keys()
        assert all(close(a.tasks[task], b.tasks[task], bound) for task in a.tasks)


DENSE = [case for case in LINEAR if not case.sparse]


@pytest.mark.parametrize("case", DENSE, ids=str)
def test_foreach_gives_the_same(case: Case) -> None:
    assert_same_parts(outcome(case, foreach=False), outcome(case, foreach=True))


@pytest.mark.parametrize("case", [c for c in DENSE if c.name in ("SGD", "Adam", "AdamW", "Adagrad")], ids=str)
def test_fused_gives_the_same(case: Case) -> None:
    assert_same_parts(outcome(case), outcome(case, fused=True))


@pytest.mark.parametrize("case", [c for c in DENSE if c.name != "Adafactor"], ids=str)
def test_differentiable_gives_the_same(case: Case) -> None:
    problem = case.problem()
    for p in problem.parameters.values():
        p.requires_grad_(False)  # torch refuses in-place steps on leaves that require a gradient
    optimizer = case.make(problem, differentiable=True)
    for _ in range(3):
        problem.backward()
        optimizer.step()
    made = [split for _, splits in recorded(Attributor(optimizer), problem, 10) for split in splits.values()]
    assert_same_parts(outcome(case), made)


@pytest.mark.parametrize("foreach", [False, True], ids=["for-loop", "foreach"])
@pytest.mark.parametrize("case", [c for c in DENSE if c.name not in ("SGD", "Adagrad", "Adafactor")], ids=str)
def test_capturable_gives_the_same(case: Case, foreach: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arithmetic on scalar tensors, which torch admits on accelerators only, runs on a CPU just as well."""
    module = __import__(f"torch.optim.{'adam' if case.name == 'AdamW' else case.name.lower()}", fromlist=["_"])
    monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])
    made = outcome(case, foreach=foreach, capturable=True)
    # RAdam's own steps differ by a hundredth between the two: its rectification is ill-conditioned in single precision
    assert_same_parts(outcome(case), made, 2e-2 if case.name == "RAdam" else 1e-4)


@pytest.mark.parametrize("case", [c for c in DENSE if "betas" in c.make(c.problem()).defaults], ids=str)
def test_capturable_computes_its_corrections_in_single_precision(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a double-precision step, they leave 1e-7 unexplained; read in double precision it would be 1e-5."""
    module = __import__(f"torch.optim.{'adam' if case.name == 'AdamW' else case.name.lower()}", fromlist=["_"])
    monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem, capturable=True))
    for _, splits in recorded(attributor, problem, 10):
        assert all(split.closure <= 1e-6 for split in splits.values())


@pytest.mark.parametrize("case", [c for c in DENSE if not c.options.get("maximize")], ids=str)
def test_learning_rate_as_a_tensor_under_a_schedule(case: Case) -> None:
    problem = case.problem()
    optimizer = case.make(problem, lr=torch.tensor(0.01))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, 40, cycle_momentum="betas" in optimizer.defaults)
    for _, splits in recorded(Attributor(optimizer), problem, 30):
        assert all(split.closure <= 5e-4 + split.rounding for split in splits.values())
        schedule.step()


@pytest.mark.parametrize("case", [Case("SGD", {"momentum": 0.9}), Case("Adam", {}), Case("RMSprop", {"momentum": 0.9})])
def test_a_parameter_without_gradient_keeps_its_memories(case: Case) -> None:
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem))
    lazy = problem.parameters["lazy"]
    seen = [set(splits) for _, splits in recorded(attributor, problem, 9)]
    assert [lazy in splits for splits in seen] == [True, True, False] * 3
    gradients = problem.backward()
    attributor.before_step(problem.parameters.values())
    attributor.optimizer.step()
    assert attributor.after_step(gradients)[lazy].unattributed is None


def test_steps_that_nobody_recorded_turn_the_memories_into_unattributed_momentum() -> None:
    case = Case("Adam", {})
    problem = case.problem(torch.float64)
    attributor = Attributor(case.make(problem))
    for _ in recorded(attributor, problem, 3):
        pass
    problem.backward()
    attributor.optimizer.step()
    for _, splits in recorded(attributor, problem, 1):
        for split in splits.values():
            assert split.unattributed is not None
            assert gap(split) <= 1e-10


def test_a_state_that_was_loaded_is_unattributed() -> None:
    case = Case("SGD", {"momentum": 0.9})
    problem, other = case.problem(torch.float64), case.problem(torch.float64, seed=8)
    attributor, donor = Attributor(case.make(problem)), case.make(other)
    for _ in recorded(attributor, problem, 3):
        other.backward()
        donor.step()
    attributor.optimizer.load_state_dict(donor.state_dict())
    for _, splits in recorded(attributor, problem, 2):
        for split in splits.values():
            assert split.unattributed is not None
            assert gap(split) <= 1e-10


def test_a_parameter_nobody_split_is_residual() -> None:
    p = torch.ones(2, requires_grad=True)
    attributor = Attributor(torch.optim.SGD([p], lr=0.1))
    p.grad = torch.tensor([1.0, 2.0])
    attributor.before_step([p])
    attributor.optimizer.step()
    split = attributor.after_step({})[p]
    assert split.tasks == {}
    assert split.residual is not None
    assert split.residual == pytest.approx(torch.tensor([-0.1, -0.2]))


def test_unattributed_momentum_is_let_go_when_nothing_is_left_of_it() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.5)
    p.grad = torch.ones(2)
    optimizer.step()
    attributor = Attributor(optimizer)
    left = []
    for _ in range(140):
        attributor.before_step([p])
        optimizer.step()
        left.append(attributor.after_step({p: GradientSplit({"a": p.grad})})[p].unattributed is not None)
    assert left == [True] * 127 + [False] * 13  # 2^-126 is the smallest normal float32


@pytest.mark.parametrize("options", [{"foreach": False}, {"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_split_in_single_and_its_rounding_is_told(
    options: dict[str, bool], dtype: torch.dtype
) -> None:
    problem = Case("Adam", {}).problem(dtype)
    attributor = Attributor(Case("Adam", {}).make(problem, **options, eps=1e-4))
    for _, splits in recorded(attributor, problem, 10):
        for split in splits.values():
            assert split.total.dtype == split.tasks["a"].dtype == torch.float32
            assert split.closure <= split.rounding + 0.05


def test_a_step_below_the_spacing_of_the_parameters_closes() -> None:
    p = torch.ones(2, requires_grad=True)
    attributor = Attributor(torch.optim.SGD([p], lr=1e-12))
    p.grad = torch.ones(2)
    attributor.before_step([p])
    attributor.optimizer.step()
    split = attributor.after_step({p: GradientSplit({"a": p.grad})})[p]
    assert not split.total.any()
    assert split.closure == 0


def test_channels_last_and_scalar_and_empty_parameters() -> None:
    shapes = [(2, 3, 4, 5), (), (0, 3)]
    parameters = [torch.randn(shape) for shape in shapes]
    parameters[0] = parameters[0].to(memory_format=torch.channels_last)
    attributor = Attributor(torch.optim.AdamW(parameters))
    for _ in range(3):
        gradients = {}
        for p in parameters:
            tasks = {"a": torch.randn(p.shape), "b": torch.randn_like(p)}
            p.grad = tasks["a"] + tasks["b"]
            gradients[p] = GradientSplit(tasks)
        attributor.before_step(parameters)
        attributor.optimizer.step()
        for p, split in attributor.splits(gradients):
            assert split.total.shape == split.tasks["a"].shape == p.shape
            assert split.total.stride() == p.stride()
            assert p.numel() == 0 or gap(split) <= 5e-4


@pytest.mark.parametrize("case", [Case("Adam", {"weight_decay": 0.1}), Case("SGD", {"momentum": 0.9})])
def test_one_parameter_at_a_time_gives_the_same(case: Case) -> None:
    whole, drawn = case.problem(), case.problem()
    one, other = Attributor(case.make(whole)), Attributor(case.make(drawn))
    for step in range(5):
        rooms = set()
        gradients = drawn.backward()
        other.before_step(drawn.parameters.values())
        other.optimizer.step()
        (_, expected), = recorded(one, whole, 1)  # fmt: skip
        for (_, split), same in zip(other.splits(gradients), expected.values(), strict=True):
            assert torch.equal(split.total, same.total)
            assert all(torch.equal(split.tasks[task], same.tasks[task]) for task in same.tasks)
            rooms.add(split.total.data_ptr())
        assert step == 0 or len(rooms) == 1


def test_complex_parameters_are_left_out_and_the_note_says_so() -> None:
    p, z = torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.complex64, requires_grad=True)
    attributor = Attributor(torch.optim.Adam([p, z]), "both")
    assert "complex parameters are left out" in attributor.note
    p.grad, z.grad = torch.ones(2), torch.ones(2, dtype=torch.complex64)
    attributor.before_step([p, z])
    attributor.optimizer.step()
    assert list(attributor.after_step({p: GradientSplit({"a": p.grad})})) == [p]


class Renamed(torch.optim.Adam):
    """Adds nothing to the step."""

    def __init__(self, *args: Any, note: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.remark = note


@pytest.mark.parametrize("first", [lambda p: None, lambda p: torch.optim.Adam([p])], ids=["fresh", "parent-in-use"])
def test_a_subclass_that_keeps_the_step_counts_as_its_parent(first: Callable[[Tensor], Any]) -> None:
    p = torch.ones(2, requires_grad=True)
    first(p)
    attributor = Attributor(Renamed([p], note="mine"))
    assert attributor.additive
    assert attributor.has_momentum
    assert attributor.note.startswith("Renamed: split additively")


def test_momentum_is_told_by_hyper_parameters_as_they_are_now() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1)
    attributor = Attributor(optimizer)
    assert not attributor.has_momentum
    optimizer.param_groups[0]["momentum"] = 0.9
    assert attributor.has_momentum
    assert not Attributor(optimizer, "solo").has_momentum


def test_a_fused_step_left_out_after_an_overflow() -> None:
    p = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9, fused=True)
    attributor = Attributor(optimizer, "both")
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    splits: list[StepSplit] = []
    skipped: list[bool] = []
    gradient = torch.tensor([1.0, 2.0, 3.0])

    def after(*_: object) -> None:
        splits.append(attributor.after_step({p: GradientSplit({"a": gradient})})[p])
        skipped.append(attributor.step_skipped)

    optimizer.register_step_pre_hook(lambda *_: attributor.before_step([p]))
    optimizer.register_step_post_hook(after)
    for weight in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale((p * gradient * weight).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert skipped == [False, True, False]
    assert splits[0].tasks["a"] == pytest.approx(-0.1 * gradient)
    assert splits[0].solo["a"] == pytest.approx(-0.1 * gradient)
    assert not splits[1].total.any()
    assert splits[1].tasks == splits[1].solo == {}
    assert splits[1].closure == 0
    assert splits[2].tasks["a"] == pytest.approx(-0.1 * 1.9 * gradient)
    assert splits[2].unattributed is None


def test_a_gradient_that_the_fused_step_unscales_itself_is_residual_unscaled() -> None:
    p = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, fused=True)
    attributor, scaler = Attributor(optimizer), torch.amp.GradScaler("cpu", init_scale=8.0)
    splits: list[StepSplit] = []
    optimizer.register_step_pre_hook(lambda *_: attributor.before_step([p]))
    optimizer.register_step_post_hook(lambda *_: splits.append(attributor.after_step({})[p]))
    scaler.scale((3 * p).sum()).backward()
    scaler.step(optimizer)
    assert splits[0].closure < 1e-6
    assert splits[0].residual == pytest.approx(torch.full((2,), -0.3))
