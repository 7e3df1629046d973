"""A script that trains nothing: inference, a backward without an optimizer, an optimizer without a backward."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(53)
net = nn.Linear(3, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
other = nn.Linear(3, 1)
keep(net=net, other=other, optimizer=optimizer)
with torch.no_grad():
    print(net(torch.ones(1, 3)).item())
other(torch.ones(1, 3)).sum().backward()
optimizer.step()
optimizer.zero_grad()
