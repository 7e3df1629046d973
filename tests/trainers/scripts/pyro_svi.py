"""pyro: SVI with Trace_ELBO over a model that observes two things through one network."""

import _by_hand
import pyro
import torch
from pyro import distributions as dist
from pyro.infer import SVI, Trace_ELBO
from torch import nn

pyro.set_rng_seed(0)
trunk, for_count, for_size = nn.Sequential(nn.Linear(4, 12), nn.Tanh()), nn.Linear(12, 1), nn.Linear(12, 1)
net = nn.ModuleDict({"trunk": trunk, "count": for_count, "size": for_size})
x = torch.randn(64, 4)
count, size = torch.poisson(x[:, 0].exp()), 3 * x[:, 1]


def model(x, count, size):
    pyro.module("net", net)
    hidden = trunk(x)
    with pyro.plate("rows", len(x)):
        pyro.sample("count", dist.Poisson(for_count(hidden)[:, 0].exp()), obs=count)
        pyro.sample("size", dist.Normal(for_size(hidden)[:, 0], 0.5), obs=size)


def guide(x, count, size):
    pass


svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss=Trace_ELBO())
for i in range(20):
    loss = svi.step(x, count, size)
    if i % 10 == 9:
        print(loss)
_by_hand.finish(net)
