"""Hooks tell what they should, in the right order, and leave torch as they found it."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module
from torch.optim import SGD, Optimizer
from torch.optim import optimizer as optim
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import BackwardHook

from dominance.record.guest.hooks import Hooks, LeafCapture, dense
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.silence import gathering
from dominance.record.split.gradients import task_gradients
from dominance.record.tasks.graph import edge_of

torch.set_num_threads(1)


class Diary:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.models = 0

    def before_backward(self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]) -> Any:
        self.told.append("backward")
        return lambda: self.told.append("accumulated")

    def before_grad(self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]) -> Any:
        self.told.append(("grad", len(inputs)))
        return lambda result: self.told.append(("took", [float(g.sum()) for g in result]))

    def nested(self) -> None:
        self.told.append("nested")

    def before_rows(
        self, outputs: Sequence[Any], rows: Sequence[Sequence[Tensor | None]], inputs: Sequence[Any]
    ) -> Any:
        self.told.append(("rows", [[g.tolist() for g in row if g is not None] for row in rows]))
        return lambda results: self.told.append(("took", [[g.tolist() for g in row] for row in results]))

    def before_step(self, optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.told.append("before step")

    def after_step(self, optimizer: Optimizer) -> None:
        self.told.append("after step")

    def rests_at_backward(self, outputs: Sequence[Any]) -> bool:
        return False

    def rests_at_step(self, optimizer: Optimizer) -> bool:
        return False

    def registered(self) -> None:
        self.models += 1

    def fail(self, error: BaseException) -> None:
        self.told.append(error)


@pytest.fixture
def hooks() -> Iterator[tuple[Hooks, list[Any]]]:
    diary = Diary()
    hooks = Hooks(diary)
    hooks.install()
    yield hooks, diary.told
    hooks.remove()


def surface() -> dict[str, Any]:
    """Everything of torch that hooks may touch."""
    return {
        "engine": torch.autograd._engine_run_backward,
        "register_hook": vars(torch.Tensor).get("register_hook"),
        "retain_grad": vars(torch.Tensor).get("retain_grad"),
        "init": vars(BackwardHook).get("__init__"),
        "optimizer": vars(Optimizer).get("__init__"),
        "grad": vars(torch.Tensor).get("grad"),
        "registration": dict(module._global_parameter_registration_hooks),
        "pre": dict(optim._global_optimizer_pre_hooks),
        "post": dict(optim._global_optimizer_post_hooks),
    }


def step_hooks(optimizer: Optimizer) -> list[Any]:
    return [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]


def model() -> tuple[Tensor, SGD]:
    parameter = torch.tensor([1.0, -2.0], requires_grad=True)
    return parameter, SGD([parameter], lr=0.1)


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("broken backward")


class BrokenSGD(SGD):
    def step(self, closure=None):
        raise ValueError("broken step")


def test_removed_without_a_trace() -> None:
    before = surface()
    parameter, optimizer = model()
    hooks = Hooks(Diary())
    hooks.install()
    hooks.grads.watch([parameter], lambda p: None)
    assert all(surface()[name] != value for name, value in before.items())
    parameter.square().sum().backward()
    optimizer.step()
    hooks.remove()
    assert surface() == before
    assert step_hooks(optimizer) == []
    hooks.remove()
    assert surface() == before


def test_removed_without_a_trace_after_exceptions() -> None:
    before = surface()
    parameter, optimizer = model()
    broken = BrokenSGD([parameter], lr=0.1)
    diary = Diary()
    hooks = Hooks(diary)
    hooks.install()
    with pytest.raises(ValueError, match="broken backward"):
        Broken.apply(parameter).sum().backward()
    with pytest.raises(ValueError, match="broken step"):
        broken.step()
    assert hooks.active
    parameter.square().sum().backward()
    optimizer.step()
    hooks.remove()
    assert diary.told == ["backward", "before step", "backward", "accumulated", "before step", "after step"]
    assert surface() == before
    assert step_hooks(optimizer) == step_hooks(broken) == []


def test_a_step_after_one_that_failed_is_told_once(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, optimizer = model()
    fails = optimizer.register_step_pre_hook(cast(Any, lambda *args: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    fails.remove()
    parameter.square().sum().backward()
    hooks[1].clear()
    optimizer.step()
    assert hooks[1] == ["before step", "after step"]


def test_parameters_that_come_up_are_told_of() -> None:
    diary = Diary()
    hooks = Hooks(diary)
    hooks.install()
    net = nn.Linear(2, 1)
    SGD(net.parameters(), lr=0.1)
    hooks.remove()
    SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    assert diary.models == 3


def test_a_patch_made_later_by_someone_else_stays() -> None:
    before = surface()
    diary = Diary()
    hooks = Hooks(diary)
    hooks.install()
    ours = torch.autograd._engine_run_backward

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    torch.autograd._engine_run_backward = theirs
    try:
        hooks.remove()
        assert torch.autograd._engine_run_backward is theirs
        model()[0].sum().backward()
        assert diary.told == []
    finally:
        torch.autograd._engine_run_backward = before["engine"]
    assert surface() == before


def test_a_training_step_is_told_in_order(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, optimizer = model()
    told = hooks[1]
    optimizer.register_step_pre_hook(lambda *args: told.append("script's pre-hook"))
    optimizer.register_step_post_hook(lambda *args: told.append("script's post-hook"))
    late = optim.register_optimizer_step_post_hook(lambda *args: told.append("global post-hook"))
    try:
        for _ in range(2):
            parameter.square().sum().backward()
            optimizer.step()
    finally:
        late.remove()
    once = ["backward", "accumulated", "script's pre-hook", "before step", "after step"]
    once += ["script's post-hook", "global post-hook"]
    assert told == once * 2
    assert len(step_hooks(optimizer)) == 2, "the script's own"


class Wrapper(SGD):
    """An optimizer around another."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__([p for group in inner.param_groups for p in group["params"]], lr=0.1)
        self.inner = inner

    def step(self, closure=None):
        self.inner.step()


