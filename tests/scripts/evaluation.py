"""Evaluation in between: eval mode, no_grad, inference_mode; gradients are off by default and on for training only."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(19)
torch.set_grad_enabled(False)
trunk = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5))
first, second = nn.Linear(12, 3), nn.Linear(12, 2)
model = nn.ModuleList([trunk, first, second])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
x = torch.randn(40, 6)
y, z = x[:, :3].argmax(1), (x.sum(1) > 0).long()


def accuracy():
    model.eval()
    h = trunk(x)
    result = [(first(h).argmax(1) == y).float().mean().item(), (second(h).argmax(1) == z).float().mean().item()]
    model.train()
    return result


for step in range(12):
    with torch.enable_grad():
        h = trunk(x)
        first_loss = nn.functional.cross_entropy(first(h), y)
        second_loss = nn.functional.cross_entropy(second(h), z)
        loss = first_loss + second_loss
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
    if step % 3 == 0:
        with torch.inference_mode():
            print(step, accuracy())
    print(step, loss.item(), accuracy())
