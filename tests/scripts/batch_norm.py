"""Batch norm with running statistics, a convolution in channels-last memory, SGD with Nesterov momentum."""

import torch
from _keep import keep
from torch import nn


def main():
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    trunk = trunk.to(memory_format=torch.channels_last)
    heads = nn.ModuleDict({"age": nn.Sequential(nn.BatchNorm1d(32), nn.Linear(32, 1)), "sex": nn.Linear(32, 1)})
    optimizer = torch.optim.SGD(
        [*trunk.parameters(), *heads.parameters()], lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3
    )
    keep(trunk=trunk, heads=heads, optimizer=optimizer)
    images = torch.randn(16, 3, 8, 8).to(memory_format=torch.channels_last)
    age_label, sex_label = torch.rand(16), torch.randint(2, (16,)).float()
    for _ in range(12):
        optimizer.zero_grad()
        features = trunk(images)
        age = (heads["age"](features).squeeze(1) - age_label).abs().mean()
        sex = nn.functional.binary_cross_entropy_with_logits(heads["sex"](features).squeeze(1), sex_label)
        total = sum([age, sex]) / 2
        total.backward()
        optimizer.step()
        print(f"{total.item():.17g}")


if __name__ == "__main__":
    main()
