"""Two learning-rate schedulers in a chain, parameter groups with different rates, one of them changed by hand."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(8)
body = nn.Sequential(nn.Linear(4, 8), nn.GELU())
heads = nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])
optimizer = torch.optim.NAdam([{"params": body.parameters(), "lr": 1e-3}, {"params": heads.parameters(), "lr": 1e-2}])
warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cosine], milestones=[4])
keep(body=body, heads=heads, optimizer=optimizer, scheduler=scheduler.state_dict())
for step in range(12):
    x = torch.randn(16, 4)
    h = body(x)
    mean = (heads[0](h)[:, 0] - x.mean(1)).square().mean()
    spread = (heads[1](h)[:, 0] - x.std(1)).square().mean()
    optimizer.zero_grad()
    (mean + spread).backward()
    optimizer.step()
    scheduler.step()
    if step == 9:
        optimizer.param_groups[1]["lr"] *= 0.5
    print(step, scheduler.get_last_lr(), mean.item(), spread.item())
