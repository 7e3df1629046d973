"""Hooks with side effects: on modules, tensors, leaves and gradient accumulation."""

from collections import Counter

import torch
from _keep import keep
from torch import nn

torch.manual_seed(28)
counts = Counter()
trunk = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8))
one, two = nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e-2)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer, counts=counts)


def count(kind, result=None):
    def hook(*arguments):
        counts[kind] += 1
        return result(*arguments) if result else None

    return hook


def halve(parameter):
    parameter.grad.mul_(0.5)


trunk[0].register_forward_pre_hook(count("forward pre"))
trunk[0].register_forward_hook(count("forward"))
trunk[2].register_full_backward_pre_hook(count("backward pre"))
trunk[2].register_full_backward_hook(count("backward"))
one.register_full_backward_hook(count("backward of a head", lambda module, inward, outward: (inward[0] * 0.9,)))
trunk[0].weight.register_hook(count("leaf", lambda grad: grad.clamp(-1, 1)))
trunk[2].weight.register_post_accumulate_grad_hook(count("accumulated", halve))

for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x)
    h.register_hook(count("activation", lambda grad: grad * 1.1))
    h.retain_grad()
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    one_loss.register_hook(count("loss"))
    loss = one_loss + two_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), h.grad.sum().item(), sorted(counts.items()))
