"""Gradients clipped by value, float64 as the default, Adamax."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
trunk, left, right = nn.Linear(6, 9), nn.Linear(9, 4), nn.Linear(9, 4)
model = nn.ModuleDict({"trunk": trunk, "left": left, "right": right})
optimizer = torch.optim.Adamax(model.parameters(), lr=1e-2, weight_decay=1e-2)
keep(model=model, optimizer=optimizer)
for step in range(12):
    x = torch.randn(20, 6)
    h = trunk(x).relu()
    left_loss = nn.functional.cross_entropy(left(h), x[:, :4].argmax(1))
    right_loss = nn.functional.cross_entropy(right(h), x[:, 2:].argmax(1))
    loss = left_loss + 10 * right_loss
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 0.05)
    optimizer.step()
    print(step, loss.item())
