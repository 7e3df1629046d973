"""A gradient penalty: autograd.grad with create_graph inside the loss, then a double backward."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(31)
trunk, real_head, style_head = nn.Sequential(nn.Linear(5, 8), nn.Softplus()), nn.Linear(8, 1), nn.Linear(8, 2)
optimizer = torch.optim.Adam([*trunk.parameters(), *real_head.parameters(), *style_head.parameters()], lr=1e-2)
keep(trunk=trunk, real_head=real_head, style_head=style_head, optimizer=optimizer)
for step in range(12):
    x = torch.randn(8, 5, requires_grad=True)
    h = trunk(x)
    score = real_head(h)[:, 0]
    real = nn.functional.softplus(-score * x.detach()[:, 0].sign()).mean()
    style = nn.functional.cross_entropy(style_head(h), (x.detach()[:, 1] > 0).long())
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    loss = real + style + 10 * penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, real.item(), style.item(), penalty.item(), x.grad.sum().item())
