"""Adam given a closure, as some frameworks do."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(18)
trunk, up_head, down_head = nn.Linear(5, 7), nn.Linear(7, 1), nn.Linear(7, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *up_head.parameters(), *down_head.parameters()], lr=1e-2)
keep(trunk=trunk, up_head=up_head, down_head=down_head, optimizer=optimizer)


def make_closure(x):
    def closure():
        h = torch.sigmoid(trunk(x))
        up = (up_head(h)[:, 0] - x.amax(1)).abs().mean()
        down = (down_head(h)[:, 0] - x.amin(1)).abs().mean()
        loss = up + down
        optimizer.zero_grad()
        loss.backward()
        return loss

    return closure


for step in range(12):
    print(step, optimizer.step(make_closure(torch.randn(8, 5))).item())
