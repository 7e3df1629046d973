"""Every touch of a watched tensor's ``.grad`` is told, and the script finds the attribute as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dominance.record.guest.grad_access import GradAccess, grad_of

torch.set_num_threads(1)


class Access:
    """Watches, and writes down what it is told with what lay in ``.grad`` then."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float | None]] = []
        self.undo: list[Callable[[], None]] = []
        self.access = GradAccess(self.patch, lambda what, *args: what(*args))

    def patch(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        setattr(owner, name, make(getattr(owner, name)))
        self.undo.append(lambda: delattr(owner, name))

    def watch(self, *tensors: Tensor) -> None:
        places = {id(tensor): place for place, tensor in enumerate(tensors)}

        def touched(tensor: Tensor) -> None:
            gradient = grad_of(tensor)
            self.told.append((places[id(tensor)], None if gradient is None else float(gradient.sum())))

        self.access.watch(tensors, touched)


@pytest.fixture
def watcher() -> Iterator[Access]:
    made = Access()
    yield made
    for undo in made.undo:
        undo()


def leaf(value: float = 1.0) -> Tensor:
    tensor = torch.tensor([value], requires_grad=True)
    (tensor * 3).sum().backward()
    return tensor


def test_read_set_and_deleted(watcher: Access) -> None:
    p = leaf()
    watcher.watch(p)
    assert p.grad is not None
    p.grad = torch.tensor([5.0])
    del p.grad
    assert p.grad is None
    assert watcher.told == [(0, 3.0), (0, 3.0), (0, 5.0), (0, None)]


def test_others_are_left_alone(watcher: Access) -> None:
    p, other = leaf(), leaf()
    watcher.watch(p)
    other.grad = other.grad * 2  # type: ignore[operator]
    assert watcher.told == []
    assert float(other.grad) == 6


def test_rested(watcher: Access) -> None:
    p = leaf()
    watcher.watch(p)
    watcher.access.rest([p])
    assert p.grad is not None
    assert watcher.told == []


def test_what_is_no_gradient_is_refused_as_by_torch(watcher: Access) -> None:
    p = leaf()
    watcher.watch(p)
    with pytest.raises(RuntimeError, match="of size"):
        p.grad = torch.ones(2)
    with pytest.raises(TypeError, match="grad"):
        p.grad = 3.0  # type: ignore[assignment]


def test_code_of_torch_that_reads_gradients(watcher: Access) -> None:
    net = nn.Linear(2, 1)
    net(torch.ones(3, 2)).sum().backward()
    watcher.watch(*net.parameters())
    twin = copy.deepcopy(net)
    norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
    net.zero_grad()
    assert float(norm) > 1
    assert net.weight.grad is None
    assert twin.weight.grad is None or twin.weight.grad.shape == twin.weight.shape
    assert {place for place, _ in watcher.told} == {0, 1}


def compiled_steps(watch: Callable[..., None]) -> tuple[list[str], Tensor]:
    """The graphs that a compiler makes of a step taken by hand, and the weights after some."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    net, graphs = nn.Linear(3, 2), []

    def backend(module: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(str(module.graph))
        return module.forward

    @torch.compile(backend=backend)
    def step(params: list[Tensor]) -> None:
        with torch.no_grad():
            for p in params:
                if p.grad is not None:
                    p.sub_(p.grad, alpha=0.5)  # type: ignore[arg-type]
                    p.grad.zero_()

    watch(*net.parameters())
    for _ in range(3):
        net(torch.randn(4, 3)).sum().backward()
        step(list(net.parameters()))
    return graphs, net.weight.detach().clone()


def test_a_compiled_step_is_compiled_as_it_is_without_us(watcher: Access) -> None:
    alone, weights = compiled_steps(lambda *params: None)
    graphs, watched = compiled_steps(watcher.watch)
    assert graphs == alone
    assert torch.equal(watched, weights)


def test_until_something_is_watched_nothing_is_put_in_place(watcher: Access) -> None:
    watcher.access.watch([], lambda p: None)
    assert "grad" not in vars(torch.Tensor)
