#!/usr/bin/env bash
# accelerate, one process on the CPU: a prepared DataLoader takes the next batch before it hands over the present one. Where
# the data draw random numbers (augmentation, noise, negative samples) and the model does (dropout), both from torch's
# global generator, the two change their places: the same seed and the same script train to other weights than without
# prepare(), and what a data set counts or logs is one batch ahead of the step that is taken. The documentation speaks of
# the batch ahead as a way to know the last one; that a training of one process is another one is not said.
#
# Seen (accelerate 1.11.0, torch 2.13.0, Python 3.11, CPU), order of draws in two steps, and the largest difference of weights:
#   plain      data 0, dropout, data 1, dropout
#   prepared   data 0, data 1, dropout, data 2, dropout       other weights; without dropout the same
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5 accelerate==1.11.0
cat > "$folder/train.py" <<'PY'
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, Dataset

drawn = []


class Noisy(Dataset):
    """Eight examples, each with noise of its own whenever it is asked for."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        drawn.append(f"data {i // 2}")
        x = torch.tensor([float(i), 1.0]) / 8
        return x + 0.1 * torch.randn(2), x.sum()


class Dropout(nn.Dropout):
    def forward(self, x):
        drawn.append("dropout")
        return super().forward(x)


def train(prepared, dropout):
    """The weights, and the order in which random numbers were drawn in the first two steps."""
    torch.manual_seed(0)
    drawn.clear()
    net = nn.Sequential(nn.Linear(2, 8), Dropout(0.5) if dropout else nn.Identity(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = DataLoader(Noisy(), batch_size=2)
    if prepared:
        loader = Accelerator(cpu=True).prepare(loader)
    order = []
    for x, y in loader:
        loss = (net(x)[:, 0] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if len(order) < 2:
            order.append(list(dict.fromkeys(drawn)))
            drawn.clear()
    return torch.cat([p.detach().flatten() for p in net.parameters()]), order


def difference(dropout):
    return float((train(False, dropout)[0] - train(True, dropout)[0]).abs().max())


plain, prepared = train(False, True)[1], train(True, True)[1]
print("plain    ", plain)
print("prepared ", prepared)
print("largest difference of weights with dropout", difference(True), "without", difference(False))
assert plain == [["data 0", "dropout"], ["data 1", "dropout"]]
assert prepared == [["data 0", "data 1", "dropout"], ["data 2", "dropout"]]
assert difference(True) > 1e-3
assert difference(False) == 0
PY
"$folder/venv/bin/python" "$folder/train.py"
