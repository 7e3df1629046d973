"""Small parameters that are split together come apart as they do one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dominance.record.split.attribution import Attributor
from dominance.record.split.packs import SMALL
from dominance.record.split.splits import GradientSplit, StepSplit

torch.set_num_threads(1)
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, maximize=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
}


@dataclass
class Parts:
    """Of one parameter, by name of the part."""

    shares: dict[str, Tensor] = field(default_factory=dict)
    closure: float = 0.0


def parts_of(split: StepSplit) -> Parts:
    named = {"residual": split.residual, "unattributed": split.unattributed, "decay": split.decay, **split.tasks}
    return Parts({name: each.clone() for name, each in named.items() if each is not None}, split.closure)


def fed(
    model: nn.Module, step: int, generator: torch.Generator, *, overflow: int | None, residual_at: int = 1
) -> dict[Tensor, GradientSplit]:
    """Gradients of two tasks, of which b does not reach the last parameter, and the first has a residual at times."""
    splits: dict[Tensor, GradientSplit] = {}
    *others, last = model.parameters()
    for p in model.parameters():
        tasks = {name: torch.randn(p.shape, generator=generator) for name in ("a", "b")}
        if p is last:
            del tasks["b"]
        if p is others[1] and step == overflow:
            tasks["a"][0] = torch.inf
        residual = torch.randn(p.shape, generator=generator) if p is others[0] and step % 2 == residual_at else None
        p.grad = sum(tasks.values()) + (0 if residual is None else residual)
        splits[p] = GradientSplit(tasks, residual, total=p.grad.clone())
    return splits


def steps(
    kind: str, *, packed: bool, count: int = 4, first: int = 0, overflow: int | None = None, decays_until: int = 9
) -> list[dict[int, Parts]]:
    """The parts of some steps of each parameter, by its position."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    position: dict[Tensor, int] = {p: i for i, p in enumerate(model.parameters())}
    optimizer = OPTIMIZERS[kind](model.parameters())
    attributor = Attributor(optimizer)
    found = []
    for step in range(count):
        splits = fed(model, step, generator, overflow=overflow, residual_at=1 if decays_until > count else -1)
        if step == decays_until:
            optimizer.param_groups[0]["weight_decay"] = 0.0
        if step >= first:
            attributor.before_step(list(position))
        optimizer.step()
        if step < first:
            continue
        each: dict[int, Parts] = {}
        if packed:
            for pack in attributor.packed(splits, position.keys()):
                names = [*pack.pack.names, "residual", "unattributed", "decay"]
                closures = pack.closures()[0]
                for i, (p, start) in enumerate(zip(pack.pack.members, pack.pack.starts, strict=False)):
                    rows = pack.shares[:, start : start + p.numel()].copy().reshape(-1, *p.shape)
                    parts = dict(zip(names, map(torch.from_numpy, rows), strict=True))
                    each[position[p]] = Parts(parts, float(closures[i]))
            assert len(each) == len(position)
        each |= {position[p]: parts_of(split) for p, split in attributor.splits(splits)}
        found.append(each)
    return found


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
def test_the_same_parts_as_one_by_one(kind: str, first: int) -> None:
    together, single = (steps(kind, packed=packed, first=first) for packed in (True, False))
    for here, truth in zip(together, single, strict=True):
        for i, parts in truth.items():
            for name, share in parts.shares.items():
                torch.testing.assert_close(here[i].shares[name], share, rtol=2e-5, atol=1e-9)
            beside = here[i].shares.keys() - parts.shares.keys()
            assert not any(here[i].shares[name].any() for name in beside), "what is not there is zero"
            assert here[i].closure == pytest.approx(parts.closure, abs=1e-4)


@pytest.mark.parametrize("kind", ["Adam", "Nesterov"])
def test_weight_decay_that_is_switched_off(kind: str) -> None:
    """What is left of it is in the momentum alone."""
    together, single = (steps(kind, packed=packed, decays_until=2) for packed in (True, False))
    for here, truth in zip(together, single, strict=True):
        for i, parts in truth.items():
            torch.testing.assert_close(here[i].shares["decay"], parts.shares["decay"], rtol=2e-5, atol=1e-9)
            assert here[i].closure == pytest.approx(parts.closure, abs=1e-4)


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
def test_a_gradient_that_is_not_finite_leaves_the_other_parameters_as_they_are(kind: str, first: int) -> None:
    together, single = (steps(kind, packed=packed, first=first, overflow=2) for packed in (True, False))
    for here, truth in zip(together, single, strict=True):
        for i, parts in truth.items():
            for name, share in parts.shares.items():
                if i != 1:
                    torch.testing.assert_close(here[i].shares[name], share, rtol=2e-5, atol=1e-9)
            assert here[i].closure == pytest.approx(parts.closure, abs=1e-4, nan_ok=True)


def test_a_step_by_zero_divided_by_zero_is_of_no_task_that_was_not_there() -> None:
    """Without an eps the step of a parameter that was fed zeros is infinite times nothing."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.1, eps=0.0)
    attributor = Attributor(optimizer)
    weight, bias = model.parameters()
    weight.grad, bias.grad = torch.ones(2, 2), torch.tensor([0.0, 1.0])
    attributor.before_step([weight, bias])
    optimizer.step()
    gradients: dict[Tensor, GradientSplit] = {
        weight: GradientSplit({"a": torch.ones(2, 2)}, total=weight.grad),
        bias: GradientSplit({"b": bias.grad.clone()}, total=bias.grad),
    }
    (packed,) = attributor.packed(gradients, {weight, bias})
    shares = dict(zip(packed.pack.names, packed.shares, strict=False))
    np.testing.assert_array_equal(shares["b"][:4], 0)
    np.testing.assert_array_equal(shares["a"][4:], 0)
    assert np.isnan(packed.closures()[0]).tolist() == [False, True]


@pytest.mark.parametrize("other", ["large", "double"])
def test_large_parameters_and_other_formats_are_split_by_themselves(other: str) -> None:
    odd = torch.zeros(SMALL + 1) if other == "large" else torch.zeros(2, dtype=torch.float64)
    held = [nn.Parameter(each) for each in (odd, torch.zeros(2), torch.zeros(3))]
    optimizer = torch.optim.SGD(held, lr=0.1)
    attributor = Attributor(optimizer)
    for p in held:
        p.grad = torch.ones_like(p)
    attributor.before_step(held)
    optimizer.step()
    gradients: dict[Tensor, GradientSplit] = {p: GradientSplit({"a": torch.ones_like(p)}, total=p.grad) for p in held}
    (packed,) = attributor.packed(gradients, set(held))
    assert packed.pack.members == tuple(held[1:])
    assert [p is held[0] for p, _ in attributor.splits(gradients)] == [True]


def test_the_momentum_of_one_task_alone_is_that_of_the_optimizer_to_the_bit() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    attributor = Attributor(optimizer)
    for _ in range(3):
        splits: dict[Tensor, GradientSplit] = {
            p: GradientSplit({"a": torch.randn(p.shape)}, None) for p in model.parameters()
        }
        for p, split in splits.items():
            p.grad = split.total = split.tasks["a"].clone()
        attributor.before_step(list(splits))
        optimizer.step()
        (pack,) = attributor.packed(splits, splits.keys())
    momentum = torch.cat([optimizer.state[p]["exp_avg"].flatten() for p in pack.pack.members])
    assert torch.equal(pack.pack._memory[0], momentum)
