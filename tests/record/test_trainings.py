"""Ways to train that people really write: each recorded step against gradients taken by hand, by nobody recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from forks import Forks
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils.hooks import RemovableHandle

from dominance.record.recorder import Recorder
from dominance.store.reader import open_run

torch.set_num_threads(1)
Losses = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(6, 8)
        self.depth = nn.Linear(8, 1)
        self.seg = nn.Linear(8, 1)

    def losses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.trunk(x).tanh()
        return (self.depth(z)[:, 0] - x.sum(1)).square().mean(), 3 * (self.seg(z)[:, 0] - x[:, 0]).abs().mean()


class Truth:
    """Task gradients and steps as they are; it looks only while nobody records."""

    def __init__(self, net: Net) -> None:
        self.net, self.on = net, False
        self.gradients: list[dict[str, dict[str, Tensor]]] = []
        self.starts: list[dict[str, Tensor]] = []

    def note(self, depth: Tensor, seg: Tensor, *, again: bool = False) -> None:
        """These are the losses by whose gradients the step is taken; ``again``: not those noted before."""
        if not self.on:
            return
        found = {}
        for task, loss in (("depth", depth), ("seg", seg)):
            named = dict(self.net.named_parameters())
            taken = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            found[task] = {name: g for name, g in zip(named, taken, strict=True) if g is not None}
        if again:
            self.gradients.pop()
        else:
            self.start()
        self.gradients.append(found)

    def start(self) -> None:
        if self.on:
            self.starts.append({name: p.detach().clone() for name, p in self.net.named_parameters()})


Loop = Callable[[Net, Any, Truth], None]
STEPS = 6


def batches() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        yield torch.randn(16, 6, generator=generator)


def run(
    loop: Loop, optimizer: Callable[[Net], Any], path: Path, given: Callable[[Any], Any] = lambda o: o
) -> xr.DataTree:
    """The recorded run, after it was compared with the same training recorded by nobody."""
    torch.manual_seed(0)
    net = Net()
    plain = copy.deepcopy(net)
    truth = Truth(plain)
    truth.on = True
    loop(plain, optimizer(plain), truth)
    truth.start()
    made = optimizer(net)
    with Recorder(path, net, given(made), exact=True):
        loop(net, made, Truth(net))
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other), "the training was changed"
    tree = open_run(path)
    compare(tree, truth)
    return tree


def compare(tree: xr.DataTree, truth: Truth) -> None:
    assert tree.attrs["tasks"] == ["depth", "seg"]
    assert tree["step"].values.tolist() == list(range(STEPS)), "every step, and nothing else, is one"
    assert tree.attrs["steps_taken"] == STEPS
    names = tree["gradient/gradient"]["parameter"].values
    for step in range(STEPS):
        for name in np.unique(names):
            here = names == name
            total = truth.starts[step + 1][name] - truth.starts[step][name]
            stored = tree["update/total"].values[step, here]
            np.testing.assert_allclose(stored, total.flatten(), rtol=1e-3, atol=1e-6, err_msg=f"{step} {name}")
            for task in ("depth", "seg"):
                true = truth.gradients[step][task].get(name)
                stored = tree["gradient/gradient"].sel(task=task).values[step, here]
                expected = np.zeros(here.sum()) if true is None else true.flatten().numpy()
                np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=1e-6, err_msg=f"{step} {name} {task}")


def parts(tree: xr.DataTree) -> Any:
    update = tree["update"]
    beside = sum(update[part].values for part in ("residual", "unattributed", "decay", "outside"))
    return update["update"].sum("task").values + beside


def assert_additive(tree: xr.DataTree) -> None:
    assert tree.attrs["attribution"] == "additive"
    total = tree["update/total"].values
    np.testing.assert_allclose(parts(tree), total, rtol=1e-3, atol=2e-5 * np.abs(total).max())


def plain_loop(net: Net, optimizer: Any, truth: Truth) -> None:
    for x in batches():
        depth, seg = net.losses(x)
        truth.note(depth, seg)
        optimizer.zero_grad()
        (depth + seg).backward()
        optimizer.step()


def closure_loop(net: Net, optimizer: Any, truth: Truth) -> None:
    """As trainers do: forward, zero_grad and backward inside the step."""
    for x in batches():

        def closure(x: Tensor = x) -> Tensor:
            depth, seg = net.losses(x)
            truth.note(depth, seg)
            optimizer.zero_grad()
            loss = depth + seg
            loss.backward()
            return loss

        optimizer.step(closure)


class Shared(SGD):
    """A dynamic subclass that shares the optimizer's ``__dict__`` and hands the closure on."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.__dict__ = {key: value for key, value in optimizer.__dict__.items() if key != "step"}
        self.__class__ = type(f"Wrapped{type(optimizer).__name__}", (Shared, type(optimizer)), {})
        self._inner = optimizer

    def step(self, closure: Any = None) -> Any:
        return self._inner.step(closure)


