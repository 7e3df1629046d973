"""One optimizer for the trunk, one for the heads; the second steps every other time."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(16)
trunk = nn.Sequential(nn.Linear(7, 12), nn.ELU(), nn.Linear(12, 12), nn.ELU())
heads = nn.ModuleDict({"a": nn.Linear(12, 2), "b": nn.Linear(12, 2)})
slow = torch.optim.SGD(trunk.parameters(), lr=0.05, momentum=0.9)
fast = torch.optim.Adam(heads.parameters(), lr=1e-2)
keep(trunk=trunk, heads=heads, slow=slow, fast=fast)
for step in range(14):
    x = torch.randn(12, 7)
    hidden = trunk(x)
    task_a = nn.functional.huber_loss(heads["a"](hidden), x[:, :2])
    task_b = nn.functional.huber_loss(heads["b"](hidden), x[:, 2:4].square())
    slow.zero_grad()
    fast.zero_grad()
    (task_a + task_b).backward()
    slow.step()
    if step % 2:
        fast.step()
    print(step, task_a.item(), task_b.item())
