"""A scripted trunk with batch norm below a block whose checkpoint runs batch norm and dropout again."""

import warnings

import torch
from _keep import keep
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(53)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    trunk = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2)))
block = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
up, down = nn.Linear(8, 1), nn.Linear(8, 1)
parameters = [p for part in (trunk, block, up, down) for p in part.parameters()]
optimizer = torch.optim.Adam(parameters, lr=0.01)
keep(buffers=dict(trunk.named_buffers()), block=block, up=up, down=down, optimizer=optimizer)
for step in range(6):
    x = torch.randn(16, 6)
    z = checkpoint(block, trunk(x), use_reentrant=False).tanh()
    up_loss = (up(z)[:, 0] - x.sum(1)).square().mean()
    down_loss = (down(z)[:, 0] - x[:, 0]).abs().mean()
    optimizer.zero_grad()
    (up_loss + down_loss).backward()
    optimizer.step()
    print(step, up_loss.item(), down_loss.item(), int(trunk[1].num_batches_tracked), torch.rand(()).item())