class Handing(Optimizer):
    """An Optimizer without a state of its own, as launch libraries have it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)
    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
@pytest.mark.parametrize("loop", [plain_loop, closure_loop])
@pytest.mark.parametrize("wrap", [lambda o: o, Shared, Handing])
def test_closures_and_wrappers_that_hand_on(make: Any, loop: Loop, wrap: Any, tmp_path: Path) -> None:
    inner: list[Optimizer] = []

    def optimizer(net: Net) -> Any:
        inner.append(make(net.parameters(), lr=0.02))
        return wrap(inner[-1])

    assert_additive(run(loop, optimizer, tmp_path / "run", given=lambda made: [made, inner[-1]]))


class Ahead(Optimizer):
    """Lookahead: every second step the weights are pulled back halfway to slow ones."""

    def __init__(self, inner: Optimizer) -> None:
        self.inner, self.count = inner, 0
        super().__init__([p for group in inner.param_groups for p in group["params"]], {})
        self.param_groups = inner.param_groups
        self.slow = {p: p.detach().clone() for group in self.param_groups for p in group["params"]}

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = self.inner.step(closure)
        self.count += 1
        if self.count % 2 == 0:
            with torch.no_grad():
                for p, slow in self.slow.items():
                    slow.add_(p - slow, alpha=0.5)
                    p.copy_(slow)
        return loss


def test_a_pull_towards_slow_weights_is_a_part_of_its_own(tmp_path: Path) -> None:
    inner: list[Optimizer] = []

    def optimizer(net: Net) -> Ahead:
        inner.append(SGD(net.parameters(), lr=0.05))
        return Ahead(inner[-1])

    tree = run(plain_loop, optimizer, tmp_path / "run", given=lambda made: [made, inner[-1]])
    assert_additive(tree)
    outside = np.abs(tree["update/outside"].values).max(axis=1)
    assert [bool(value > 0) for value in outside] == [False, True] * 3
    exact = tree["layer/outside_sq"].values.sum(axis=1)
    np.testing.assert_allclose(exact, (tree["update/outside"].values ** 2).sum(axis=1), rtol=1e-5)
    moved = tree["layer/total_update_sq"].values.sum(axis=1)
    np.testing.assert_allclose(moved, (tree["update/total"].values ** 2).sum(axis=1), rtol=1e-5)
    product = (tree["update/total"].values * tree["gradient/total"].values).sum(axis=1)
    np.testing.assert_allclose(tree["layer/total_gradient_dot_update"].values.sum(axis=1), product, rtol=1e-4)


@pytest.mark.parametrize("before", [True, False])
def test_a_clamp_of_the_weights_is_outside(before: bool, tmp_path: Path) -> None:
    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(depth, seg)
            optimizer.zero_grad()
            (depth + seg).backward()
            for when in (True, False):
                if when == before:
                    with torch.no_grad():
                        net.trunk.weight.clamp_(-0.2, 0.2)
                if when:
                    optimizer.step()

    tree = run(loop, lambda net: Adam(net.parameters(), lr=0.02), tmp_path / "run")
    assert_additive(tree)
    mine = tree["update/outside"]["parameter"].values == "trunk.weight"
    assert np.abs(tree["update/outside"].values[:, mine]).max() > 0
    assert np.abs(tree["update/outside"].values[:, ~mine]).max() == 0


class Sharp(Optimizer):
    """Sharpness-aware: the gradient at disturbed weights, by a closure or in two steps."""

    def __init__(self, net: Net, rho: float = 0.5) -> None:
        super().__init__(net.parameters(), {"rho": rho, "lr": 0.05})
        self.base = SGD(self.param_groups, lr=0.05)

    @torch.no_grad()
    def climb(self) -> None:
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in held]).norm()
        for p in held:
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad, alpha=float(0.5 / norm))
        self.zero_grad()

    @torch.no_grad()
    def descend(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old"]
        self.base.step()
        self.zero_grad()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.climb()
        with torch.enable_grad():
            closure()
        self.descend()


@pytest.mark.parametrize("closure", [True, False])
def test_sharpness_aware_steps_are_made_of_the_second_gradient(closure: bool, tmp_path: Path) -> None:
    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(depth, seg)
            (depth + seg).backward()

            def again(x: Tensor = x) -> Tensor:
                depth, seg = net.losses(x)
                truth.note(depth, seg, again=True)
                loss = depth + seg
                loss.backward()
                return loss

            if closure:
                optimizer.step(again)
            else:
                optimizer.climb()
                again()
                optimizer.descend()

    tree = run(loop, Sharp, tmp_path / "run", given=lambda made: [made, made.base])
    assert_additive(tree)
    assert tree["loss/weight"].values.tolist() == [[1.0, 1.0]] * STEPS


class Halving(Optimizer):
    """A line search: the step along the first gradient is halved until the loss falls; the last call confirms it."""

    def __init__(self, net: Net) -> None:
        super().__init__(net.parameters(), {"lr": 0.2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.enable_grad():
            loss = closure()
        held = [(p, p.detach().clone(), p.grad.clone()) for group in self.param_groups for p in group["params"]]
        lr = 0.2
        while lr > 1e-4:
            for p, start, gradient in held:
                p.copy_(start - lr * gradient)
            with torch.enable_grad():
                if closure() < loss:
                    return
            lr /= 2


def test_a_line_search_is_made_of_the_first_gradient(tmp_path: Path) -> None:
    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for x in batches():
            calls: list[Any] = []

            def closure(x: Tensor = x, calls: list[int] = calls) -> Tensor:
                depth, seg = net.losses(x)
                if not calls:
                    truth.note(depth, seg)
                calls.append(1)
                optimizer.zero_grad()
                loss = depth + seg
                loss.backward()
                return loss

            optimizer.step(closure)

    run(loop, Halving, tmp_path / "run")


class Thrifty(SGD):
    """Changes or drops the gradients in its own step."""

    def __init__(self, net: Net, how: str) -> None:
        super().__init__(net.parameters(), lr=0.05)
        self.how = how

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if self.how == "scales":
                    p.grad.mul_(group["lr"])
                    p.sub_(p.grad)
                else:
                    p.sub_(p.grad, alpha=group["lr"])
                    p.grad = None if self.how == "drops" else torch.randn_like(p)


@pytest.mark.parametrize("how", ["scales", "drops", "overwrites"])
def test_what_an_optimizer_does_to_the_gradients_in_its_step(how: str, tmp_path: Path) -> None:
    tree = run(plain_loop, lambda net: Thrifty(net, how), tmp_path / "run")
    assert tree["layer/residual_gradient_sq"].values.max() == 0
    assert_additive(tree)


def test_an_optimizer_that_steps_within_backward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gradient release: step(param=p) from a hook on each parameter; the script's own step does nothing."""
    handles: list[RemovableHandle] = []

    class Release(Optimizer):
        def __init__(self, net: Net) -> None:
            super().__init__(net.parameters(), {"lr": 0.05})
            handles.extend(p.register_post_accumulate_grad_hook(self.at_once) for p in net.parameters())

        def at_once(self, p: Tensor) -> None:
            self.step(param=p)
            p.grad = None

        @torch.no_grad()
        def step(self, closure: Any = None, param: Any = None) -> None:  # type: ignore[override]
            if param is not None:
                param.sub_(param.grad, alpha=0.05)

    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(depth, seg)
            (depth + seg).backward()
            optimizer.step()

    run(loop, Release, tmp_path / "run")
    assert "dominance: 2 tasks: depth, seg" in capsys.readouterr().err
    for handle in handles:  # else model and optimizer hold each other where Python's collector does not see it
        handle.remove()


