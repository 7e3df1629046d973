"""Parameters that are transposed, strided, or windows onto one flat tensor."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(39)
flat = torch.randn(60) * 0.3
transposed = nn.Parameter(torch.randn(8, 5).t())
strided = nn.Parameter(torch.randn(8, 16)[:, ::2])
one, two = nn.Parameter(flat[:8]), nn.Parameter(flat[20:28])
scalar = nn.Parameter(torch.tensor(0.1))
optimizer = torch.optim.Adam([transposed, strided, one, two, scalar], lr=1e-2, foreach=True)
keep(transposed=transposed, strided=strided, one=one, two=two, scalar=scalar, flat=flat, optimizer=optimizer)
for step in range(12):
    x = torch.randn(9, 5)
    h = torch.relu(x @ transposed) @ strided + scalar
    one_loss = (h @ one - x.sum(1)).square().mean()
    two_loss = (h @ two - x.prod(1)).square().mean()
    loss = one_loss + two_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), transposed.stride(), strided.stride())
