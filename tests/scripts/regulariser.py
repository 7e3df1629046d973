"""A penalty on the shared parameters: part of the loss, and no task."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(40)
trunk, depth_head, seg_head = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 3)
optimizer = torch.optim.Adam([*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()], lr=1e-2)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    depth = (depth_head(h)[:, 0] - x.sum(1)).square().mean()
    seg = nn.functional.cross_entropy(seg_head(h), x[:, :3].argmax(1))
    l2 = sum(p.square().sum() for p in trunk.parameters())
    loss = depth + 0.5 * seg + 1e-2 * l2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, depth.item(), seg.item(), l2.item())
