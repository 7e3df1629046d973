"""The summed loss comes out of functions that have returned when backward() is called."""

import torch
from _keep import keep
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(5, 8)
        self.price_head = nn.Linear(8, 1)
        self.stars_head = nn.Linear(8, 5)

    def forward(self, x):
        h = F.silu(self.trunk(x))
        return self.price_head(h)[:, 0], self.stars_head(h)


def price_and_stars(net, x):
    price_hat, stars_hat = net(x)
    price = F.mse_loss(price_hat, x.sum(1))
    stars = F.cross_entropy(stars_hat, x.argmax(1))
    return price + 0.2 * stars


def training_step(net, x):
    return {"loss": price_and_stars(net, x), "size": len(x)}


def fit(net, optimizer):
    for step in range(12):
        result = training_step(net, torch.randn(16, 5))
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
        print(step, result["loss"].item())


torch.manual_seed(36)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
keep(net=net, optimizer=optimizer)
fit(net, optimizer)
