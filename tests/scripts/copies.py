"""The model is deep-copied, averaged, pickled and loaded again while it trains; training goes on with the copy."""

import copy
import io

import torch
from _keep import keep
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def losses(self, x):
        h = self.trunk(x).relu()
        return (self.one(h)[:, 0] - x.sum(1)).square().mean(), (self.two(h)[:, 0] - x.prod(1)).square().mean()


torch.manual_seed(46)
net = Net()
average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
keep(first=net, average=average)
for step in range(12):
    if step == 5:
        file = io.BytesIO()
        torch.save({"net": net, "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=False)
        net = saved["net"]
        optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
        optimizer.load_state_dict(saved["optimizer"])
    if step == 9:
        snapshot = copy.deepcopy((net, optimizer))
    one_loss, two_loss = net.losses(torch.randn(8, 5))
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    average.update_parameters(net)
    print(step, one_loss.item(), two_loss.item())
keep(net=net, optimizer=optimizer, snapshot=list(snapshot), pickled=len(file.getvalue()))
