"""A DataLoader with two worker processes that draw random numbers of their own."""

import numpy as np
import torch
from _keep import keep
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 48

    def __getitem__(self, index):
        x = torch.randn(5)
        return x, x.sum() + np.random.rand() * 0.01, (x[0] > 0).float()


def seed_worker(worker):
    np.random.seed(torch.initial_seed() % 2**32)


def main():
    torch.manual_seed(26)
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(
        Noisy(),
        8,
        shuffle=True,
        num_workers=2,
        worker_init_fn=seed_worker,
        generator=generator,
        persistent_workers=True,
    )
    trunk, total_head, sign_head = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*trunk.parameters(), *total_head.parameters(), *sign_head.parameters()], lr=1e-2)
    keep(trunk=trunk, total_head=total_head, sign_head=sign_head, optimizer=optimizer, generator=generator)
    for epoch in range(2):
        for x, total_label, sign_label in loader:
            h = trunk(x).tanh()
            total_loss = (total_head(h)[:, 0] - total_label.float()).square().mean()
            sign_loss = nn.functional.binary_cross_entropy_with_logits(sign_head(h)[:, 0], sign_label)
            loss = total_loss + sign_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(epoch, loss.item())


if __name__ == "__main__":
    main()
