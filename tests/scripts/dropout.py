"""Dropout in the trunk and in a head; deterministic algorithms asked for."""

import torch
from _keep import keep
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 16), nn.Tanh())
        self.depth = nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 1))
        self.seg = nn.Linear(16, 3)

    def forward(self, x):
        h = self.trunk(x)
        return self.depth(h), self.seg(h)


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
keep(net=net, optimizer=optimizer)
x, y, z = torch.randn(64, 8), torch.randn(64, 1), torch.randint(3, (64,))
for step in range(12):
    depth_hat, seg_hat = net(x)
    depth = F.mse_loss(depth_hat, y)
    seg = F.cross_entropy(seg_hat, z)
    loss = depth + 0.5 * seg
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, repr(depth.item()), repr(seg.item()), repr(loss.item()))
