"""States and copies of task-wise optimizers go on to the bit."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optim.problems import Problem
from torch import Tensor, nn

from dominance.optim import PUB, AdaTask, AdaTaskAdagrad, AdaTaskAdam, AdaTaskRMSprop, Clippy
from dominance.optim.engine.taskwise import TaskwiseOptimizer

torch.set_num_threads(1)

MAKE: dict[str, Callable[..., TaskwiseOptimizer]] = {
    "adam": AdaTaskAdam,
    "amsgrad": lambda params: AdaTaskAdam(params, amsgrad=True, weight_decay=0.1),
    "adagrad": AdaTaskAdagrad,
    "layers": lambda params: AdaTaskRMSprop(params, granularity="layer"),
    "adam layers": lambda params: AdaTaskAdam(params, granularity="module", decoupled_weight_decay=True),
    "pub": lambda params: PUB(params, every=2),
    "pub adatask": lambda params: PUB(params, "rmsprop", manipulation=AdaTask()),
    "pub clippy": lambda params: PUB(params, manipulation=Clippy()),
}


def named(net: nn.Module) -> list[tuple[str, Tensor]]:
    return list(net.named_parameters())


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def train(problem: Problem, optimizer: TaskwiseOptimizer, steps: int, first: int = 0) -> None:
    """Some tasks are absent from some batches, and the order changes."""
    for step in range(first, first + steps):
        problem.batch()
        optimizer.zero_grad()
        losses: dict[str, Tensor | None] = dict(problem.losses())
        if step % 3 == 1:
            losses = dict(reversed(losses.items()))
            losses["b"] = None
        optimizer.backward(losses)
        optimizer.step()


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_state_goes_on_to_the_bit(make: Callable[..., TaskwiseOptimizer]) -> None:
    problem = Problem()
    optimizer = make(named(problem.net))
    train(problem, optimizer, 5)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = Problem()
    resumed.net.load_state_dict(problem.net.state_dict())
    after = make(named(resumed.net))
    after.load_state_dict(torch.load(file, weights_only=True))
    resumed.generator.set_state(problem.generator.get_state())
    train(problem, optimizer, 5, first=6)
    train(resumed, after, 5, first=6)
    assert torch.equal(flat(problem.net), flat(resumed.net))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["deep", "pickle"]
)
@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_copies_go_on_to_the_bit(make: Callable[..., TaskwiseOptimizer], copied: Callable[[Any], Any]) -> None:
    problem = Problem()
    optimizer = make(named(problem.net))
    train(problem, optimizer, 3)
    net, other = copied((problem.net, optimizer))
    twin = Problem()
    twin.net = net
    twin.generator.set_state(problem.generator.get_state())
    train(problem, optimizer, 3, first=4)
    train(twin, other, 3, first=4)
    assert torch.equal(flat(problem.net), flat(net))


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_freezing_after_a_resume_makes_no_difference(make: Callable[..., TaskwiseOptimizer]) -> None:
    problem = Problem()
    optimizer = make(named(problem.net))
    train(problem, optimizer, 3)
    resumed = Problem()
    resumed.net.load_state_dict(problem.net.state_dict())
    resumed.generator.set_state(problem.generator.get_state())
    after = make(named(resumed.net))
    after.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, its_optimizer in ((problem, optimizer), (resumed, after)):
        each.net.trunk[0].requires_grad_(False)
        train(each, its_optimizer, 3)
        each.net.trunk[0].requires_grad_(True)
        train(each, its_optimizer, 2)
    assert torch.equal(flat(problem.net), flat(resumed.net))


def test_what_a_batch_with_one_task_shares_is_known_after_a_resume() -> None:
    problem = Problem()
    optimizer = PUB(problem.net.parameters())
    train(problem, optimizer, 1)
    resumed = PUB(problem.net.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    problem.batch()
    resumed.zero_grad()
    resumed.backward({"a": problem.losses()["a"]})
    resumed.step()
    assert resumed.alpha["a"] == pytest.approx(1.0)  # solved for, since the trunk is shared
    assert resumed.alpha["b"] == optimizer.alpha["b"]
