"""torch.autograd.grad once per task, the gradients combined and assigned by hand."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(32)
trunk, one, two = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8)), nn.Linear(8, 1), nn.Linear(8, 1)
model = nn.ModuleList([trunk, one, two])
parameters = list(model.parameters())
optimizer = torch.optim.Adam(parameters, lr=1e-2)
keep(model=model, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x)
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    first = torch.autograd.grad(one_loss, parameters, retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(two_loss, parameters, allow_unused=True)
    for parameter, a, b in zip(parameters, first, second, strict=True):
        parameter.grad = sum((g for g in (a, b) if g is not None), torch.zeros_like(parameter))
    optimizer.step()
    print(step, one_loss.item(), two_loss.item())
