"""More ways to write a multi-task training step: vectors, weighted sums, functions of losses, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from record.losses import WAYS, Data, Expected, Net, Step, Way
from torch import Tensor, nn

MORE: dict[str, Way] = {}
ENTRIES = ["losses[0]", "losses[1]"]


def _truth(names: list[str], weights: tuple[float, ...] = (1, 1)) -> Expected:
    def truth(net: Net, data: Data) -> dict[str, Tensor]:
        out = net(data.x)
        return {names[0]: weights[0] * data.mse(out), names[1]: weights[1] * data.ce(out)}

    return truth


def _way(names: list[str], *weights: float):
    def add(step: Step) -> Step:
        MORE[step.__name__] = Way(step, _truth(names, weights or (1.0, 1.0)))
        return step

    return add


def _as_function(function) -> Expected:
    """Weights of a nonlinear function of the two losses: its derivatives."""

    def truth(net: Net, data: Data) -> dict[str, Tensor]:
        out = net(data.x)
        made = [data.mse(out), data.ce(out)]
        held = [each.detach().requires_grad_() for each in made]
        weights = torch.autograd.grad(function(torch.stack(held)), held)
        return {name: w * each for name, w, each in zip(ENTRIES, weights, made, strict=True)}

    return truth


def _vector(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    return torch.stack([F.mse_loss(out[0], data.t), F.cross_entropy(out[1], data.y)])


# Sums of the entries of a vector


@_way(ENTRIES, 1, 2)
def by_index(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    (losses[0] + 2 * losses[1]).backward()


@_way(ENTRIES, 1, 2)
def by_index_from_the_end(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    (losses[-2] + 2 * losses[-1]).backward()


@_way(ENTRIES, 1, 2)
def by_unbind(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    first, second = losses.unbind()
    loss = first + 2 * second
    del first, second
    loss.backward()


@_way(["depth", "seg"], 1, 2)
def unpacked(net: Net, data: Data) -> None:
    depth, seg = _vector(net, data)
    (depth + 2 * seg).backward()


@_way(ENTRIES, 0.7, 0.2)
def a_loop_with_weights(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    loss: Any = 0
    for weight, current in zip((0.7, 0.2), losses, strict=True):
        loss = loss + weight * current
    loss.backward()


@_way(ENTRIES, 1, 2)
def one_entry_with_a_name(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    depth = losses[0]
    loss = depth + 2 * losses[1]
    loss.backward()


@_way(ENTRIES, 1.5, 1)
def a_sum_and_one_entry_more(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    (losses.sum() + 0.5 * losses[0]).backward()


@_way(ENTRIES, 2, 0.5)
def weighted_in_place(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    losses *= torch.tensor([2.0, 0.5])
    losses.sum().backward()


@_way(ENTRIES, 2, 0.5)
def an_entry_of_weighted_losses(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    weighted = torch.tensor([2.0, 0.5]) * losses
    (weighted[0] + weighted[1]).backward()


@_way(ENTRIES, 2, 0.5)
def einsum(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    torch.einsum("k,k->", torch.tensor([2.0, 0.5]), losses).backward()


@_way(ENTRIES, 2, 0.5)
def inner(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    torch.inner(losses, torch.tensor([2.0, 0.5])).backward()


@_way(ENTRIES, 2, 0.5)
def concatenated(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = torch.cat([data.mse(out).reshape(1), data.ce(out).reshape(1)])
    (losses * torch.tensor([2.0, 0.5])).sum().backward()


@_way(ENTRIES)
def each_entry_alone(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    for current in losses:
        current.backward(retain_graph=True)


@_way(ENTRIES, 2, 0.5)
def each_entry_alone_with_a_weight(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    weight = torch.tensor([2.0, 0.5])
    for k in range(2):
        (weight[k] * losses[k]).backward(retain_graph=True)


@_way(ENTRIES)
def a_mean_by_hand(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = torch.stack([(out[0] - data.t).square().sum() / data.t.numel(), data.ce(out)])
    (losses * torch.ones(2)).sum().backward()


# Nonlinear functions of a vector of losses

_FUNCTIONS = {
    "log": lambda v: (v + 1e-8).log().sum(),
    "geometric_mean": lambda v: v.prod() ** 0.5,
    "softmax_weights": lambda v: (v.softmax(0) * v).sum(),
    "maximum": lambda v: v.max(),
    "power": lambda v: (v**2).sum(),
    "norm": lambda v: v.norm(),
    "soft_maximum": lambda v: v.logsumexp(0),
}


def _functional(function) -> Step:
    def step(net: Net, data: Data) -> None:
        losses = _vector(net, data)
        function(losses).backward()

    return step


for _name, _function in _FUNCTIONS.items():
    MORE[f"{_name}_of_the_vector"] = Way(_functional(_function), _as_function(_function))


def _curved(make):
    """Each loss through a function of its own; its weight is the derivative."""

    def truth(net: Net, data: Data) -> dict[str, Tensor]:
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        held = [each.detach().requires_grad_() for each in (depth, seg)]
        one, two = torch.autograd.grad(make(*held), held)
        return {"depth": one * depth, "seg": two * seg}

    return truth


CURVED = {
    "logarithms": lambda depth, seg: (depth + 1e-8).log() + 0.5 * torch.log(seg),
    "powers": lambda depth, seg: depth**2 + seg.sqrt(),
    "bounds": lambda depth, seg: depth.clamp(max=50) + 2 * seg.clamp(min=0.01),
}


def _curves(function) -> Step:
    def step(net: Net, data: Data) -> None:
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        function(depth, seg).backward()

    return step


for _name, _of_each in CURVED.items():
    MORE[f"{_name}_of_each"] = Way(_curves(_of_each), _curved(_of_each))


# Sums in helpers


def _weigh(losses: Tensor, alpha: tuple[float, float] = (0.3, 0.7)) -> Tensor:
    weighted_loss = sum([losses[i] * alpha[i] for i in range(len(alpha))])
    return weighted_loss  # noqa: RET504  the name is the point


@_way(ENTRIES, 0.3, 0.7)
def a_weighted_sum_with_a_name_in_a_helper(net: Net, data: Data) -> None:
    losses = _vector(net, data)
    _weigh(losses).backward()


def _distilled(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    both_loss = F.mse_loss(out[0], data.t) * (0.9 * 4) + F.cross_entropy(out[1], data.y) * (1 - 0.9)
    return both_loss  # noqa: RET504  the name is the point


@_way(["mse_loss", "cross_entropy"], 3.6, 0.1)
def weights_in_the_statement(net: Net, data: Data) -> None:
    loss = _distilled(net, data)
    loss.backward()


def _one_line(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    price = F.mse_loss(out[0], data.t); stars = F.cross_entropy(out[1], data.y)  # fmt: skip  # noqa: E702
    return price + 0.5 * stars


@_way(["price", "stars"], 1, 0.5)
def two_statements_on_a_line(net: Net, data: Data) -> None:
    _one_line(net, data).backward()


def _tuple(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    price, stars = F.mse_loss(out[0], data.t), F.cross_entropy(out[1], data.y)
    return price + 0.5 * stars


@_way(["price", "stars"], 1, 0.5)
def a_tuple_assigned(net: Net, data: Data) -> None:
    _tuple(net, data).backward()


def _pair(net: Net, data: Data) -> tuple[Tensor, Tensor]:
    out = net(data.x)
    return F.mse_loss(out[0], data.t), F.cross_entropy(out[1], data.y)


def _of_a_pair(net: Net, data: Data) -> Tensor:
    price, stars = _pair(net, data)
    return price + 0.5 * stars


@_way(["price", "stars"], 1, 0.5)
def a_tuple_returned(net: Net, data: Data) -> None:
    _of_a_pair(net, data).backward()


def _walrus(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    total = torch.zeros(())
    if (price := F.mse_loss(out[0], data.t)) is not None:
        total = total + price
    if (stars := F.cross_entropy(out[1], data.y)) is not None:
        total = total + 0.5 * stars
    return total


@_way(["price", "stars"], 1, 0.5)
def assigned_in_an_expression(net: Net, data: Data) -> None:
    _walrus(net, data).backward()


def _augmented(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    total = torch.zeros(())
    total += F.mse_loss(out[0], data.t)
    total += 0.5 * F.cross_entropy(out[1], data.y)
    return total


@_way(["mse_loss", "cross_entropy"], 1, 0.5)
def added_up_in_place(net: Net, data: Data) -> None:
    _augmented(net, data).backward()


def _display(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {"price": F.mse_loss(out[0], data.t), "stars": F.cross_entropy(out[1], data.y)}


@_way(["price", "stars"])
def a_dict_that_is_gone(net: Net, data: Data) -> None:
    sum(_display(net, data).values()).backward()


def _generated(net: Net, data: Data) -> Iterator[Tensor]:
    out = net(data.x)
    yield F.mse_loss(out[0], data.t)
    yield F.cross_entropy(out[1], data.y)


@_way(["mse_loss", "cross_entropy"])
def a_generator(net: Net, data: Data) -> None:
    sum(_generated(net, data)).backward()


@_way(["mse_loss", "cross_entropy"])
def lambdas(net: Net, data: Data) -> None:
    out = net(data.x)
    makes = [lambda: F.mse_loss(out[0], data.t), lambda: F.cross_entropy(out[1], data.y)]
    sum(make() for make in makes).backward()


@_way(["depth", "seg"])
def keys_that_are_made(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = {f"{name}": make(out) for name, make in (("depth", data.mse), ("seg", data.ce))}
    sum(losses.values()).backward()


@_way(["depth", "seg"])
def nested_dicts(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = {"dense": {"depth": data.mse(out)}, "sparse": {"seg": data.ce(out)}}
    (losses["dense"]["depth"] + losses["sparse"]["seg"]).backward()


@dataclass
class Parts:
    depth: Tensor
    seg: Tensor


@_way(["depth", "seg"])
def a_dataclass(net: Net, data: Data) -> None:
    out = net(data.x)
    parts = Parts(data.mse(out), data.ce(out))
    (parts.depth + parts.seg).backward()


class Pair(NamedTuple):
    depth: Tensor
    seg: Tensor


@_way(["depth", "seg"])
def a_named_tuple(net: Net, data: Data) -> None:
    out = net(data.x)
    parts = Pair(data.mse(out), data.ce(out))
    sum(parts).backward()


@_way(["depth", "seg"])
def attributes(net: Net, data: Data) -> None:
    out = net(data.x)
    parts = SimpleNamespace(depth=data.mse(out), seg=data.ce(out))
    (parts.depth + parts.seg).backward()


@_way(["depth", "seg"])
def names_and_losses(net: Net, data: Data) -> None:
    out = net(data.x)
    pairs = [("depth", data.mse(out)), ("seg", data.ce(out))]
    sum(loss for _, loss in pairs).backward()


class Criterion(nn.Module):
    def forward(self, out: tuple[Tensor, Tensor], data: Data) -> Tensor:
        box = F.mse_loss(out[0], data.t)
        category = F.cross_entropy(out[1], data.y)
        return box + 0.5 * category


@_way(["box", "category"], 1, 0.5)
def a_criterion(net: Net, data: Data) -> None:
    loss = Criterion()(net(data.x), data)
    loss.backward()


@_way(["depth", "seg"])
def a_sum_beside_its_parts(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    both = depth + seg
    (0.5 * both + 0.5 * depth + 0.5 * seg).backward()


@_way(["depth", "seg"])
def several_backward_of_one_graph(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    (0.25 * depth + 0.5 * seg).backward(retain_graph=True)
    (0.75 * depth + 0.5 * seg).backward()


assert not WAYS.keys() & MORE.keys()
