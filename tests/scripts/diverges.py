"""A learning rate so high that the weights become infinite, then NaN."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(45)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e6)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(10):
    x = torch.randn(8, 5)
    h = trunk(x)
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item(), trunk.weight.isnan().sum().item())
