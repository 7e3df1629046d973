"""A hook on the loss runs backward() passes of its own, as a gradient cache for large batches does."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(57)
net = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.1), nn.Tanh(), nn.Linear(16, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
keep(net=net, optimizer=optimizer)


def cached(criterion, x):
    embeddings = net(x).detach().requires_grad_()
    loss = criterion(embeddings)
    (kept,) = torch.autograd.grad(loss, [embeddings])

    def replay(gradient):
        print("replay", gradient.item())
        with torch.enable_grad():
            for chunk, part in zip(x.split(8), kept.split(8), strict=True):
                ((net(chunk) * part).sum() * gradient).backward()

    loss = loss.detach().requires_grad_()
    loss.register_hook(replay)
    return loss


for step in range(6):
    x = torch.randn(16, 6)
    first = cached(lambda e: e.square().mean(), x)
    second = cached(lambda e: (e[:, 0] - e[:, 1]).abs().mean(), x)
    optimizer.zero_grad()
    (first + second).backward()
    optimizer.step()
    print(step, first.item(), second.item(), torch.rand(()).item())
