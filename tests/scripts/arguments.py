"""Arguments that look like those of a wrapper around it, and text on standard input."""

import argparse
import sys

import torch
from _keep import keep
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("-o", "--output", required=True)
parser.add_argument("--every", type=int, default=0)
parser.add_argument("-m", "--mode", default="plain")
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("-q", action="store_true")
parser.add_argument("rest", nargs="*")
args = parser.parse_args()
print(args, sys.argv[1:], sys.stdin.read().upper())

torch.manual_seed(23)
trunk, sum_head, max_head = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *sum_head.parameters(), *max_head.parameters()], lr=args.lr)
keep(trunk=trunk, sum_head=sum_head, max_head=max_head, optimizer=optimizer)
for _ in range(8):
    x = torch.randn(8, 4)
    h = trunk(x).relu()
    sum_loss = (sum_head(h)[:, 0] - x.sum(1)).square().mean()
    max_loss = (max_head(h)[:, 0] - x.amax(1)).square().mean()
    optimizer.zero_grad()
    (sum_loss + max_loss).backward()
    optimizer.step()
    print(sum_loss.item(), max_loss.item())
