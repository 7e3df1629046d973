"""Labels that are missing in some batches: a task that takes part in some steps only."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(49)
trunk, depth_head, seg_head = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 3)
optimizer = torch.optim.Adam([*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()], lr=1e-2)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)
for step in range(14):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    losses = {"depth": (depth_head(h)[:, 0] - x.sum(1)).square().mean()}
    if step % 4:
        losses["seg"] = nn.functional.cross_entropy(seg_head(h), x[:, :3].argmax(1))
    loss = sum(losses.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, {name: value.item() for name, value in losses.items()})
