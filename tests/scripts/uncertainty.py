"""Uncertainty weighting with learned log-variances."""

import torch
from _keep import keep
from torch import nn


class Uncertainty(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(n))

    def forward(self, losses):
        return sum(torch.exp(-s) * loss + s for s, loss in zip(self.log_variance, losses, strict=True))


torch.manual_seed(35)
trunk, one, two = nn.Sequential(nn.Linear(5, 8), nn.ReLU()), nn.Linear(8, 1), nn.Linear(8, 1)
weighting = Uncertainty(2)
model = nn.ModuleList([trunk, one, two, weighting])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x)
    price = (one(h)[:, 0] - x.sum(1)).square().mean()
    demand = (two(h)[:, 0] - x.prod(1)).square().mean()
    loss = weighting([price, demand])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, price.item(), demand.item(), weighting.log_variance.tolist())
