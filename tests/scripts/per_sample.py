"""Losses per sample, reduced at the end; a batch of single examples in a Python loop."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(41)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 3)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05, maximize=False)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(12):
    x = torch.randn(6, 5)
    box, label = [], []
    for example in x:
        h = trunk(example).relu()
        box.append((one(h)[0] - example.sum()).abs())
        label.append(nn.functional.cross_entropy(two(h), example[:3].argmax()))
    box_loss = torch.stack(box).mean()
    label_loss = torch.stack(label).mean()
    loss = box_loss + label_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, box_loss.item(), label_loss.item())
