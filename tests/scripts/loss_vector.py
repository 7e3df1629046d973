"""A preallocated vector of losses, filled by index, then weighted and summed, as LibMTL does it."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(34)
TASKS = ["segmentation", "depth", "normal"]
encoder = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU())
decoders = nn.ModuleDict({task: nn.Linear(12, 2) for task in TASKS})
optimizer = torch.optim.Adam([*encoder.parameters(), *decoders.parameters()], lr=1e-2)
keep(encoder=encoder, decoders=decoders, optimizer=optimizer)
targets = {"segmentation": lambda x: x[:, :2], "depth": lambda x: x[:, 2:4] * 5, "normal": lambda x: x[:, 4:].sin()}
for step in range(12):
    x = torch.randn(16, 6)
    representation = encoder(x)
    losses = torch.zeros(len(TASKS))
    for k, task in enumerate(TASKS):
        losses[k] = (decoders[task](representation) - targets[task](x)).abs().mean()
    loss = torch.mul(losses, torch.ones_like(losses)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, losses.tolist())
