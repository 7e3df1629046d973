"""Gradient accumulation: three backward passes a step, the loss divided by their number; a last, shorter cycle."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(6)
ACCUMULATE = 3
net = nn.Sequential(nn.Linear(5, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh())
depth_head, normal_head = nn.Linear(10, 1), nn.Linear(10, 3)
everything = nn.ModuleList([net, depth_head, normal_head])
optimizer = torch.optim.Adam(everything.parameters(), lr=1e-2)
keep(everything=everything, optimizer=optimizer)

optimizer.zero_grad(set_to_none=True)
for batch in range(32):
    x = torch.randn(9, 5)
    features = net(x)
    depth = (depth_head(features)[:, 0] - x.sum(1)).square().mean()
    normal = 1 - nn.functional.cosine_similarity(normal_head(features), x[:, :3]).mean()
    loss = (depth + 2 * normal) / ACCUMULATE
    loss.backward()
    if (batch + 1) % ACCUMULATE == 0:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    print(batch, loss.item())
