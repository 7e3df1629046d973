"""A module that updates buffers and a counter in its forward, and spectral norm, which does so too."""

import torch
from _keep import keep
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class Centre(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long), persistent=False)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean(0), 0.1)
                self.seen += len(x)
        return x - self.mean


torch.manual_seed(38)
trunk = nn.Sequential(spectral_norm(nn.Linear(5, 8)), Centre(8), nn.ReLU())
one, two = nn.Linear(8, 1), nn.Linear(8, 1)
model = nn.ModuleList([trunk, one, two])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x)
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item(), trunk[1].calls, trunk[1].seen.item())
keep(calls=trunk[1].calls)
