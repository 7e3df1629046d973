"""A script that says how it is evaluated; the function leaves all kinds of traces, each of which must be gone."""

import logging
import random
import sys
import warnings

import numpy as np
import torch
from _keep import keep
from torch import nn

import dominance

torch.manual_seed(23)
trunk = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
price, stars = nn.Linear(8, 1), nn.Linear(8, 1)
model = nn.ModuleDict({"trunk": trunk, "price": price, "stars": stars})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
x = torch.randn(40, 6)
price_label, stars_label = 10 * x.sum(1), x.prod(1)


@dominance.evaluate(higher_is_better={"error": False})
def errors(model):
    model.train()
    h = model["trunk"](x[torch.randperm(40)[:20]])
    model.last = h
    model["trunk"][0].weight.requires_grad_(False)
    loss = model["price"](h).square().mean()
    loss.backward()
    print("evaluated")
    print("evaluated", file=sys.stderr)
    warnings.warn("evaluated", stacklevel=1)
    logging.warning("evaluated")
    drawn = random.random() + np.random.rand()
    if "--raises" in sys.argv:
        raise ValueError("no more data")
    model.eval()
    torch.set_grad_enabled(False)
    h = model["trunk"](x)
    return {
        "price_loss": {"error": (model["price"](h)[:, 0] - price_label).square().mean(), "drawn": drawn},
        "stars_loss": {"error": (model["stars"](h)[:, 0] - stars_label).square().mean().item()},
    }


for _ in range(12):
    h = trunk(x)
    price_loss = (price(h)[:, 0] - price_label).square().mean()
    stars_loss = (stars(h)[:, 0] - stars_label).square().mean()
    optimizer.zero_grad()
    (price_loss + stars_loss).backward()
    optimizer.step()
    print(price_loss.item(), stars_loss.item())
if "--exits" in sys.argv:
    sys.exit(3)
