"""Ways to write a multi-task training step, for the tests of task discovery; each calls backward() by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dominance

TASKS = ["depth", "seg"]


class Net(nn.Module):
    """A trunk and two heads, with what learned and fixed weightings need."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.Tanh())
        self.depth_head = nn.Linear(16, 3)
        self.seg_head = nn.Linear(16, 3)
        self.logvar = nn.Parameter(torch.tensor([0.3, -0.2]))
        self.register_buffer("weights", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.trunk(x)
        return self.depth_head(z), self.seg_head(z)


class Data:
    """One batch, and the two losses as plain functions of the outputs."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(12, 6, generator=generator)
        self.y = torch.randint(0, 3, (12,), generator=generator)
        self.t = torch.randn(12, 3, generator=generator)

    def mse(self, out: tuple[Tensor, Tensor]) -> Tensor:
        return F.mse_loss(out[0], self.t)

    def ce(self, out: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(out[1], self.y)


Step = Callable[[Net, Data], None]
Expected = Callable[[Net, Data], dict[str, Tensor]]


@dataclass
class Way:
    """One way to write the step, and the truth: each task's weighted loss as a scalar of its own."""

    step: Step
    truth: Expected
    residual: list[str] = field(default_factory=list)


WAYS: dict[str, Way] = {}


def _two(
    a: float | Callable[[Net], Tensor], b: float | Callable[[Net], Tensor], names: list[str] | None = None
) -> Expected:
    first, second = names or TASKS

    def truth(net: Net, data: Data) -> dict[str, Tensor]:
        out = net(data.x)
        wa, wb = (w(net).detach() if callable(w) else w for w in (a, b))
        return {first: wa * data.mse(out), second: wb * data.ce(out)}

    return truth


def _way(truth: Expected, residual: list[str] | None = None) -> Callable[[Step], Step]:
    def add(step: Step) -> Step:
        WAYS[step.__name__] = Way(step, truth, residual or [])
        return step

    return add


@_way(_two(1, 0.5))
def weighted_sum(net: Net, data: Data) -> None:
    out = net(data.x)
    depth = data.mse(out)
    seg = data.ce(out)
    (depth + 0.5 * seg).backward()


@_way(_two(1, 1, ["losses[0]", "losses[1]"]))
def sum_of_list(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = [data.mse(out), data.ce(out)]
    sum(losses).backward()


@_way(_two(1, 1))
def sum_of_dict(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = {"depth": data.mse(out), "seg": data.ce(out)}
    sum(losses.values()).backward()


@_way(_two(1, 2))
def stack_times_weights(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    (torch.stack([depth, seg]) * net.weights).sum().backward()


@_way(_two(1, 2))
def stack_at_weights(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    (torch.stack([depth, seg]) @ net.weights).backward()


@_way(_two(0.5, 0.5))
def stack_mean(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    torch.stack([depth, seg]).mean().backward()


@_way(_two(0.25, 0.25))
def divided(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    batches = 4
    ((depth + seg) / batches).backward()


@_way(_two(1, 2, ["losses[0]", "losses[1]"]))
def preallocated(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = torch.zeros(2)
    for k, loss in enumerate((data.mse, data.ce)):
        losses[k] = loss(out)
    (losses * net.weights).sum().backward()


@_way(_two(1, 2))
def preallocated_with_names(net: Net, data: Data) -> None:
    out = net(data.x)
    task_names = ["depth", "seg"]
    losses = torch.zeros(len(task_names))
    for k, loss in enumerate((data.mse, data.ce)):
        losses[k] = loss(out)
    (losses * net.weights).sum().backward()


@_way(_two(lambda net: torch.exp(-net.logvar[0]), lambda net: torch.exp(-net.logvar[1])))
def uncertainty(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    s = net.logvar
    (torch.exp(-s[0]) * depth + s[0] + torch.exp(-s[1]) * seg + s[1]).backward()


@_way(_two(lambda net: 0.5 / torch.exp(net.logvar[0]), lambda net: 0.5 / torch.exp(net.logvar[1]), ["l[0]", "l[1]"]))
def uncertainty_in_a_loop(net: Net, data: Data) -> None:
    out = net(data.x)
    l = [data.mse(out), data.ce(out)]  # noqa: E741
    s = net.logvar
    sum(1 / (2 * torch.exp(s[i])) * l[i] + s[i] / 2 for i in range(2)).backward()


@_way(_two(lambda net: net.logvar.softmax(0)[0], lambda net: net.logvar.softmax(0)[1]))
def learned_weights(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    (torch.softmax(net.logvar, 0) @ torch.stack([depth, seg])).backward()


@_way(_two(1, 1))
def written_out(net: Net, data: Data) -> None:
    out = net(data.x)
    depth = ((out[0] - data.t) ** 2).mean()
    seg = -out[1].log_softmax(1).gather(1, data.y[:, None]).mean()
    (depth + seg).backward()


def _summed(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    price = F.mse_loss(out[0], data.t)
    click = F.cross_entropy(
        out[1],
        data.y,
    )
    return price + 0.3 * click


@_way(_two(1, 0.3, ["price", "click"]))
def made_in_a_function(net: Net, data: Data) -> None:
    loss = _summed(net, data)
    loss.backward()


@_way(_two(0.5, 0.15, ["price", "click"]))
def made_in_a_function_and_scaled(net: Net, data: Data) -> None:
    loss = _summed(net, data)
    loss = loss / 2
    loss.backward()


def _with_factors(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    fit = 0.5 * torch.sum((out[0] - data.t) ** 2)
    dice = 1 - out[1].softmax(1).gather(1, data.y[:, None]).mean()
    return fit + 2 * dice


def _fit_and_dice(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    dice = 1 - out[1].softmax(1).gather(1, data.y[:, None]).mean()
    return {"fit": 0.5 * (out[0] - data.t).square().sum(), "dice": 2 * dice}


@_way(_fit_and_dice)
def made_in_a_function_with_factors(net: Net, data: Data) -> None:
    loss = _with_factors(net, data)
    loss.backward()


def _inline(net: Net, data: Data) -> Tensor:
    out = net(data.x)
    return F.mse_loss(out[0], data.t) + 0.5 * F.cross_entropy(out[1], data.y)


@_way(_two(1, 0.5, ["mse_loss", "cross_entropy"]))
def returned_in_one_line(net: Net, data: Data) -> None:
    loss = _inline(net, data)
    loss.backward()


@_way(_two(1, 1, ["mse_loss", "cross_entropy"]))
def all_in_one_line(net: Net, data: Data) -> None:
    out = net(data.x)
    (F.mse_loss(out[0], data.t) + F.cross_entropy(out[1], data.y)).backward()


@_way(_two(1, 1), residual=["l2"])
def regularised(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    l2 = sum(p.square().sum() for p in net.trunk.parameters())
    (depth + seg + 0.01 * l2).backward()


@_way(_two(1, 1), residual=["anchor"])
def anchored(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    start = torch.ones_like(net.trunk[0].weight)
    anchor = (net.trunk[0].weight - start).square().sum()
    (depth + seg + 0.1 * anchor).backward()


@_way(_two(1, 0.3))
def one_backward_each(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    depth.backward(retain_graph=True)
    (0.3 * seg).backward()


@_way(_two(1, 1, ["losses[0]", "losses[1]"]))
def backward_in_a_loop(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = [data.mse(out), data.ce(out)]
    for loss in losses:
        loss.backward(retain_graph=True)


@_way(_two(1, 1))
def backward_of_a_list(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), data.ce(out)
    torch.autograd.backward([depth, seg])


@_way(_two(0.7, 0.2, ["losses[0]", "losses[1]"]))
def grad_of_each(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = [data.mse(out), data.ce(out)]
    parameters = list(net.parameters())
    each = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in losses]
    for p, a, b in zip(parameters, *each, strict=True):
        parts = [w * g for w, g in ((0.7, a), (0.2, b)) if g is not None]
        if parts:
            p.grad = sum(parts)


@_way(_two(0.7, 0.2, ["losses[0]", "losses[1]"]))
def gradients_read_and_mixed(net: Net, data: Data) -> None:
    out = net(data.x)
    losses = torch.zeros(2)
    losses[0] = data.mse(out)
    losses[1] = data.ce(out)
    each = []
    for k in range(2):
        losses[k].backward(retain_graph=True)
        each.append([None if p.grad is None else p.grad.clone() for p in net.parameters()])
        net.zero_grad()
    for p, a, b in zip(net.parameters(), *each, strict=True):
        parts = [w * g for w, g in ((0.7, a), (0.2, b)) if g is not None]
        if parts:
            p.grad = sum(parts)


@_way(_two(1, 2))
def one_loss_per_sample(net: Net, data: Data) -> None:
    out = net(data.x)
    depth = F.mse_loss(out[0], data.t, reduction="none").mean(1)
    seg = F.cross_entropy(out[1], data.y, reduction="none")
    (depth + 2 * seg).mean().backward()


def _per_sample(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {"samples": F.mse_loss(out[0][:5], data.t[:5]), "seg": data.ce(out)}


@_way(_per_sample)
def a_loop_over_samples(net: Net, data: Data) -> None:
    samples = [F.mse_loss(net(data.x[i : i + 1])[0], data.t[i : i + 1]) for i in range(5)]
    seg = data.ce(net(data.x))
    (torch.stack(samples).mean() + seg).backward()


def _steps_in_time(net: Net, data: Data) -> dict[str, Tensor]:
    z, loss = data.x, torch.zeros(())
    for _ in range(3):
        z = z + 0.1 * net.depth_head(net.trunk(z)).repeat(1, 2)
        loss = loss + F.mse_loss(net.depth_head(net.trunk(z)), data.t)
    return {"mse_loss": loss, "seg": data.ce(net(data.x))}


@_way(_steps_in_time)
def a_loop_over_time(net: Net, data: Data) -> None:
    z, seg = data.x, data.ce(net(data.x))
    loss = 1.0 * seg
    for _ in range(3):
        z = z + 0.1 * net.depth_head(net.trunk(z)).repeat(1, 2)
        loss = loss + F.mse_loss(net.depth_head(net.trunk(z)), data.t)
    loss.backward()


def _outputs(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {f"mse_loss.{k + 1}": F.mse_loss(out[0][:, k], data.t[:, k]) for k in range(3)}


@_way(_outputs)
def a_loop_over_outputs(net: Net, data: Data) -> None:
    out = net(data.x)
    loss = torch.zeros(())
    for k in range(3):
        loss = loss + F.mse_loss(out[0][:, k], data.t[:, k])
    loss.backward()


@_way(_two(1, 1))
def gradient_accumulation(net: Net, data: Data) -> None:
    for half in (slice(0, 6), slice(6, 12)):
        out = net(data.x[half])
        depth = F.mse_loss(out[0], data.t[half])
        seg = F.cross_entropy(out[1], data.y[half])
        ((depth + seg) / 2).backward()


@_way(_two(1, 1, ["first", "second"]))
def observed(net: Net, data: Data) -> None:
    out = net(data.x)
    d, s = data.mse(out), data.ce(out)
    dominance.observe({"first": d, "second": s})
    (d + s).backward()


def _composite(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {"depth": data.mse(out), "seg": data.ce(out) + out[1].softmax(1).square().mean()}


def _seg(out: tuple[Tensor, Tensor], data: Data) -> Tensor:
    ce = data.ce(out)
    dice = out[1].softmax(1).square().mean()
    return ce + dice


@_way(_composite)
def a_task_of_two_terms(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), _seg(out, data)
    (depth + seg).backward()


@_way(_composite)
def a_task_of_two_terms_with_its_own_backward(net: Net, data: Data) -> None:
    out = net(data.x)
    depth, seg = data.mse(out), _seg(out, data)
    seg.backward(retain_graph=True)
    depth.backward()


def _smoothed(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {"cross_entropy": F.cross_entropy(out[1], data.y, label_smoothing=0.1), "mse_loss": data.mse(out)}


@_way(_smoothed)
def label_smoothing(net: Net, data: Data) -> None:
    out = net(data.x)
    loss = F.cross_entropy(out[1], data.y, label_smoothing=0.1) + F.mse_loss(out[0], data.t)
    loss.backward()


def _no_task(net: Net, data: Data) -> dict[str, Tensor]:
    return {"loss": data.mse(net(data.x))}


@_way(_no_task)
def a_single_task(net: Net, data: Data) -> None:
    loss = data.mse(net(data.x))
    loss.backward()


def _residual_connection(net: Net, data: Data) -> dict[str, Tensor]:
    out = net(data.x)
    return {"loss": (out[0] + out[1]).mean()}


@_way(_residual_connection)
def a_sum_inside_the_network(net: Net, data: Data) -> None:
    out = net(data.x)
    loss = (out[0] + out[1]).mean()
    loss.backward()
