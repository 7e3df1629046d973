"""Anomaly mode as the script sets it, by every switch there is; a NaN in the backward pass that it does not see."""

import warnings

import torch
from _keep import keep
from torch import nn

torch.manual_seed(52)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)


def state():
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


trunk.weight.register_hook(lambda gradient: print("in backward", state()))


def losses(x):
    h = trunk(x).relu()
    return (one(h)[:, 0] - x.sum(1)).square().mean(), (two(h)[:, 0] - x.prod(1)).square().mean()


def train(switch):
    x = torch.randn(8, 5)
    with switch:
        print("in forward", state())
        one_loss, two_loss = losses(x)
        optimizer.zero_grad()
        (one_loss + two_loss).backward()
    print("after", state(), one_loss.item(), two_loss.item())
    optimizer.step()


modes = torch.autograd
for round_ in range(3):
    train(modes.set_detect_anomaly(False))
    train(modes.detect_anomaly(check_nan=False))
    train(modes.set_detect_anomaly(True))
    train(modes.set_detect_anomaly(True, check_nan=False))
    modes.set_detect_anomaly(round_ != 1)
x = torch.zeros(4, 5, requires_grad=True)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        (trunk(x) * 0 + x[:, :1].sqrt().sum() * 0).sum().backward()
    except RuntimeError as error:
        print(str(error)[:60])
