"""Gradients by way of the representation: what goes past it is refused, and hooks of it fire once a task."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from optim.architectures import TASKS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dominance.optim import MGDA, EqualWeight, PCGrad
from dominance.optim.engine.combiner import Combiner, Weighting
from dominance.optim.engine.task_gradients import Matrix

torch.set_num_threads(1)


class Ones(Weighting):
    """By way of the representation, the plain gradient."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: tuple[str, ...]) -> Matrix:  # type: ignore[override]
        return gram.diagonal() * 0 + 1


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.trunk = nn.Linear(3, 4), nn.Linear(4, 4)
        self.heads = nn.ModuleDict({task: nn.Linear(4, 1) for task in ("a", "b")})
        self.x = torch.randn(5, 3)

    def inside(self) -> Tensor:
        return torch.tanh(self.trunk(torch.tanh(self.stem(self.x))))

    def losses(self, z: Tensor) -> dict[str, Tensor]:
        return {task: head(z).square().mean() for task, head in self.heads.items()}


def test_a_loss_that_goes_past_its_representation_is_refused() -> None:
    net = Net()
    early = torch.tanh(net.stem(net.x))
    z = torch.tanh(net.trunk(early))
    losses = net.losses(z)
    losses["b"] = losses["b"] + early.mean()
    with pytest.raises(ValueError, match=r"'b' reaches parameters of the trunk otherwise .*\[\(4, 3\), \(4,\)\]"):
        PCGrad().backward(losses, net, representation=z)
    tied = net.losses(z)
    tied["a"] = tied["a"] + net.trunk.weight.sum()
    with pytest.raises(ValueError, match="'a' reaches parameters of the trunk otherwise"):
        PCGrad().backward(tied, net, representation=z)
    frozen = [p for p in net.parameters() if p is not net.trunk.weight]
    PCGrad().backward(tied, frozen, representation=z)
    assert net.stem.weight.grad is not None


def test_one_output_of_a_node_of_several_is_a_representation_and_the_other_goes_past_it() -> None:
    w, v = torch.ones(2, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    one, other = (w * 2).unbind()
    Ones().backward({"a": (one * v).sum(), "b": one.square().sum()}, [w, v], representation=one)
    assert w.grad is not None
    assert w.grad.tolist() == [[10.0] * 3, [0.0] * 3]
    one, other = (w * 2).unbind()
    with pytest.raises(ValueError, match="otherwise"):
        Ones().backward({"a": (one * v).sum(), "b": (one * other).sum()}, [w, v], representation=one)


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (lambda z: z.clone(), ValueError, "'a' is not made from its representation"),
        (lambda z: {"a": z, "b": z.clone()}, ValueError, "'b' is not made from its representation"),
        (lambda z: z.detach(), ValueError, "'a' is made from nothing that needs gradient"),
        (lambda z: z.detach().requires_grad_(), ValueError, "'a' is made from nothing that needs gradient"),
        (lambda z: [z, z], TypeError, "representation is a list"),
        (lambda z: {"a": z}, ValueError, "no tensor for b"),
        (lambda z: {"a": z, "b": 1.0}, TypeError, "'b' is a float"),
    ],
)
def test_mistakes_are_named(points: Callable[[Tensor], object], error: type[Exception], message: str) -> None:
    net = Net()
    z = net.inside()
    with pytest.raises(error, match=message):
        MGDA().backward(net.losses(z), net, representation=points(z))  # type: ignore[arg-type]
    assert all(p.grad is None for p in net.parameters())


def test_parameters_of_heads_alone_are_refused() -> None:
    net = Net()
    z = net.inside()
    with pytest.raises(ValueError, match="give those of the trunk too"):
        PCGrad().backward(net.losses(z), net.heads, representation=z)


@pytest.mark.parametrize("own", [False, True])
def test_hooks_of_the_representation_fire_once_a_task(own: bool) -> None:
    results = []
    for through in (False, True):
        net = Net()
        points = {"a": net.inside(), "b": net.inside()} if own else dict.fromkeys(("a", "b"), net.inside())
        seen: list[int] = []
        for z in {id(z): z for z in points.values()}.values():
            z.register_hook(lambda g: 0.5 * g)
            z.register_hook(lambda _, seen=seen: seen.append(1))
        losses = {task: head(points[task]).square().mean() for task, head in net.heads.items()}
        if through:
            Ones().backward(losses, net, representation=points)
            assert len(seen) == 2
            assert all(len(z._backward_hooks or ()) == 2 for z in points.values())
        else:
            sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        results.append([p.grad for p in net.parameters()])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two)


def test_heads_that_share_nodes_are_passed_and_all_graphs_are_freed() -> None:
    net = Net()
    z = net.inside()
    middle = net.heads["a"](z)
    losses = {"a": middle.square().mean(), "b": (middle.exp() * net.heads["b"](z)).mean()}
    parameters = list(net.parameters())
    truth = torch.autograd.grad(losses["a"] + losses["b"], parameters, retain_graph=True)
    Ones().backward(losses, net, representation=z)
    for p, g in zip(parameters, truth, strict=True):
        torch.testing.assert_close(p.grad, g)
    for loss in losses.values():
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("where", ["trunk", "head"])
@pytest.mark.parametrize("kind", [EqualWeight, PCGrad])
@pytest.mark.parametrize("tasks", [TASKS[:2], TASKS])
def test_reentrant_checkpointing(tasks: tuple[str, ...], kind: type[Combiner], where: str, through: bool) -> None:
    torch.manual_seed(0)
    stem, trunk = nn.Linear(3, 4), nn.Linear(4, 4)
    heads = nn.ModuleDict({task: nn.Linear(4, 1) for task in tasks})
    x = torch.randn(5, 3).requires_grad_()
    parameters = [p for part in (stem, trunk, heads) for p in part.parameters()]

    def losses(use: bool | None) -> tuple[dict[str, Tensor], Tensor]:
        def run(part: nn.Module, x: Tensor, here: str) -> Tensor:
            return part(x) if use is None or here != where else checkpoint(part, x, use_reentrant=use)

        z = run(trunk, stem(x), "trunk")
        return {task: run(head, z, "head").square().mean() for task, head in heads.items()}, z

    truth = torch.autograd.grad(sum(losses(None)[0].values(), torch.zeros(())), parameters)
    for use in (True, False):
        made, z = losses(use)
        if use and kind is PCGrad:
            with pytest.raises(RuntimeError, match="give use_reentrant=False"):
                kind().backward(made, parameters, representation=z if through else None)
            assert all(p.grad is None for p in parameters)
            continue
        kind().backward(made, parameters, representation=z if through else None)
        assert all(p.grad is not None for p in parameters)
        if kind is EqualWeight:
            for p, g in zip(parameters, truth, strict=True):
                torch.testing.assert_close(p.grad, g)
        for p in parameters:
            p.grad = None
