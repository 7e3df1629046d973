"""A custom autograd function that raises in its backward, at the step that is the first argument."""

import sys

import torch
from _keep import keep
from torch import nn

torch.manual_seed(21)
DEADLY = int(sys.argv[1])


class Fragile(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step):
        ctx.step = step
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        if ctx.step == DEADLY:
            raise ArithmeticError(f"no gradient at step {ctx.step}")
        return grad * 0.5, None


trunk, depth_head, seg_head = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 2)
optimizer = torch.optim.SGD([*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()], lr=0.1)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)
for step in range(8):
    x = torch.randn(8, 4)
    h = Fragile.apply(trunk(x).relu(), step)
    depth = (depth_head(h)[:, 0] - x.sum(1)).square().mean()
    seg = nn.functional.cross_entropy(seg_head(h), (x[:, 0] > 0).long())
    optimizer.zero_grad()
    (depth + seg).backward()
    optimizer.step()
    print(step, depth.item(), seg.item())
