"""Trainings as scripts write them, and the same written by hand with ``dominance.optim``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dominance.config import RecordOptions
from dominance.cure.applied import Applied
from dominance.cure.choice import choose
from dominance.record.script.session import ScriptSession

TASKS = ("price_loss", "stars_loss", "sold_loss")


class Shop(nn.Module):
    """A trunk and three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.price, self.stars, self.sold = nn.Linear(8, 1), nn.Linear(8, 1), nn.Linear(8, 1)


def batches(steps: int, size: int = 12) -> Iterator[tuple[Tensor, Tensor]]:
    """The same for every training."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        x = torch.randn(size, 5, generator=generator)
        yield x, torch.stack([x[:, 0].sin(), 3 * x[:, 1], (x[:, 2] > 0).float()], 1)


def losses_of(model: Shop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    z = model.trunk(x)
    price = (model.price(z)[:, 0] - y[:, 0]).square().mean()
    stars = (model.stars(z)[:, 0] - y[:, 1]).square().mean()
    return price, stars, nn.functional.binary_cross_entropy_with_logits(model.sold(z)[:, 0], y[:, 2])


def made(seed: int = 0) -> Shop:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Shop()


Makes = Callable[[Sequence[Tensor]], torch.optim.Optimizer]


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def script(steps: int = 6, make: Makes = adam) -> list[Tensor]:
    """A training in a style that people write; the weights that it ends with."""
    model = made()
    optimizer = make(list(model.parameters()))
    for x, y in batches(steps):
        price_loss, stars_loss, sold_loss = losses_of(model, x, y)
        loss = price_loss + 0.5 * stars_loss + sold_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


@contextmanager
def method(
    path: Path, name: str, *options: str, tasks: Sequence[str] | None = None, every: int = 1
) -> Iterator[list[str]]:
    """What runs inside is trained by the method, and recorded; gives what is said as an error."""
    choice = choose(name, options)
    said: list[str] = []

    def apply(watch: Any) -> Applied:
        applied = Applied(choice, watch, say=said.append, error=said.append, tasks=tasks)
        applied.start()
        return applied

    session = ScriptSession(
        path,
        RecordOptions(
            every=every, quiet=True, burst=None if every == 1 else 1, tasks=None if tasks is None else tuple(tasks)
        ),
        script="train.py",
        argv=["train.py"],
        force=False,
        resume=False,
        attrs=choice.attributes(),
        beside=None if choice.as_it_is else apply,
    )
    session.check_output()
    session.start()
    try:
        yield said
    finally:
        session.finish("complete")


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
