"""Trainings whose script takes the steps itself, with no optimizer: recorded against what was done by hand."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dominance.config import RecordOptions
from dominance.record.script.models import model_path
from dominance.record.script.session import ScriptSession
from dominance.store.reader import open_run

torch.set_num_threads(1)
RATE = 0.05
STEPS = 5
Step = Callable[[Iterable[Tensor]], None]


@pytest.fixture(autouse=True)
def _no_optimizer_left_of_other_tests() -> None:
    """Where any optimizer is alive, a step by hand is not looked for."""
    gc.collect()


class Net(nn.Module):
    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk = nn.Linear(6, 8, dtype=dtype)
        self.depth = nn.Linear(8, 1, dtype=dtype)
        self.seg = nn.Linear(8, 1, dtype=dtype)

    def losses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.trunk(x).tanh()
        return (self.depth(z)[:, 0] - x.sum(1)).square().mean(), 3 * (self.seg(z)[:, 0] - x[:, 0]).abs().mean()


class Truth:
    """Task gradients and weights as they are, taken while nobody records."""

    def __init__(self) -> None:
        self.on = False
        self.gradients: list[dict[str, dict[str, Tensor]]] = []
        self.weights: list[dict[str, Tensor]] = []

    def note(self, net: Net, depth: Tensor, seg: Tensor, factor: float = 1.0) -> None:
        if self.on:
            named = dict(net.named_parameters())
            found = {}
            for task, loss in (("depth", depth), ("seg", seg)):
                taken = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
                found[task] = {name: g * factor for name, g in zip(named, taken, strict=True) if g is not None}
            self.gradients.append(found)
            self.start(net)

    def start(self, net: Net) -> None:
        if self.on:
            self.weights.append({name: p.detach().clone() for name, p in net.named_parameters()})


def batches(dtype: torch.dtype = torch.float32, count: int = STEPS) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        yield torch.randn(16, 6, generator=generator).to(dtype)


Program = Callable[[Net, Truth], None]


def session(path: Path, program: Callable[[], object], **options: Any) -> ScriptSession:
    chosen = RecordOptions(**{"every": 1, "quiet": True, "exact": True, **options})
    made = ScriptSession(path, chosen, script="train.py", argv=[], force=False, resume=False)
    made.check_output()
    made.start()
    try:
        program()
    finally:
        made.result = made.finish("complete")  # type: ignore[attr-defined]
    return made


def recorded(path: Path, program: Program, dtype: torch.dtype = torch.float32, **options: Any) -> xr.DataTree:
    """The recorded run, compared with the same training recorded by nobody."""
    truth = Truth()
    torch.manual_seed(0)
    plain = Net(dtype)
    truth.on = True
    program(plain, truth)
    truth.start(plain)
    torch.manual_seed(0)
    net = Net(dtype)
    session(path, lambda: program(net, Truth()), **options)
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other), "the training was changed"
        assert (one.grad is None) == (other.grad is None)
    tree = open_run(path)
    compare(tree, truth)
    return tree


def compare(tree: xr.DataTree, truth: Truth) -> None:
    assert tree.attrs["tasks"] == ["depth", "seg"]
    assert tree.attrs["steps_taken"] == len(truth.gradients)
    names = tree["gradient/gradient"]["parameter"].values
    for row, step in enumerate(tree["step"].values.tolist()):
        for name in np.unique(names):
            here = names == name
            total = (truth.weights[step + 1][name] - truth.weights[step][name]).flatten().numpy()
            stored = tree["update/total"].values[row, here]
            np.testing.assert_allclose(stored, total, rtol=1e-3, atol=2e-7, err_msg=f"{step} {name}")
            for task in ("depth", "seg"):
                true = truth.gradients[step][task].get(name)
                expected = np.zeros(here.sum()) if true is None else true.flatten().numpy()
                stored = tree["gradient/gradient"].sel(task=task).values[row, here]
                np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-6, err_msg=f"{step} {name} {task}")


def assert_additive(tree: xr.DataTree) -> None:
    update = tree["update"]
    parts = [update[name].values for name in ("residual", "unattributed", "decay", "outside")]
    total = update["total"].values
    np.testing.assert_allclose(update["update"].sum("task").values + sum(parts), total, rtol=1e-3, atol=1e-6)


def assert_rates(tree: xr.DataTree, rate: float = RATE) -> None:
    """Each task's update is its gradient times the rate."""
    gradient, update = tree["gradient/gradient"].values, tree["update/update"].values
    np.testing.assert_allclose(update, -rate * gradient, rtol=2e-4, atol=1e-7)


