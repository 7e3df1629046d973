"""A custom autograd function that keeps tensors and prints in its backward; reversed gradients for a second task."""

import torch
from _keep import keep
from torch import nn


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.save_for_backward(x)
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        print("reversing", tuple(x.shape))
        return -ctx.strength * grad, None


torch.manual_seed(42)
trunk, label_head, domain_head = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 2)
optimizer = torch.optim.Adam([*trunk.parameters(), *label_head.parameters(), *domain_head.parameters()], lr=1e-2)
keep(trunk=trunk, label_head=label_head, domain_head=domain_head, optimizer=optimizer)
for step in range(8):
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    label = nn.functional.cross_entropy(label_head(h), x[:, :3].argmax(1))
    domain = nn.functional.cross_entropy(domain_head(Reverse.apply(h, 0.5)), (x[:, 4] > 0).long())
    loss = label + domain
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, label.item(), domain.item())
