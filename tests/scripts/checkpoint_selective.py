"""Selective activation checkpointing: some results are kept, the rest is computed again, once only."""

from functools import partial

import torch
from _keep import keep
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

torch.manual_seed(51)
kept = [torch.ops.aten.addmm.default, torch.ops.aten.mm.default]
trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
depth_head, seg_head = nn.Linear(8, 1), nn.Linear(8, 1)
parameters = [*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=0.05)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)
for step in range(8):
    x = torch.randn(16, 6)
    contexts = partial(create_selective_checkpoint_contexts, kept)
    z = checkpoint(trunk, x, use_reentrant=False, context_fn=contexts)
    depth = (depth_head(z)[:, 0] - x.sum(1)).square().mean()
    seg = (seg_head(z)[:, 0] - x[:, 0]).abs().mean()
    optimizer.zero_grad()
    (depth + seg).backward()
    optimizer.step()
    print(step, depth.item(), seg.item())