def trained(step: Step, before: Step = lambda params: None, factor: float = 1.0) -> Program:
    """Gradients dropped, one backward(), what is done to them, the step."""

    def program(net: Net, truth: Truth) -> None:
        params = list(net.parameters())
        for x in batches(params[0].dtype):
            for p in params:
                p.grad = None
            depth, seg = net.losses(x)
            truth.note(net, depth, seg, factor)
            (depth + seg).backward()
            before(params)
            step(params)

    return program


def subtracted(params: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for p in params:
            p -= RATE * p.grad  # type: ignore[operator]


def through_data(params: Iterable[Tensor]) -> None:
    for p in params:
        p.data.add_(p.grad.data, alpha=-RATE)  # type: ignore[union-attr]


def replaced_data(params: Iterable[Tensor]) -> None:
    for p in params:
        p.data = p.data - RATE * p.grad  # type: ignore[operator]


def copied(params: Iterable[Tensor]) -> None:
    with torch.no_grad():
        new = [p - RATE * p.grad for p in params]  # type: ignore[operator]
        for p, value in zip(params, new, strict=True):
            p.copy_(value)


def at_once(params: Iterable[Tensor]) -> None:
    torch._foreach_sub_([p.data for p in params], [p.grad for p in params], alpha=RATE)


def and_emptied(params: Iterable[Tensor]) -> None:
    """As tutorials do: the gradient is set to zero in place, right after the step."""
    with torch.no_grad():
        for p in params:
            p.sub_(RATE * p.grad)  # type: ignore[operator]
            p.grad.zero_()  # type: ignore[union-attr]


@pytest.mark.parametrize("step", [subtracted, through_data, replaced_data, copied, at_once, and_emptied])
def test_plain_descent_however_it_is_written(step: Step, tmp_path: Path) -> None:
    tree = recorded(tmp_path / "run", trained(step))
    assert tree["step"].values.tolist() == list(range(STEPS))
    assert_additive(tree)
    assert_rates(tree)
    (told,) = tree.attrs["optimizers"]
    assert told["class"] == "by hand"
    assert "split additively" in told["note"]


def halved(params: Iterable[Tensor]) -> None:
    for p in params:
        p.grad.mul_(0.5)  # type: ignore[union-attr]


def put_back_halved(params: Iterable[Tensor]) -> None:
    for p in params:
        p.grad = p.grad / 2  # type: ignore[operator]


@pytest.mark.parametrize("before", [halved, put_back_halved])
def test_the_gradient_is_the_one_that_the_step_used(before: Step, tmp_path: Path) -> None:
    tree = recorded(tmp_path / "run", trained(subtracted, before, 0.5))
    assert_additive(tree)
    assert_rates(tree)


def with_decay(params: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for p in params:
            p -= RATE * (p.grad + 0.1 * p)  # type: ignore[operator]


def test_weight_decay_is_a_part_of_its_own(tmp_path: Path) -> None:
    tree = recorded(tmp_path / "run", trained(with_decay))
    assert_additive(tree)
    assert_rates(tree)
    assert np.abs(tree["update/decay"].values).max() > 1e-4


class Momentum:
    def __init__(self) -> None:
        self.velocity: dict[int, Tensor] = {}

    @torch.no_grad()
    def __call__(self, params: Iterable[Tensor]) -> None:
        for i, p in enumerate(params):
            v = self.velocity.get(i, torch.zeros_like(p)) * 0.9 + p.grad  # type: ignore[operator]
            self.velocity[i] = v
            p.sub_(v, alpha=RATE)


def test_momentum_is_replayed_for_each_task(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        trained(Momentum())(net, truth)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    gradient, velocity = tree["gradient/gradient"].values, 0
    for step in range(STEPS):
        velocity = 0.9 * velocity + gradient[step]
        np.testing.assert_allclose(tree["update/update"].values[step], -RATE * velocity, rtol=2e-3, atol=2e-6)


def test_momentum_from_before_a_burst_is_unattributed(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        step = Momentum()
        params = list(net.parameters())
        for x in batches(count=12):
            for p in params:
                p.grad = None
            depth, seg = net.losses(x)
            truth.note(net, depth, seg)
            (depth + seg).backward()
            step(params)

    tree = recorded(tmp_path / "run", program, every=2, burst=3)
    assert tree["step"].values.tolist() == [0, 1, 2, 6, 7, 8]
    update = tree["update"]
    assert np.isnan(update["update"].values[3]).all(), "its momentum is not known yet"
    assert np.abs(update["unattributed"].values[4]).max() > 1e-4
    parts = update["update"].sum("task", skipna=False).values + update["unattributed"].values
    np.testing.assert_allclose(parts[4:], update["total"].values[4:], rtol=1e-3, atol=1e-6)


class SignOfMean:
    """As Lion: no split exists."""

    @torch.no_grad()
    def __call__(self, params: Iterable[Tensor]) -> None:
        for p in params:
            p -= 0.01 * p.grad.sign()  # type: ignore[union-attr]


def test_a_step_that_is_not_linear_is_not_split_and_the_gradients_are_right(tmp_path: Path) -> None:
    tree = recorded(tmp_path / "run", trained(SignOfMean()))
    here = tree["update/total"]["parameter"].values == "trunk.weight"
    assert np.isnan(tree["update/update"].values[:, :, here]).all()
    assert any("not split" in text for text in tree.attrs["remarks"])


def test_a_clamp_after_the_step_is_outside(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        def step(params: Iterable[Tensor]) -> None:
            subtracted(params)
            with torch.no_grad():
                for p in params:
                    p.clamp_(-0.3, 0.3)

        trained(step)(net, truth)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    assert_rates(tree)
    assert np.abs(tree["update/outside"].values).max() > 1e-3


def test_a_decay_before_the_step_is_outside(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        def before(params: Iterable[Tensor]) -> None:
            for p in params:
                p.data.mul_(0.99)

        trained(subtracted, before)(net, truth)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    assert_rates(tree)


def test_a_rate_for_each_layer(tmp_path: Path) -> None:
    rates = [0.05, 0.1, 0.02, 0.02, 0.3, 0.3]

    def program(net: Net, truth: Truth) -> None:
        def step(params: Iterable[Tensor]) -> None:
            for p, rate in zip(params, rates, strict=True):
                p.data -= rate * p.grad  # type: ignore[operator]

        trained(step)(net, truth)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    found = tree["learning_rate"]
    told = dict(zip(found["layer"].values.tolist(), found["learning_rate"].values[0].tolist(), strict=True))
    assert told == pytest.approx({"trunk": 0.1, "depth": 0.02, "seg": 0.3}, rel=1e-3)


def test_accumulated_micro_batches_are_one_step(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        params = list(net.parameters())
        for i, x in enumerate(batches(count=2 * STEPS)):
            depth, seg = net.losses(x)
            if i % 2 == 0:
                truth.note(net, depth, seg)
            elif truth.on:
                gradients, _ = truth.gradients.pop(), truth.weights.pop()
                truth.note(net, depth, seg)
                for task, each in gradients.items():
                    for name, g in each.items():
                        truth.gradients[-1][task][name] = truth.gradients[-1][task][name] + g
            (depth + seg).backward()
            if i % 2:
                subtracted(params)
                net.zero_grad()

    tree = recorded(tmp_path / "run", program)
    assert tree["step"].values.tolist() == list(range(STEPS))
    assert_rates(tree)


def test_gradients_taken_with_autograd_grad(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        params = list(net.parameters())
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(net, depth, seg)
            gradients = torch.autograd.grad(depth + seg, params)
            with torch.no_grad():
                for p, g in zip(params, gradients, strict=True):
                    p.sub_(RATE * g)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    assert_rates(tree)


def test_gradients_of_each_loss_added_up(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        params = list(net.parameters())
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(net, depth, seg)
            each = [torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True) for loss in (depth, seg)]
            with torch.no_grad():
                for p, *gs in zip(params, *each, strict=True):
                    p -= RATE * sum(g for g in gs if g is not None)

    tree = recorded(tmp_path / "run", program)
    assert_additive(tree)
    assert_rates(tree)


def test_in_double_precision(tmp_path: Path) -> None:
    assert_rates(recorded(tmp_path / "run", trained(subtracted), torch.float64))


def test_one_step_in_some_is_recorded_and_all_are_counted(tmp_path: Path) -> None:
    tree = recorded(tmp_path / "run", trained(subtracted), every=2)
    assert tree["step"].values.tolist() == [0, 2, 4]
    assert_rates(tree)


def test_tensors_of_no_module(tmp_path: Path) -> None:
    def toy() -> None:
        x = torch.tensor([3.0, 1.0], requires_grad=True)
        for _ in range(STEPS):
            near, far = (x - 1).square().sum(), (x + 9).square().sum()
            (near + far).backward()
            with torch.no_grad():
                x -= 0.01 * x.grad
                x.grad = None

    session(tmp_path / "run", toy)
    tree = open_run(tmp_path / "run")
    assert tree["step"].values.tolist() == list(range(STEPS))
    assert_rates(tree, 0.01)


def test_weight_and_bias_of_one_number_each(tmp_path: Path) -> None:
    """As the first example of every tutorial."""

    def line() -> None:
        w, b = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        for x in batches(count=STEPS):
            fit, small = (w * x + b - 2 * x - 1).square().mean(), (w * x + b).abs().mean()
            loss = fit + 0.1 * small
            loss.backward()
            for p in (w, b):
                p.data -= 0.1 * p.grad
                p.grad.zero_()

    session(tmp_path / "run", line)
    tree = open_run(tmp_path / "run")
    assert tree.attrs["tasks"] == ["fit", "small"]
    assert_rates(tree, 0.1)


def test_models_that_follow_each_other(tmp_path: Path) -> None:
    def train() -> None:
        trained(subtracted)(Net(), Truth())

    session(tmp_path / "run", lambda: [train(), train()])
    trees = [open_run(model_path(tmp_path / "run", number)) for number in (1, 2)]
    assert [tree["step"].values.tolist() for tree in trees] == [list(range(STEPS))] * 2


def test_what_lies_below_a_checkpoint_of_the_old_kind_is_in_the_run(tmp_path: Path) -> None:
    def train() -> None:
        trunk, depth, seg = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)
        params = [*trunk.parameters(), *depth.parameters(), *seg.parameters()]
        for x in batches():
            for p in params:
                p.grad = None
            z: Any = checkpoint(lambda x: trunk(x).tanh(), x.requires_grad_(), use_reentrant=True)
            near, far = depth(z).square().mean(), (seg(z) - 1).abs().mean()
            (near + far).backward()
            subtracted(params)

    session(tmp_path / "run", train)
    tree = open_run(tmp_path / "run")
    here = np.char.startswith(tree["gradient/total"]["parameter"].values.astype(str), "trunk")
    assert here.sum() == 56
    assert_rates(tree)


def test_an_optimizer_that_comes_later_takes_the_steps(tmp_path: Path) -> None:
    def train() -> None:
        net = Net()
        optimizer = None
        for x in batches():
            depth, seg = net.losses(x)
            (depth + seg).backward()
            if optimizer is None:
                optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
            optimizer.step()
            optimizer.zero_grad()

    session(tmp_path / "run", train)
    tree = open_run(tmp_path / "run")
    assert [each["class"] for each in tree.attrs["optimizers"]] == ["SGD"]
    assert tree["step"].values.tolist() == list(range(STEPS))


def test_a_training_with_an_optimizer_finds_torch_as_it_was(tmp_path: Path) -> None:
    found = []

    def train() -> None:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
        for x in batches():
            depth, seg = net.losses(x)
            (depth + seg).backward()
            optimizer.step()
            found.append("grad" in vars(torch.Tensor))

    session(tmp_path / "run", train)
    assert found == [False] * STEPS


def test_nothing_is_left_in_torch_afterwards(tmp_path: Path) -> None:
    session(tmp_path / "run", lambda: trained(subtracted)(Net(), Truth()))
    assert "grad" not in vars(torch.Tensor)


def test_steps_whose_gradients_cannot_be_known_are_counted_with_the_reason(tmp_path: Path) -> None:
    def train() -> None:
        net = Net()
        params = list(net.parameters())
        for x in batches():
            depth, seg = net.losses(x)
            (depth + seg).backward()
            held = [p.grad for p in params]
            with torch.no_grad():
                for p, g in zip(params, held, strict=True):
                    p.sub_(RATE * g)
                for g in held:
                    g.zero_()  # type: ignore[union-attr]

    made = session(tmp_path / "run", train)
    result: Any = made.result  # type: ignore[attr-defined]
    assert result.steps == {}
    assert f"of {STEPS} steps" in str(result.message)
    assert "not to be seen" in str(result.message)


def test_steps_up_the_gradient_are_said(tmp_path: Path) -> None:
    def up(params: Iterable[Tensor]) -> None:
        for p in params:
            p.data += 1e-3 * p.grad  # type: ignore[operator]

    tree = recorded(tmp_path / "run", trained(up))
    assert any("go up the gradient" in text for text in tree.attrs["remarks"])
    assert_rates(tree, -1e-3)


def test_evaluation_between_the_steps_makes_no_step(tmp_path: Path) -> None:
    def program(net: Net, truth: Truth) -> None:
        params = list(net.parameters())
        for x in batches():
            for p in params:
                p.grad = None
            depth, seg = net.losses(x)
            truth.note(net, depth, seg)
            (depth + seg).backward()
            subtracted(params)
            kept = [p.detach().clone() for p in params]
            for p in params:
                p.data.mul_(0.5)
            net.losses(x)
            for p, value in zip(params, kept, strict=True):
                p.data.copy_(value)

    assert_rates(recorded(tmp_path / "run", program))


def weights() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return (
        torch.randn(6, 8, requires_grad=True),
        torch.randn(8, 1, requires_grad=True),
        torch.randn(8, 1, requires_grad=True),
    )


def test_matrices_that_no_model_owns_are_parameters_where_there_is_no_optimizer(tmp_path: Path) -> None:
    def train() -> None:
        trunk, head, other = weights()
        for x in batches():
            z = (x @ trunk).tanh()
            depth, seg = ((z @ head)[:, 0] - x.sum(1)).square().mean(), (z @ other).abs().mean()
            (depth + seg).backward()
            with torch.no_grad():
                for p in (trunk, head, other):
                    p -= RATE * p.grad  # type: ignore[operator]
                    p.grad = None

    session(tmp_path / "run", train)
    tree = open_run(tmp_path / "run")
    names = tree["gradient/total"]["parameter"].values
    assert sorted(set(names.tolist())) == ["head", "other", "trunk"]
    assert tree["step"].values.tolist() == list(range(STEPS))
    assert_rates(tree)


@pytest.mark.parametrize("every", [1, 3])
def test_new_tensors_in_the_place_of_the_parameters_are_counted_with_the_reason(every: int, tmp_path: Path) -> None:
    def train() -> None:
        params = list(weights())
        for x in batches():
            z = (x @ params[0]).tanh()
            loss = (z @ params[1]).square().mean() + (z @ params[2]).abs().mean()
            gradients = torch.autograd.grad(loss, params)
            params = [(p - RATE * g).detach().requires_grad_() for p, g in zip(params, gradients, strict=True)]

    result: Any = session(tmp_path / "run", train, every=every).result  # type: ignore[attr-defined]
    assert result.steps == {}
    assert "new tensors in the place of its parameters" in str(result.message)
    assert "steps that were taken" in str(result.message)


def test_gradients_of_torch_func_are_said_not_to_be_seen(tmp_path: Path) -> None:
    def train() -> None:
        params = tuple(p.detach() for p in weights())

        def loss(params: tuple[Tensor, ...], x: Tensor) -> Tensor:
            z = (x @ params[0]).tanh()
            return (z @ params[1]).square().mean() + (z @ params[2]).abs().mean()

        for x in batches():
            gradients = torch.func.grad(loss)(params, x)
            params = tuple(p - RATE * g for p, g in zip(params, gradients, strict=True))

    result: Any = session(tmp_path / "run", train).result  # type: ignore[attr-defined]
    assert "torch.func.grad" in str(result.message)
