"""The training runs in a thread, fed by another one."""

import queue
import threading

import torch
from _keep import keep
from torch import nn

torch.manual_seed(47)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e-2)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
batches = queue.Queue(2)


def feed():
    generator = torch.Generator().manual_seed(3)
    for _ in range(12):
        batches.put(torch.randn(8, 5, generator=generator))
    batches.put(None)


def train():
    while (x := batches.get()) is not None:
        h = trunk(x).relu()
        one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
        two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
        optimizer.zero_grad()
        (one_loss + two_loss).backward()
        optimizer.step()
        print(one_loss.item(), two_loss.item())


workers = [threading.Thread(target=target) for target in (feed, train)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