def test_an_optimizer_that_wraps_another(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, inner = model()
    outer = Wrapper(inner)
    parameter.sum().backward()
    hooks[1].clear()
    outer.step()
    assert hooks[1] == ["before step"] * 2 + ["after step"] * 2
    assert step_hooks(inner) == step_hooks(outer) == []


def test_gradients_taken_by_the_script(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter = model()[0]
    (gradient,) = torch.autograd.grad(parameter.square().sum(), [parameter])
    assert gradient.tolist() == [2, -4]
    assert hooks[1] == [("grad", 1), ("took", [-2.0])]


def test_nothing_is_told_of_vmapped_gradients(hooks: tuple[Hooks, list[Any]]) -> None:
    torch.func.vmap(torch.func.grad(lambda x: x.square().sum()))(torch.ones(3, 2))
    assert hooks[1] == []


def test_a_backward_inside_a_backward_is_part_of_it(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter = model()[0]
    checkpoint(torch.sin, parameter, use_reentrant=True).sum().backward()
    assert hooks[1] == ["backward", "accumulated"]


def test_nothing_is_told_of_our_own_passes(hooks: tuple[Hooks, list[Any]]) -> None:
    hooks[0].quiet = True
    parameter = model()[0]
    with gathering() as held:
        held.hold([parameter])
        parameter.sum().backward()
        assert parameter.grad is not None
    assert parameter.grad is None
    torch.autograd.grad(parameter.sum(), [parameter])
    assert hooks[1] == []


def test_the_scripts_gradient_hooks_are_silent_in_our_passes(hooks: tuple[Hooks, list[Any]]) -> None:
    heard: list[str] = []
    layer = nn.Linear(2, 2)
    layer.register_full_backward_hook(lambda *args: heard.append("module"))
    layer.register_full_backward_pre_hook(lambda *args: heard.append("module, before"))
    x = torch.ones(1, 2, requires_grad=True)
    out = layer(x)
    out.register_hook(lambda gradient: heard.append("tensor"))
    hooks[0].quiet = True
    torch.autograd.grad(out.sum(), [x, *layer.parameters()], retain_graph=True)
    assert heard == []
    assert hooks[0].kept_quiet == 3
    hooks[0].quiet = False
    out.sum().backward()
    assert sorted(heard) == ["module", "module, before", "tensor"]
    assert hooks[0].kept_quiet == 3


def test_a_hook_may_still_change_the_gradient_and_be_removed(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter = model()[0]
    handle = parameter.register_hook(lambda gradient: 10 * gradient)
    parameter.sum().backward()
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [10, 10]
    handle.remove()
    parameter.sum().backward()
    assert parameter.grad.tolist() == [11, 11]


def test_our_own_passes_run_quietly_and_put_back_what_they_disturb(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter = model()[0]
    inner, other = parameter * 2, parameter * 3
    inner.retain_grad()
    other.retain_grad()
    del other
    loss = inner.sum()
    inner.register_hook(lambda gradient: hooks[1].append("script's hook"))
    with hooks[0].own_pass([], [parameter]):
        torch.autograd.grad(loss, [parameter], retain_graph=True)
    assert inner.grad is None
    assert hooks[1] == []
    loss.backward()
    assert torch.equal(inner.grad, torch.ones(2))
    assert hooks[1] == ["backward", "script's hook", "accumulated"]


def test_nothing_stays_where_not_everything_can_be_put(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surface()
    # The last thing that is put in place, as in a version of torch that has it elsewhere.
    monkeypatch.setattr(optim, "_global_optimizer_post_hooks", None)
    with pytest.raises(TypeError):
        Hooks(Diary()).install()
    monkeypatch.undo()
    assert surface() == before


def test_each_hook_is_taken_away_whatever_becomes_of_another() -> None:
    before, hooks = surface(), Hooks(Diary())
    hooks.install()

    def fault() -> None:
        raise RuntimeError("planted")

    hooks._undo.insert(1, fault)
    with pytest.raises(RuntimeError, match="planted"):
        hooks.remove()
    assert surface() == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:`torch.jit")
@pytest.mark.parametrize("way", ["grad", "vmap", "jacrev", "hessian"])
def test_batched_passes_are_told_by_rows_and_those_of_torch_func_not_at_all(
    way: str, hooks: tuple[Hooks, list[Any]]
) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    if way == "grad":
        (rows,) = torch.autograd.grad(x.square(), [x], torch.eye(3), is_grads_batched=True)
    elif way == "vmap":
        y = x.square()
        rows = torch.vmap(lambda v: torch.autograd.grad(y, [x], v, retain_graph=True)[0])(torch.eye(3))
    elif way == "jacrev":
        rows = torch.func.jacrev(torch.square)(x)
    else:
        rows = torch.func.hessian(lambda v: v.pow(3).sum() / 3)(x)
    assert rows.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    taken = [("rows", [[row] for row in torch.eye(3).tolist()]), ("took", [[row] for row in rows.tolist()])]
    assert hooks[1] == (taken if way in ("grad", "vmap") else [])


def test_a_fault_of_the_watcher_does_not_reach_the_script() -> None:
    class Faulty(Diary):
        def before_backward(self, *args: Any) -> Any:
            raise ValueError("a fault")

        before_step = before_grad = before_backward  # type: ignore[assignment]

    diary = Faulty()
    hooks = Hooks(diary)
    hooks.install()
    try:
        parameter, optimizer = model()
        torch.autograd.grad(parameter.sum(), [parameter])
        parameter.sum().backward()
        optimizer.step()
    finally:
        hooks.remove()
    assert [type(each) for each in diary.told if each != "after step"] == [ValueError] * 3
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.9, -2.1]))


def test_another_thread_is_left_alone(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter = model()[0]
    parameter.sum().backward()
    hooks[1].clear()

    def train() -> None:
        mine, optimizer = model()
        mine.sum().backward()
        optimizer.step()

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert hooks[1] == []


def test_the_hooks_of_another_thread_are_not_silent(hooks: tuple[Hooks, list[Any]]) -> None:
    heard: list[str] = []
    parameter = model()[0]
    parameter.register_hook(lambda gradient: heard.append("hook"))
    loss = parameter.sum()
    hooks[0].quiet = True
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    hooks[0].quiet = False
    assert heard == ["hook"]


def test_the_hooks_of_a_tensor_do_not_hold_the_recording() -> None:
    kept = torch.ones(1, requires_grad=True)
    diary = Diary()
    hooks = Hooks(diary)
    hooks.install()
    kept.register_hook(lambda gradient: None)
    hooks.remove()
    gone = weakref.ref(diary)
    del hooks, diary
    gc.collect()
    assert gone() is None


def test_optimizers_and_models_that_the_script_lets_go_are_let_go(hooks: tuple[Hooks, list[Any]]) -> None:
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), lr=0.1)
    out = net(torch.ones(1, 2))
    out.retain_grad()
    loss = out.sum()
    with hooks[0].own_pass([net], list(net.parameters())):
        torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    loss.backward()
    optimizer.step()
    gone = [weakref.ref(each) for each in (net, optimizer, net.weight, out)]
    del net, optimizer, loss, out
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


class Ends(torch.autograd.Function):
    """Ends the program, or is interrupted, in its backward."""

    error: type[BaseException]

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        torch.rand(1)
        raise Ends.error


@pytest.mark.parametrize(
    ("error", "raised"), [(SystemExit, CannotLook), (KeyboardInterrupt, KeyboardInterrupt), (ValueError, ValueError)]
)
def test_a_pass_that_ends_in_an_exception(
    error: type[BaseException], raised: type[BaseException], hooks: tuple[Hooks, list[Any]]
) -> None:
    """The program's end is left to the script's own pass; an interrupt is raised where it came."""
    parameter = model()[0]
    random = torch.get_rng_state()
    Ends.error = error
    loss = Ends.apply(parameter).sum()
    with pytest.raises(raised), hooks[0].own_pass([], [parameter]):
        torch.autograd.grad(loss, [parameter], retain_graph=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert not hooks[0].quiet
    with pytest.raises(error):
        loss.backward()


class Inner(torch.autograd.Function):
    """Runs a backward() of its own, as re-entrant checkpoints of libraries do."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.x, ctx.weight = x.detach(), weight
        return x * weight.detach()

    @staticmethod
    def backward(ctx, gradient):
        x = ctx.x.requires_grad_()
        with torch.enable_grad():
            getattr(torch.autograd, "backward")((x * ctx.weight).sum())  # noqa: B009  hidden from who reads the code
        return gradient * ctx.weight, None


def test_a_backward_inside_our_own_pass_is_not_made(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, hidden = model()[0], torch.ones(2, requires_grad=True)
    loss = Inner.apply(parameter, hidden).sum()
    with pytest.raises(CannotLook, match="of its own"), hooks[0].own_pass([], [parameter]):
        torch.autograd.grad(loss, [parameter], retain_graph=True)
    assert hidden.grad is None
    loss.backward()
    assert torch.equal(hidden.grad, torch.tensor([1.0, -2.0]))


def test_parameters_hidden_in_a_checkpoint_keep_their_gradients(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, hidden = model()[0], torch.ones(2, requires_grad=True)
    heard: list[int] = []
    hidden.register_post_accumulate_grad_hook(lambda p: heard.append(1))
    loss = checkpoint(lambda x: x * hidden, parameter, use_reentrant=True).sum()
    with hooks[0].own_pass([], [parameter]):
        (found,) = task_gradients([edge_of(loss)], [torch.tensor(1.0)], [parameter])
    assert found.tolist() == [1, 1]
    assert hidden.grad is None
    assert heard == []
    loss.backward()
    assert torch.equal(hidden.grad, torch.tensor([1.0, -2.0]))


def test_a_forked_child_is_inert(hooks: tuple[Hooks, list[Any]]) -> None:
    parameter, optimizer = model()
    child = os.fork()
    if child == 0:
        try:
            loss = parameter.square().sum()
            torch.autograd.grad(loss, [parameter], retain_graph=True)
            loss.backward()
            optimizer.step()
            os._exit(10 + len(hooks[1]) + len(step_hooks(optimizer)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10


# LeafCapture


def test_captured_gradients_are_those_that_are_fed() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    unused = nn.Parameter(torch.ones(2))
    x = torch.randn(5, 3)
    net(x).sum().backward()
    already = {p: p.grad.clone() for p in net.parameters()}
    capture = LeafCapture([*net.parameters(), unused])
    net(x).square().mean().backward()
    capture.remove()
    want = torch.autograd.grad(net(x).square().mean(), list(net.parameters()))
    assert set(capture.gradients) == set(net.parameters())
    for p, gradient in zip(net.parameters(), want, strict=True):
        assert torch.equal(capture.gradients[p], gradient)
        assert torch.equal(p.grad, already[p] + gradient)


def test_captured_after_the_scripts_hooks_on_the_leaf() -> None:
    parameter = model()[0]
    parameter.register_hook(lambda gradient: 3 * gradient)
    capture = LeafCapture([parameter])
    parameter.sum().backward()
    assert capture.gradients[parameter].tolist() == [3, 3] == parameter.grad.tolist()


def test_a_capture_leaves_no_trace() -> None:
    parameter = model()[0]
    attributes, weak = dict(parameter.__dict__), len(weakref.getweakrefs(parameter))
    capture = LeafCapture([parameter])
    parameter.sum().backward()
    capture.remove()
    seen = capture.gradients[parameter]
    parameter.sum().backward()
    assert parameter.grad.tolist() == [2, 2]
    assert seen.tolist() == [1, 1], "a copy, of that pass alone"
    assert parameter.__dict__ == attributes
    assert parameter._backward_hooks is None
    assert parameter._post_accumulate_grad_hooks is None
    assert len(weakref.getweakrefs(parameter)) == weak


def test_the_gradient_is_handed_over_without_a_copy_as_without_us() -> None:
    parameter = model()[0]
    made: list[int] = []
    parameter.register_hook(lambda gradient: made.append(gradient.data_ptr()))
    capture = LeafCapture([parameter])
    (parameter * 3).sum().backward()
    assert made == [parameter.grad.data_ptr()]
    capture.remove()


@pytest.mark.parametrize("loss", [lambda p: p.sum(), lambda p: (p.T @ p).sum(), lambda p: p.T.exp().sum()])
def test_the_buffer_of_a_gradient_is_laid_out_as_without_us(loss: Any) -> None:
    strides = []
    for captured in (False, True):
        parameter = torch.ones(2, 3, requires_grad=True)
        capture = LeafCapture([parameter] if captured else [])
        loss(parameter).backward()
        capture.remove()
        strides.append(parameter.grad.stride())
    assert strides[0] == strides[1]


def test_a_capture_goes_with_its_owner() -> None:
    """The backward pass failed, and the graph is still there."""
    parameter = model()[0]
    loss = (parameter * 2).sum()
    capture = LeafCapture([parameter])
    kept = capture.gradients
    there = weakref.ref(capture)
    del capture
    gc.collect()
    assert there() is None
    loss.backward()
    assert kept == {}


def test_an_all_zero_gradient_is_not_captured() -> None:
    parameter = model()[0]
    capture = LeafCapture([parameter])
    (0 * parameter.sum()).backward()
    assert capture.gradients == {}


def test_sparse_and_half_gradients_become_dense_floats() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    capture = LeafCapture([table.weight])
    table(torch.tensor([1, 1, 3])).sum().backward()
    assert table.weight.grad.is_sparse
    assert capture.gradients[table.weight].tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]
    for dtype, want in [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64,) * 2]:
        assert dense(torch.ones(2, dtype=dtype)).dtype == want


def test_a_capture_is_not_seen_by_the_scripts_modes(hooks: tuple[Hooks, list[Any]]) -> None:
    class Counting(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls += 1
            return func(*args, **(kwargs or {}))

    counted = []
    for capture in (False, True):
        parameter, _ = model()
        loss = parameter.square().sum()
        captured = LeafCapture([parameter] if capture else [])
        with Counting() as mode:
            loss.backward()
        captured.remove()
        counted.append(mode.calls)
    assert counted[0] == counted[1]
