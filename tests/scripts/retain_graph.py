"""Backward twice through one graph: kept on purpose, then by mistake, an error that the script reports."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(30)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(10):
    x = torch.randn(8, 5)
    h = trunk(x).tanh()
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    loss = one_loss + two_loss
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    loss.backward()
    try:
        loss.backward()
    except RuntimeError as error:
        print(str(error).splitlines()[0])
    optimizer.step()
    print(step, loss.item(), trunk.weight.grad.sum().item())
