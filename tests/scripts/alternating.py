"""The tasks take turns: every step has a single loss."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(50)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e-2)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    head, target = (one, x.sum(1)) if step % 2 else (two, x.prod(1))
    loss = (head(h)[:, 0] - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
