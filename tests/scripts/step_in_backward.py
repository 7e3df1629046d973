"""One optimizer per parameter, each stepping inside the backward pass as soon as its gradient is there."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(48)
model = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)])
trunk, one, two = model
optimizers = {p: torch.optim.Adam([p], lr=1e-2) for p in model.parameters()}
keep(model=model, optimizers=list(optimizers.values()))


def step_now(parameter):
    optimizers[parameter].step()
    optimizers[parameter].zero_grad()


for p in model.parameters():
    p.register_post_accumulate_grad_hook(step_now)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    (one_loss + two_loss).backward()
    print(step, one_loss.item(), two_loss.item())
