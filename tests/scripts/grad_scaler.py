"""A gradient scaler whose scale overflows: some steps are skipped."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(11)
trunk, slow, fast = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *slow.parameters(), *fast.parameters()], lr=1e-2)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
keep(trunk=trunk, slow=slow, fast=fast, optimizer=optimizer)
for step in range(12):
    x = torch.randn(10, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = trunk(x).relu()
        slow_hat, fast_hat = slow(h)[:, 0], fast(h)[:, 0]
    slow_loss = (slow_hat.float() - x.sum(1)).square().mean()
    fast_loss = (fast_hat.float() - x.prod(1)).square().mean()
    loss = slow_loss + fast_loss
    if step in (2, 7):
        loss = loss * 1e38
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(step, loss.item(), scaler.get_scale())
keep(scaler=scaler.state_dict())
