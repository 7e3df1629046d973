"""A single loss: nothing to tell apart, and a training that must go on all the same."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(51)
net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.Adadelta(net.parameters())
keep(net=net, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x)[:, 0], x.sum(1))
    loss.backward()
    optimizer.step()
    print(step, loss.item())
