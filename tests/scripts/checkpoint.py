"""Activation checkpointing without re-entry: dropout and batch norm are run again in the backward pass."""

import torch
from _keep import keep
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(12)
block = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 8))
depth_head, seg_head = nn.Linear(8, 1), nn.Linear(8, 3)
parameters = [*block.parameters(), *depth_head.parameters(), *seg_head.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-2)
keep(block=block, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)
x = torch.randn(24, 8)
for step in range(12):
    features = checkpoint(block, x, use_reentrant=False)
    depth = (depth_head(features)[:, 0] - x[:, 0]).square().mean()
    seg = nn.functional.cross_entropy(seg_head(features), x[:, :3].argmax(1))
    loss = depth + seg
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, depth.item(), seg.item(), block[1].num_batches_tracked.item(), torch.rand(()).item())
