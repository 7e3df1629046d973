"""Activation checkpointing by re-entry: it forbids autograd.grad, and calls backward inside backward."""

import torch
from _keep import keep
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(13)
stem = nn.Linear(8, 8)
block = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 8))
depth_head, seg_head = nn.Linear(8, 1), nn.Linear(8, 3)
model = nn.ModuleList([stem, block, depth_head, seg_head])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
x = torch.randn(24, 8)
for step in range(12):
    features = checkpoint(block, stem(x), use_reentrant=True)
    depth = (depth_head(features)[:, 0] - x[:, 0]).square().mean()
    seg = nn.functional.cross_entropy(seg_head(features), x[:, :3].argmax(1))
    loss = depth + seg
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, depth.item(), seg.item())
