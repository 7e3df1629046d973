"""A forward hook inside a checkpoint counts its calls: twice a step, in the forward and when it is computed again."""

import torch
from _keep import keep
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(60)
calls = {"forward": 0}
block = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
near, far = nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*block.parameters(), *near.parameters(), *far.parameters()], lr=0.05)
keep(block=block, near=near, far=far, optimizer=optimizer, calls=calls)


def count(module, given, out):
    calls["forward"] += 1


block[0].register_forward_hook(count)
for step in range(8):
    x = torch.randn(16, 8)
    z = checkpoint(block, x, use_reentrant=False)
    near_loss = (near(z)[:, 0] - x[:, 0]).square().mean()
    far_loss = (far(z)[:, 0] - x.sum(1)).abs().mean()
    optimizer.zero_grad()
    (near_loss + far_loss).backward()
    optimizer.step()
    print(step, near_loss.item(), far_loss.item(), calls)
