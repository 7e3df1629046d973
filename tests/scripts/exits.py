"""Ends in the way that the first argument names: sys.exit with a number or a message, os._exit, Ctrl-C."""

import os
import signal
import sys

import torch
from _keep import keep, write
from torch import nn

torch.manual_seed(22)
trunk, depth_head, seg_head = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 2)
optimizer = torch.optim.Adam([*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()], lr=1e-2)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)


def train(steps):
    for step in range(steps):
        x = torch.randn(8, 4)
        h = trunk(x).relu()
        depth = (depth_head(h)[:, 0] - x.sum(1)).square().mean()
        seg = nn.functional.cross_entropy(seg_head(h), (x[:, 0] > 0).long())
        optimizer.zero_grad()
        (depth + seg).backward()
        optimizer.step()
        print(step, depth.item(), seg.item(), flush=True)


def leave(how):
    if how == "number":
        sys.exit(3)
    if how == "message":
        sys.exit("the loss is too high")
    if how == "at-once":
        write()
        os._exit(7)
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)


try:
    train(7)
    leave(sys.argv[1])
    train(1)
finally:
    print("leaving", flush=True)
