"""A softmax over learned weights, multiplied into stacked losses by @."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(52)
trunk, one, two, three = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1), nn.Linear(8, 2)
logits = nn.Parameter(torch.zeros(3))
model = nn.ModuleList([trunk, one, two, three])
optimizer = torch.optim.Adam([*model.parameters(), logits], lr=1e-2)
keep(model=model, logits=logits, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    total = (one(h)[:, 0] - x.sum(1)).square().mean()
    product = (two(h)[:, 0] - x.prod(1)).square().mean()
    sign = nn.functional.cross_entropy(three(h), (x[:, 0] > 0).long())
    loss = logits.softmax(0) @ torch.stack([total, product, sign])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), logits.tolist())
