"""LBFGS: the closure is called several times a step."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(17)
trunk, mean_head, scale_head = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)
model = nn.ModuleList([trunk, mean_head, scale_head])
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
keep(model=model, optimizer=optimizer)
x = torch.randn(30, 4)
calls = 0


def closure():
    global calls
    calls += 1
    optimizer.zero_grad()
    h = trunk(x).tanh()
    mean = (mean_head(h)[:, 0] - x.mean(1)).square().mean()
    scale = (scale_head(h)[:, 0] - x.std(1)).square().mean()
    loss = mean + scale
    loss.backward()
    return loss


for step in range(6):
    loss = optimizer.step(closure)
    print(step, loss.item(), calls)
