"""A training script with a hidden cause of dominance: python tests/planted_script.py --cause scale --seed 0 --steps 700

Two tasks on one trunk, Adam or SGD, nothing else. Run by itself it is a script like any other; what it plants is what
the verdict should find, and what a remedy should mend.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

import dominance

CAUSES = {
    "scale": "scale",
    "weight": "weight",
    "rare": "frequency",
    "masked": "frequency",
    "noise": "noise",
    "conflict": "conflict",
    "harmless": "",
}
"""What can be planted -> the cause that a verdict should name; "" is none."""

TASKS = ("price_loss", "stars_loss")
"""The second one suffers; of a conflict both do."""

SAMPLES, FRESH, INPUTS, IDS, BATCH = 10_000, 2000, 8, 60, 32
"""Enough samples that noise of their labels is noise, not something to be learnt by heart; and fresh ones for R²."""


class World:
    """Two tasks' targets, of unit variance, with a third of it in common; the same for the same seed."""

    def __init__(self, cause: str, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.cause, self.generator = cause, g
        self.x = torch.randn(SAMPLES + FRESH, INPUTS, generator=g)
        self.ids = torch.randint(IDS, (SAMPLES + FRESH,), generator=g)
        common, price, stars = (self._function(g) for _ in range(3))
        if cause == "conflict":
            stars = -price
        price, stars = (0.3**0.5 * common + 0.7**0.5 * own for own in (price, stars))
        if cause == "conflict":
            price, stars = price - 0.3**0.5 * common, stars - 0.3**0.5 * common
        size = {"scale": 10.0}.get(cause, 1.0)
        self.clean = torch.stack([size * price / price.std(), stars / stars.std()])
        spread = torch.tensor([12.0 if cause == "noise" else 0.3 * size, 0.3])
        self.targets = self.clean + spread[:, None] * torch.randn(self.clean.shape, generator=g)
        self.labelled = torch.rand(SAMPLES + FRESH, generator=g) < (0.1 if cause == "masked" else 1.0)

    def _function(self, g: torch.Generator) -> Tensor:
        hidden = torch.tanh(2 * self.x @ torch.randn(INPUTS, 12, generator=g) / INPUTS**0.5)
        value: Tensor = hidden @ torch.randn(12, generator=g) / 3
        value = value + self.x @ torch.randn(INPUTS, generator=g) / INPUTS**0.5
        value = value + (torch.randn(IDS, generator=g)[self.ids] if self.cause == "masked" else 0)
        return value / value.std()

    def batch(self) -> Tensor:
        return torch.randint(SAMPLES, (BATCH,), generator=self.generator)


class Net(nn.Module):
    """A trunk of two layers, below it an embedding where the world has ids that matter, and two heads or one.

    Args:
        copies: layers of which the second task gets a copy of its own.
    """

    def __init__(self, cause: str, copies: Sequence[str] = (), width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(IDS, 6) if cause == "masked" else None
        inputs = INPUTS + (6 if cause == "masked" else 0)
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.price = nn.Linear(width, 1)
        self.stars = None if cause == "conflict" else nn.Linear(width, 1)
        self.copies = nn.ModuleDict({name.replace(".", "_"): deepcopy(self.get_submodule(name)) for name in copies})

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        features = x if self.embedding is None else torch.cat([x, self.embedding(ids)], 1)
        price, z = self.price(self.trunk(features)), features
        for number, layer in enumerate(self.trunk):
            z = self._own(f"trunk.{number}", layer)(z)
        stars = self._own("price", self.price)(z) if self.stars is None else self.stars(z)
        return price[:, 0], stars[:, 0]

    def _own(self, name: str, shared: nn.Module) -> nn.Module:
        key = name.replace(".", "_")
        return self.copies.get_submodule(key) if key in self.copies else shared


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
}

Stepping = Callable[[nn.Module, float], Callable[[dict[str, Tensor | None]], object]]
"""From a model and a learning rate to what takes a step on the tasks' losses: a method, written by hand."""


def train(
    cause: str,
    seed: int,
    steps: int,
    *,
    lr: float = 3e-3,
    copies: Sequence[str] = (),
    rarity: int = 20,
    divisor: float = 500,
    optimizer: str = "adam",
    stepping: Stepping | None = None,
) -> dict[str, float]:
    """Train, log each task's R² on fresh samples, and return it.

    Args:
        rarity: of "rare": the second task takes part in one step of so many.
        divisor: of "weight": what the second task's loss is divided by.
        optimizer: one of ``OPTIMIZERS``.
        stepping: takes the steps in its place.
    """
    world = World(cause, seed)
    torch.manual_seed(seed)
    model = Net(cause, copies)
    stepped_by = OPTIMIZERS[optimizer](model.parameters(), lr=lr)
    by_hand = None if stepping is None else stepping(model, lr)
    for step in range(steps):
        at = world.batch()
        price, stars = model(world.x[at], world.ids[at])
        price_loss = (price - world.targets[0, at]).square().mean()
        stars_loss = ((stars - world.targets[1, at]).square() * world.labelled[at]).mean()
        is_there = cause != "rare" or step % rarity == 0
        if by_hand is not None:
            added = stars_loss / divisor if cause == "weight" else stars_loss
            by_hand({"price_loss": price_loss, "stars_loss": added if is_there else None})
            continue
        loss = price_loss
        if is_there:
            loss = price_loss + (stars_loss / divisor if cause == "weight" else stars_loss)
        stepped_by.zero_grad()
        loss.backward()
        stepped_by.step()
    found = {}
    with torch.no_grad():
        out = torch.stack(model(world.x[SAMPLES:], world.ids[SAMPLES:]))
        clean = world.clean[:, SAMPLES:]
        r2 = 1 - (out - clean).square().mean(1) / clean.var(1)
        for task, value in zip(TASKS, r2.tolist(), strict=True):
            dominance.log(task=task, split="test", r2=value)
            found[task] = value
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cause", choices=list(CAUSES), default="scale")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--copies", type=lambda text: text.split(","), default=[])
    parser.add_argument("--rarity", type=int, default=20, help="rare: in one step of so many")
    parser.add_argument("--divisor", type=float, default=500, help="weight: what the second loss is divided by")
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="adam")
    parser.add_argument("--lr", type=float, default=3e-3)
    given = vars(parser.parse_args())
    print(train(**given))
