"""Run as `python -m package.train`: relative imports, classes that can be pickled."""

import pickle
import sys

import torch

sys.path.insert(0, ".")
from _keep import keep

from .model import Net


class Batch:
    def __init__(self, x):
        self.x = x


def main():
    print(__name__, __package__, __spec__.name, sys.argv[1:], pickle.loads(pickle.dumps(Batch(1))).x)
    torch.manual_seed(24)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    keep(net=net, optimizer=optimizer)
    for _ in range(8):
        batch = Batch(torch.randn(8, 4))
        near_hat, far_hat = net(batch.x)
        near = (near_hat - batch.x[:, 0]).square().mean()
        far = (far_hat - batch.x[:, -1]).square().mean()
        loss = near + far
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())


if __name__ == "__main__":
    main()
