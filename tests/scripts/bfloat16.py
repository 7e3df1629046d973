"""Parameters that are themselves bfloat16, under SGD with momentum."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(10)
trunk, one, two = (nn.Linear(8, 8).bfloat16() for _ in range(3))
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05, momentum=0.9)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
x = torch.randn(16, 8, dtype=torch.bfloat16)
for step in range(12):
    h = trunk(x).tanh()
    copy = nn.functional.mse_loss(one(h), x)
    flip = nn.functional.mse_loss(two(h), -x)
    loss = copy + 0.25 * flip
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item())
