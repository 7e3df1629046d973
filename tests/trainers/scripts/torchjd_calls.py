"""TorchJD's documented calls. ARG: mtl_backward | backward | jac_to_grad_mean."""

import sys

import _by_hand
import torch
from _data import Net, rows
from torch.nn import functional as F
from torchjd.aggregation import Mean, UPGrad
from torchjd.autojac import backward, jac_to_grad, mtl_backward

call = sys.argv[1]
torch.manual_seed(0)
x, kind, value, _ = rows()
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
aggregator = Mean() if call.endswith("mean") else UPGrad()
for step in range(30):
    batch = torch.randint(0, len(x), (16,))
    features = net.trunk(x[batch])
    kind_loss = F.cross_entropy(net.kind(features), kind[batch])
    value_loss = F.mse_loss(net.value(features)[:, 0], value[batch])
    if call == "backward":
        backward([kind_loss, value_loss])
        jac_to_grad(net.parameters(), aggregator)
    else:
        mtl_backward([kind_loss, value_loss], features=features)
        jac_to_grad(net.trunk.parameters(), aggregator)
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 9:
        print(kind_loss.item(), value_loss.item())
_by_hand.finish(net)
