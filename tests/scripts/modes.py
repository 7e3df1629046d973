"""What looks at every operator: a FLOP counter, a mode that logs, a function mode, a profiler."""

import collections
import contextlib
import os

import torch
from _keep import keep
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(54)
counts = collections.Counter()


class Log(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        counts[getattr(function, "__name__", "?")] += 1
        return function(*args, **(kwargs or {}))


trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.AdamW([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05)
keep(trunk=trunk, one=one, two=two, optimizer=optimizer, counts=counts)


@contextlib.contextmanager
def quiet():
    """The profiler says the time on standard error."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    yield
    os.dup2(stderr, 2)


def train():
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    one_loss = (one(h)[:, 0] - x.sum(1)).square().mean()
    two_loss = (two(h)[:, 0] - x.prod(1)).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(one_loss.item(), two_loss.item())


for _ in range(3):
    with FlopCounterMode(display=False) as flops:
        train()
    print(flops.get_total_flops())
    with Log():
        train()
    with Calls():
        train()
    with quiet(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        train()
    print(sorted((event.key, event.count) for event in profiler.key_averages() if "[memory]" not in event.key))
print(sorted(counts.items()))
