"""One backward() per task through a shared graph; gradients are zeroed, not dropped."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(33)
trunk, one, two = nn.Sequential(nn.Linear(5, 8), nn.ReLU()), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adagrad([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=5e-2)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x)
    near = (one(h)[:, 0] - x.sum(1)).square().mean()
    far = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad(set_to_none=False)
    near.backward(retain_graph=True)
    (0.3 * far).backward()
    optimizer.step()
    print(step, near.item(), far.item())