def test_one_graph_gone_through_twice_for_different_parameters(tmp_path: Path) -> None:
    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        trunk, heads = list(net.trunk.parameters()), [*net.depth.parameters(), *net.seg.parameters()]
        for x in batches():
            depth, seg = net.losses(x)
            truth.note(depth, seg)
            optimizer.zero_grad()
            loss = depth + seg
            loss.backward(inputs=trunk, retain_graph=True)
            loss.backward(inputs=heads)
            optimizer.step()

    tree = run(loop, lambda net: SGD(net.parameters(), lr=0.05), tmp_path / "run")
    assert tree["loss/weight"].values.tolist() == [[1.0, 1.0]] * STEPS


def test_steps_that_make_a_state_and_gradients_by_inputs_are_no_steps(tmp_path: Path) -> None:
    """A checkpoint library's step at rate zero before the first, and a derivative by the inputs after the last."""

    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 0.05
        plain_loop(net, optimizer, truth)
        x = torch.ones(2, 6, requires_grad=True)
        torch.autograd.grad(net.losses(x)[0], x)

    tree = run(loop, lambda net: SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1), tmp_path / "run")
    assert_additive(tree)
    assert np.abs(tree["update/unattributed"].values[0]).max() > 0, "momentum that no task has fed is no task's"


