"""Digits with a long tail: of each class some fewer images than of the one before, as in most collections.

One network, one loss, ten classes. Watch how much of the shared parameters the rare ones get to move:

    python -m dominance.examples.long_tail
    dominance record --groups target -m dominance.examples.long_tail

The last class has ``--ratio`` times fewer images than the first; 1 makes them even.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    raise SystemExit("the digits are scikit-learn's: pip install 'dominance[examples]'") from None

CLASSES, MOST = 10, 120
"""Classes, and training images of the first; the others are for the test."""


def images(ratio: float, generator: torch.Generator) -> tuple[TensorDataset, Tensor, Tensor]:
    """For training, of the class k a part ratio^(-k / 9) of the first's; and even ones for the test."""
    data = load_digits()
    x, y = torch.tensor(data.images, dtype=torch.float32).flatten(1) / 16, torch.tensor(data.target)
    kept, tested = [], []
    for k in range(CLASSES):
        at = (y == k).nonzero()[:, 0]
        at = at[torch.randperm(len(at), generator=generator)]
        kept.append(at[: max(round(MOST * ratio ** (-k / (CLASSES - 1))), 1)])
        tested.append(at[MOST:])
    train, test = torch.cat(kept), torch.cat(tested)
    return TensorDataset(x[train], y[train]), x[test], y[test]


def train(*, ratio: float = 50.0, epochs: int = 40, seed: int = 0) -> Tensor:
    """Train, and return each class's accuracy on images that were held back."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data, x, y = images(ratio, generator)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for image, digit in DataLoader(data, batch_size=32, shuffle=True, generator=generator, drop_last=True):
            loss = F.cross_entropy(model(image), digit)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float()
    return torch.stack([right[y == k].mean() for k in range(CLASSES)])


def main() -> None:
    """Train it, and say how well each class is told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio", type=float, default=50.0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for digit, accuracy in enumerate(train(**vars(args)).tolist()):
        print(f"{digit}: accuracy {accuracy:.2f}")


if __name__ == "__main__":
    main()
