"""The program ends inside a backward pass, with words on both streams."""

import logging
import sys
import warnings

import torch
from _keep import keep
from torch import nn

torch.manual_seed(59)
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
calls = []


class Ends(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step):
        ctx.step = step
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        logging.info("backward of step %d", ctx.step)
        print("on stderr", ctx.step, file=sys.stderr)
        warnings.warn("once", stacklevel=1)
        if ctx.step == 3:
            print("the end")
            sys.exit(4)
        return gradient, None


trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.01)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(6):
    x = torch.randn(8, 5)
    h = Ends.apply(trunk(x).tanh(), step)
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item())