MASTERS = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.ModuleDict({"trunk": nn.Linear(6, 8), "depth": nn.Linear(8, 1), "seg": nn.Linear(8, 1)}).bfloat16()
masters = [p.detach().float().clone().requires_grad_() for p in net.parameters()]
optimizer = torch.optim.SGD(masters, lr=0.05)
fed = []
for _ in range(4):
    x = torch.randn(16, 6).bfloat16()
    z = net["trunk"](x).tanh()
    depth = (net["depth"](z)[:, 0] - x.sum(1)).float().square().mean()
    seg = (net["seg"](z)[:, 0] - x[:, 0]).float().abs().mean()
    net.zero_grad()
    (depth + seg).backward()
    for master, p in zip(masters, net.parameters()):
        master.grad = p.grad.float() / 2
    fed.append(torch.cat([master.grad.flatten() for master in masters]))
    optimizer.step()
    with torch.no_grad():
        for master, p in zip(masters, net.parameters()):
            p.copy_(master)
torch.save(torch.stack(fed), "fed.pt")
"""
RECORD = ("-m", "dominance", "record", "--every", "1", "--exact", "-o", "run")


def test_masters_in_single_precision_go_by_the_names_of_the_model(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(MASTERS)
    done = forks.python(*RECORD, "train.py", cwd=tmp_path)
    assert done.stderr.splitlines()[0] == "dominance: 2 tasks: depth, seg"
    fed = torch.load(tmp_path / "fed.pt").numpy()
    tree = open_run(tmp_path / "run")
    names = [f"{layer}.{kind}" for layer in ("trunk", "depth", "seg") for kind in ("weight", "bias")]
    assert [p["name"] for p in tree.attrs["parameters"]] == names
    np.testing.assert_allclose(tree["gradient/total"].values, fed, rtol=1e-6)
    np.testing.assert_allclose(tree["gradient/gradient"].sum("task").values, fed, atol=2e-2 * np.abs(fed).max())
    np.testing.assert_allclose(tree["loss/weight"].values, 0.5)
    assert tree["layer/unexplained_gradient_sq"].values.max() < 1e-4 * tree["layer/total_gradient_sq"].values.max()


def test_masters_of_one_number_are_told_apart_also_where_a_gradient_is_zero(forks: Forks, tmp_path: Path) -> None:
    """Of one number any other is a multiple; the first gradient of the first head's bias is zero."""
    balanced = "(x.sum(1) if fed else 9 * torch.ones(16).bfloat16() * (-1) ** torch.arange(16))"
    text = MASTERS.replace("- x.sum(1)).float().square()", f"- {balanced}).float().abs()")
    (tmp_path / "train.py").write_text(text)
    assert forks.python(*RECORD, "train.py", cwd=tmp_path).returncode == 0
    fed = torch.load(tmp_path / "fed.pt").numpy()
    assert (fed == 0).sum() == 1
    np.testing.assert_allclose(open_run(tmp_path / "run")["gradient/total"].values, fed, rtol=1e-6)


