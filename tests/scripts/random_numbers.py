"""Random numbers of torch, numpy and Python drawn at every step."""

import random

import numpy as np
import torch
from _keep import keep
from torch import nn

random.seed(37)
np.random.seed(37)
torch.manual_seed(37)
rng = np.random.default_rng(37)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e-2)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer, rng=rng.bit_generator.state)
for step in range(12):
    noise = torch.tensor(np.random.rand(8, 5) + rng.normal(size=(8, 5)), dtype=torch.float32)
    x = torch.randn(8, 5) * random.uniform(0.5, 2) + noise
    h = nn.functional.rrelu(trunk(x), training=True)
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    loss = random.random() * one_loss + float(np.random.rand()) * two_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), random.random(), np.random.rand(), torch.rand(()).item())
keep(rng_after=rng.bit_generator.state)
