"""A plain loop with clipping and OneCycleLR: the rent of a flat, in tens, and how it is liked. Nothing knows of us."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=400)
args = parser.parse_args()
torch.manual_seed(0)
world = torch.randn(3, 10, 16) / 10**0.5
readout = torch.randn(3, 16) / 4


def flats(count):
    """What is known of flats, their rents and how they are liked; a third of both in common."""
    x = torch.randn(count, 10)
    common, rent, liked = (torch.tanh(2 * x @ world) @ readout[:, :, None])[..., 0]
    noise = 0.2 * torch.randn(2, count)
    return x, 10 * (0.5 * common + rent + noise[0]), 0.5 * common + liked + noise[1]


trunk = nn.Sequential(nn.Linear(10, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
rent_head, liked_head = nn.Linear(48, 1), nn.Linear(48, 1)
parameters = [*trunk.parameters(), *rent_head.parameters(), *liked_head.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-2)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=args.steps)
for _ in range(args.steps):
    x, rent, liked = flats(64)
    z = trunk(x)
    rent_loss = (rent_head(z)[:, 0] - rent).square().mean()
    liked_loss = (liked_head(z)[:, 0] - liked).square().mean()
    loss = rent_loss + liked_loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 5.0)
    optimizer.step()
    schedule.step()
print(f"rent {rent_loss.item():.3f}, liked {liked_loss.item():.4f}")