def test_optimizers_at_different_rates(tmp_path: Path) -> None:
    """The trunk steps at every second batch, by the gradients of both."""
    torch.manual_seed(0)
    net = Net()
    slow = SGD(net.trunk.parameters(), lr=0.05)
    fast = SGD([*net.depth.parameters(), *net.seg.parameters()], lr=0.05)
    fed = []
    with Recorder(tmp_path / "run", net, [slow, fast], exact=True):
        for number, x in enumerate(batches()):
            depth, seg = net.losses(x)
            fast.zero_grad()
            (depth + seg).backward()
            fast.step()
            fed.append(torch.zeros(8) if number % 2 == 0 else net.trunk.bias.grad.clone())
            if number % 2:
                slow.step()
                slow.zero_grad()
    tree = open_run(tmp_path / "run")
    mine = tree["gradient/total"]["parameter"].values == "trunk.bias"
    tasks = tree["gradient/gradient"].sum("task").values[:, mine]
    np.testing.assert_allclose(tasks, torch.stack(fed), rtol=1e-5, atol=1e-7)
    assert tree["layer/residual_gradient_sq"].values.max() == 0
    assert_additive(tree)


def test_gradients_that_are_never_zeroed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = SGD(net.parameters(), lr=0.01)
    fed = []
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for x in batches():
            depth, seg = net.losses(x)
            (depth + seg).backward()
            fed.append(net.trunk.bias.grad.clone())
            optimizer.step()
    tree = open_run(tmp_path / "run")
    mine = tree["gradient/total"]["parameter"].values == "trunk.bias"
    tasks = tree["gradient/gradient"].sum("task").values[:, mine]
    np.testing.assert_allclose(tasks, torch.stack(fed), rtol=1e-5, atol=1e-6)


def generator_and_discriminator() -> tuple[nn.Module, nn.Module, Optimizer, Optimizer]:
    """Both networks, and an optimizer of each."""
    torch.manual_seed(0)
    make, judge = nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    return make, judge, Adam(make.parameters(), 1e-3), Adam(judge.parameters(), 1e-3)


def train_generator_first(path: Path) -> xr.DataTree:
    """The run of a GAN whose generator steps before its discriminator does."""
    make, judge, of_make, of_judge = generator_and_discriminator()
    with Recorder(path, nn.ModuleDict({"make": make, "judge": judge}), [of_make, of_judge]):
        for _ in range(4):
            of_make.zero_grad()
            fake = make(torch.randn(8, 4))
            make_loss = (judge(fake) - 1).square().mean()
            make_loss.backward()
            of_make.step()
            of_judge.zero_grad()
            real_loss = (judge(torch.randn(8, 3)) - 1).square().mean()
            fake_loss = judge(fake.detach()).square().mean()
            (real_loss + fake_loss).backward()
            of_judge.step()
    return open_run(path)


def test_a_generator_is_no_task_of_the_discriminator_that_drops_its_gradient(tmp_path: Path) -> None:
    tree = train_generator_first(tmp_path / "run")
    reach = {p["name"]: p["tasks"] for p in tree.attrs["parameters"]}
    assert reach["make.weight"] == ["make_loss"]
    assert reach["judge.0.weight"] == ["real_loss", "fake_loss"]
    assert tree["layer/residual_gradient_sq"].values.max() == 0


