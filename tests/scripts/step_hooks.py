"""The user's own optimizer hooks, on one optimizer and on all; a step that a pre-hook changes."""

import torch
from _keep import keep
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

torch.manual_seed(29)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05, momentum=0.9)
seen = []
keep(trunk=trunk, one=one, two=two, optimizer=optimizer, seen=seen)


def halve(optimizer, args, kwargs):
    seen.append("before")
    trunk.weight.grad.mul_(0.5)


def project(optimizer, args, kwargs):
    seen.append("after")
    with torch.no_grad():
        trunk.weight.clamp_(-0.4, 0.4)


optimizer.register_step_pre_hook(halve)
optimizer.register_step_post_hook(project)
register_optimizer_step_post_hook(lambda optimizer, args, kwargs: seen.append(type(optimizer).__name__))
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item(), len(seen))
