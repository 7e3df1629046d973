"""DistributedDataParallel(static_graph=True) in a group of one: it learns the graph in the first backward()."""

import os
import tempfile

import torch
import torch.distributed as dist
from _keep import keep
from torch import nn
from torch.nn.parallel import DistributedDataParallel

folder = tempfile.TemporaryDirectory()
store = f"file://{os.path.join(folder.name, 'store')}"
dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.near, self.far = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x):
        z = self.trunk(x).tanh()
        return self.near(z)[:, 0], self.far(z)[:, 0]


torch.manual_seed(50)
net = DistributedDataParallel(Net(), static_graph=True)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
keep(net=net.module, optimizer=optimizer)
for step in range(8):
    x = torch.randn(16, 6)
    near, far = net(x)
    near_loss = (near - x.sum(1)).square().mean()
    far_loss = (far - x[:, 0]).abs().mean()
    optimizer.zero_grad()
    (near_loss + far_loss).backward()
    optimizer.step()
    print(step, near_loss.item(), far_loss.item())
dist.destroy_process_group()
