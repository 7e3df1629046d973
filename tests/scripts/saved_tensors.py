"""Saved-tensor hooks: activations kept in float16 until the backward asks for them; a count of what is kept."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(43)
counts = {"packed": 0}
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer, counts=counts)


def pack(tensor):
    counts["packed"] += 1
    return tensor.half() if tensor.is_floating_point() else tensor


def unpack(tensor):
    return tensor.float() if tensor.is_floating_point() else tensor


for step in range(12):
    x = torch.randn(8, 5)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        h = trunk(x).relu()
        one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
        two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item(), counts)
