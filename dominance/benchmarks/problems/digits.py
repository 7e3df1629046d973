"""Two of scikit-learn's 8x8 digits in one 12x12 picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dominance.benchmarks.benchmark import Settings
from dominance.benchmarks.problems.bases.digit_pairs import DigitPairs
from dominance.errors import MissingData


class Digits(DigitPairs):
    """Left digit, right digit and the picture, from 1,797 scanned digits that come with scikit-learn.

    The recipe of ``dominance.examples.digits``, here with a validation set.

    Args:
        pairs: pictures to train on; the other splits have their share.
        features: size of the shared representation.
    """

    name = "digits"
    title = "two overlaid 8x8 digits: which is left, which is right, and the picture itself"
    licence = "CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits); scikit-learn: BSD-3-Clause"
    source = "scikit-learn's load_digits, overlaid after MultiMNIST (Sener and Koltun, NeurIPS 2018)"
    settings = Settings(
        epochs=10,
        batch_size=128,
        lr=1e-3,
        published={"none": "a small stand-in for MultiMNIST that needs no download; in none of the three papers"},
    )
    canvas, shift = 12, 1

    def __init__(self, *, pairs: int = 6000, features: int = 64) -> None:
        super().__init__(pairs=pairs, features=features)

    def digits(self) -> tuple[Tensor, Tensor]:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError:
            raise MissingData(
                "scikit-learn is not installed, and the digits come with it", fix="pip install scikit-learn"
            ) from None
        data = load_digits()
        return torch.tensor(data.images, dtype=torch.float32) / 16, torch.tensor(data.target)

    def encoder(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (self.canvas // 2) ** 2, 128),
            nn.ReLU(),
            nn.Linear(128, self.features),
            nn.ReLU(),
        )