def test_a_generator_that_steps_after_the_discriminator_is_no_task_beside_its_losses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, judge, of_make, of_judge = generator_and_discriminator()
    with Recorder(tmp_path / "run", nn.ModuleDict({"make": make, "judge": judge}), [of_make, of_judge]):
        for _ in range(4):
            of_judge.zero_grad()
            real_loss = (judge(torch.randn(8, 3)) - 1).square().mean()
            real_loss.backward()
            fake = make(torch.randn(8, 4))
            fake_loss = judge(fake.detach()).square().mean()
            fake_loss.backward()
            of_judge.step()
            of_make.zero_grad()
            make_loss = (judge(fake) - 1).square().mean()
            make_loss.backward()
            of_make.step()
    tree = open_run(tmp_path / "run")
    assert tree.attrs["tasks"] == ["real_loss", "fake_loss"]
    assert tree.sizes["step"] == 8
    said = (
        "make_loss: no task, since it trains a model of its own, which Adam steps, and no parameter of the other tasks"
    )
    assert tree.attrs["remarks"] == [said]
    assert said in capsys.readouterr().err
    assert np.nan_to_num(tree["layer/unexplained_gradient_sq"].values).max() == 0


def test_a_task_of_the_first_step_stays_one_when_others_come_to_share_a_model(tmp_path: Path) -> None:
    tree = train_generator_first(tmp_path / "run")
    assert tree.attrs["tasks"] == ["make_loss", "real_loss", "fake_loss"]
    mine = tree["gradient/total"]["parameter"].values == "make.weight"
    of_make_loss = tree["gradient/gradient"].sel(task="make_loss").values[::2, mine]
    np.testing.assert_allclose(of_make_loss, tree["gradient/total"].values[::2, mine], rtol=1e-5)


def test_a_gradient_that_the_script_adds_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = SGD(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", net, optimizer):
        for x in batches():
            depth, seg = net.losses(x)
            optimizer.zero_grad()
            (depth + seg).backward()
            for p in net.parameters():
                p.grad += torch.randn_like(p)
            optimizer.step()
    assert "belongs to no task that was found: shares of the tasks are not to be trusted" in capsys.readouterr().err
    tree = open_run(tmp_path / "run")
    assert (tree["layer/unexplained_gradient_sq"].values > 0).all()


@pytest.mark.parametrize("weight", [0.01, 3.0])
def test_a_regulariser_with_a_name_is_explained(
    weight: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = SGD(net.parameters(), lr=0.001)
    with Recorder(tmp_path / "run", net, optimizer):
        for x in batches():
            depth, seg = net.losses(x)
            penalty = sum(p.square().sum() for p in net.parameters())
            optimizer.zero_grad()
            (depth + seg + weight * penalty).backward()
            optimizer.step()
    assert capsys.readouterr().err.splitlines() == ["dominance: 2 tasks: depth, seg; residual: penalty"]
    tree = open_run(tmp_path / "run")
    assert (tree["layer/residual_gradient_sq"].values > 0).all()
    assert tree["layer/unexplained_gradient_sq"].values.max() == 0


def test_a_closure_with_a_backward_for_each_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which tasks there are is said when its evaluation is over, not after the first of its passes."""

    def loop(net: Net, optimizer: Any, truth: Truth) -> None:
        for x in batches():

            def closure(x: Tensor = x) -> Tensor:
                depth, seg = net.losses(x)
                truth.note(depth, seg)
                optimizer.zero_grad()
                depth.backward(retain_graph=True)
                seg.backward()
                return (depth + seg).detach()

            optimizer.step(closure)

    assert_additive(run(loop, lambda net: Adam(net.parameters(), lr=0.01), tmp_path / "run"))
    said = capsys.readouterr().err
    assert "dominance: 2 tasks: depth, seg" in said
    assert "found 1 task" not in said
