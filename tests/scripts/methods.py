"""A script that trains with dominance.optim: a combiner, one through the representation, and task-wise optimizers."""

import sys

import torch
from _keep import keep
from torch import nn

from dominance.optim import PUB, AdaTaskAdam, EqualWeight, GradNorm, MoCoGrad, PCGrad

torch.manual_seed(0)
method = sys.argv[1]
trunk = nn.Sequential(nn.Linear(6, 12), nn.ELU(), nn.Dropout(0.2))
price_head, stars_head = nn.Linear(12, 2), nn.Linear(12, 1)
model = nn.ModuleDict({"trunk": trunk, "price": price_head, "stars": stars_head})
combiner = {"gradnorm": GradNorm, "mocograd": MoCoGrad, "pcgrad": PCGrad, "through": PCGrad}.get(method, EqualWeight)()
if method == "adatask":
    optimizer = AdaTaskAdam(model.parameters(), lr=0.01)
elif method == "pub":
    optimizer = PUB(model.parameters(), lr=0.01, every=3)
else:
    optimizer = torch.optim.Adam([*model.parameters(), *combiner.parameters()], lr=0.01)
keep(model=model, optimizer=optimizer, combiner=combiner.state_dict())
for step in range(12):
    x = torch.randn(16, 6)
    z = trunk(x)
    price = (price_head(z) - x[:, :2]).square().mean()
    stars = (stars_head(z)[:, 0] - 9 * x[:, 3]).abs().mean()
    optimizer.zero_grad()
    losses = {"price": price, "stars": stars if step != 7 else None}
    if method in ("adatask", "pub"):
        optimizer.backward(losses, PCGrad(seed=step) if method == "adatask" else None)
    else:
        combiner.backward(losses, model.parameters(), representation=z if method == "through" else None)
    optimizer.step()
    print(f"{price.item():.6f} {stars.item():.6f}")
