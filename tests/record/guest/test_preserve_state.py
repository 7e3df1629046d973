"""What passes of our own change is put back: after an exception as after a good end."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dominance.errors import RecordingFailed
from dominance.record.guest.preserve_state import undisturbed

torch.set_num_threads(1)


class Boom(Exception):
    pass


@pytest.fixture(params=[False, True], ids=["good end", "exception"])
def ours(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a pass inside, ended by an exception or not."""

    def run(work: Callable[[], Any], *args: Any) -> None:
        try:
            with undisturbed(*args):
                work()
                if request.param:
                    raise Boom
        except Boom:
            assert request.param

    return run


def test_random_states(ours: Callable[..., None]) -> None:
    def states() -> list[Any]:
        legacy: Any = np.random.get_state()
        return [torch.get_rng_state().tolist(), random.getstate(), [legacy[1].tolist(), *legacy[2:]]]

    np.random.standard_normal()  # leaves the second number of a pair in the state
    before = states()

    def draw() -> None:
        torch.rand(3)
        random.random()
        np.random.standard_normal(4)
        assert all(now != then for now, then in zip(states(), before, strict=True))

    ours(draw, [], [])
    assert states() == before


def test_statistics_of_batch_norm(ours: Callable[..., None]) -> None:
    """Its kernel writes them without counting up their version."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net(torch.randn(8, 3))
    before = {name: b.clone() for name, b in net.named_buffers()}
    held = [id(b) for b in net.buffers()]
    ours(lambda: net(torch.randn(8, 3) + 5), [net], [])
    assert [id(b) for b in net.buffers()] == held
    assert len(before) == 3
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, before[name])


def test_a_restored_buffer_does_not_look_changed() -> None:
    """A backward pass that saved it goes on."""
    net = nn.BatchNorm1d(4).eval()
    out = net(torch.randn(8, 4))
    with undisturbed([net], []):
        net.train()(torch.randn(8, 4))
    out.sum().backward()
    assert net.training is False


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.calls = 0
        self.last: Tensor | None = None
        self.average: Tensor
        self.register_buffer("average", torch.zeros(2))
        self.register_buffer("nothing", None)
        self.register_buffer("expanded", torch.zeros(1).expand(3))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.inner(x)
        # A new tensor, where batch norm writes into the old one.
        self.average = 0.9 * self.average + 0.1 * x.detach().mean(0)
        return self.last


def test_attributes_and_buffers_that_are_assigned(ours: Callable[..., None]) -> None:
    net = nn.Sequential(Counting())
    net(torch.ones(4, 2))
    calls, last, average = net[0].calls, net[0].last, net[0].average
    value = average.clone()
    ours(lambda: net(torch.ones(4, 2)), [net], [])
    assert net[0].calls == calls == 1
    assert net[0].last is last
    assert net[0].average is average
    assert torch.equal(average, value)


class Logging(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []
        self.counts = {"calls": 0}
        self.kinds = {"first"}

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(float(x.sum()))
        self.counts["calls"] += 1
        self.kinds.add("more")
        self.kinds.discard("first")
        self.made = x
        return x


def test_attributes_that_are_made_and_containers_that_are_filled(ours: Callable[..., None]) -> None:
    net = Logging()
    held = (net.seen, net.counts, net.kinds)
    ours(lambda: net(torch.ones(2)), [net], [])
    assert (net.seen, net.counts, net.kinds) == ([], {"calls": 0}, {"first"})
    assert all(a is b for a, b in zip(held, (net.seen, net.counts, net.kinds), strict=True))
    assert not hasattr(net, "made")


class Scriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.norm = nn.BatchNorm1d(2)
        self.average: Tensor
        self.register_buffer("average", torch.zeros(2))

    def forward(self, x):
        self.count += 1
        self.average += x.mean(0)
        return self.norm(x)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_module_beside_an_ordinary_one(ours: Callable[..., None]) -> None:
    scripted, norm = torch.jit.script(Scriptable()), nn.BatchNorm1d(2)
    net = nn.Sequential(scripted, norm)
    net(torch.randn(4, 2))
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    random = torch.get_rng_state()

    def forward() -> None:
        net(torch.randn(4, 2) + 3)
        assert scripted.count == 2
        assert all(not torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())

    ours(forward, [net], [])
    assert scripted.count == 1
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert torch.equal(torch.get_rng_state(), random)


class Retained:
    """A tensor, to all that is asked of it; ``error`` is raised when its gradient is put back, once."""

    def __init__(self, error: BaseException) -> None:
        self.held: Any = "before"
        self.error: BaseException | None = error

    @property
    def grad(self) -> Any:
        return self.held

    @grad.setter
    def grad(self, value: Any) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.held = value


@pytest.mark.parametrize(
    ("error", "raised"), [(AttributeError("no"), RecordingFailed), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_each_piece_is_put_back_whatever_becomes_of_the_others(error: BaseException, raised: type) -> None:
    """An interrupt comes after all are."""
    net = nn.Sequential(nn.BatchNorm1d(2), Logging())
    statistics, state = net[0].running_mean.clone(), cast(Any, np.random.get_state())
    retained: Any = Retained(error)

    def disturb() -> None:
        with undisturbed([net], [], [retained]):
            net(torch.randn(4, 2) + 3)
            np.random.rand()
            retained.held = "changed"

    with pytest.raises(raised) as caught:
        disturb()
    assert net[1].seen == []
    assert torch.equal(net[0].running_mean, statistics)
    assert np.array_equal(cast(Any, np.random.get_state())[1], state[1])
    if raised is RecordingFailed:
        assert "a retained gradient (AttributeError: no) could not be put back" in str(caught.value)
    else:
        assert retained.held == "before"


def test_checkpointed_batch_norm_sees_each_batch_once() -> None:
    x = torch.randn(8, 3, requires_grad=True)
    nets = [nn.BatchNorm1d(3), nn.BatchNorm1d(3)]
    for net, watched in zip(nets, (False, True), strict=True):
        loss = checkpoint(net, x, use_reentrant=False).square().sum()
        if watched:
            with undisturbed([net], list(net.parameters())):
                torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
        loss.backward()
    assert nets[0].num_batches_tracked == nets[1].num_batches_tracked
    assert torch.equal(nets[0].running_mean, nets[1].running_mean)


def test_nothing_is_printed_or_warned_of(ours: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    stdout, warn = sys.stdout, warnings.warn

    def speak() -> None:
        print("hello")
        sys.stdout.write("there")
        warnings.warn("an error in these tests", stacklevel=1)

    ours(speak, [], [])
    assert capsys.readouterr().out == ""
    assert sys.stdout is stdout
    assert warnings.warn is warn
    with pytest.warns(UserWarning, match="again"):
        warnings.warn("again", stacklevel=1)


def test_hooks_of_leaves_are_silent_and_back_in_order(ours: Callable[..., None]) -> None:
    heard: list[str] = []
    parameter = torch.ones(2, requires_grad=True)
    plain = torch.ones(2, requires_grad=True)
    parameter.register_hook(lambda gradient: heard.append("first"))
    second = parameter.register_hook(lambda gradient: heard.append("second"))
    loss = (parameter * plain).sum()
    ours(lambda: torch.autograd.grad(loss, [parameter], retain_graph=True), [], [parameter, plain])
    assert heard == []
    loss.backward(retain_graph=True)
    assert heard == ["first", "second"]
    second.remove()
    loss.backward()
    assert heard == ["first", "second", "first"]
    assert plain._backward_hooks is None


@pytest.mark.parametrize("already", [False, True])
def test_gradients_that_are_retained(already: bool, ours: Callable[..., None]) -> None:
    x = torch.ones(2, requires_grad=True)
    inner = x * 2
    inner.retain_grad()
    loss = inner.square().sum()
    if already:
        loss.backward(retain_graph=True)
    before = inner.grad
    value = None if before is None else before.tolist()
    ours(lambda: torch.autograd.grad(loss, [x], retain_graph=True), [], [x], [inner])
    assert inner.grad is before
    assert (None if before is None else before.tolist()) == value
    loss.backward()
    assert inner.grad.tolist() == ([8, 8] if already else [4, 4])
