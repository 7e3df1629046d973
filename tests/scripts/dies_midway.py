"""An exception in the middle of training, raised a few calls deep."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(20)
trunk, depth_head, seg_head = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 2)
optimizer = torch.optim.Adam([*trunk.parameters(), *depth_head.parameters(), *seg_head.parameters()], lr=1e-2)
keep(trunk=trunk, depth_head=depth_head, seg_head=seg_head, optimizer=optimizer)


class BadBatchError(ValueError):
    pass


def load(step):
    if step == 7:
        try:
            return {}["missing"]
        except KeyError as error:
            raise BadBatchError(f"batch {step} cannot be read") from error
    return torch.randn(8, 4)


def train():
    for step in range(12):
        x = load(step)
        h = trunk(x).relu()
        depth = (depth_head(h)[:, 0] - x.sum(1)).square().mean()
        seg = nn.functional.cross_entropy(seg_head(h), (x[:, 0] > 0).long())
        optimizer.zero_grad()
        (depth + seg).backward()
        optimizer.step()
        print(step, depth.item(), seg.item())


if __name__ == "__main__":
    train()
