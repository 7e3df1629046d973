"""Two digits in one picture, after MultiMNIST: which one is left, which one is right, and the picture itself."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks.benchmark import Batch, Task
from dominance.benchmarks.data.splits import derived_generator, split_rows
from dominance.benchmarks.metrics.per_sample import ACCURACY, SQUARED_ERROR, accuracy, squared_error
from dominance.benchmarks.problems.bases.in_memory import InMemory
from dominance.benchmarks.setting_checks import at_least

LEFT, RIGHT, RECONSTRUCTION = "left", "right", "reconstruction"
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Of the digits; no digit is seen in two splits. Pairs are made in the same proportion."""


def overlay(digits: Tensor, labels: Tensor, pairs: int, canvas: int, shift: int, generator: torch.Generator) -> Batch:
    """Random pairs, one digit at the top left and one at the bottom right; the brighter pixel wins.

    Args:
        digits: (digits, side, side) in [0, 1].
        labels: (digits,), 0 to 9.
        canvas: pixels a side of the pictures.
        shift: each digit is moved towards the middle by 0 to this many pixels in both directions.

    Returns:
        pictures (pairs, 1, canvas, canvas); targets: the two labels, (pairs,) each, and the pictures themselves.
    """
    side = digits.shape[-1]
    left, right = torch.randint(len(digits), (2, pairs), generator=generator)
    moves = torch.randint(shift + 1, (4, pairs), generator=generator)
    pictures = torch.zeros(pairs, canvas, canvas)
    for down in range(shift + 1):
        for across in range(shift + 1):
            here = (moves[0] == down) & (moves[1] == across)
            pictures[here, down : down + side, across : across + side] = digits[left[here]]
    far = canvas - side
    for up in range(shift + 1):
        for back in range(shift + 1):
            here = (moves[2] == up) & (moves[3] == back)
            rows, columns = slice(far - up, far - up + side), slice(far - back, far - back + side)
            pictures[here, rows, columns] = torch.maximum(pictures[here, rows, columns], digits[right[here]])
    pictures = pictures.unsqueeze(1)
    return Batch(pictures, {LEFT: labels[left], RIGHT: labels[right], RECONSTRUCTION: pictures})


class DigitPairs(InMemory):
    """Left and right digit by cross-entropy; the reconstruction by its squared error, summed over the picture.

    That sum is what gives the reconstruction most of the gradient.
    """

    architectures = ("hps", "mmoe", "cgc", "ple", "cross-stitch")
    canvas: int
    shift: int

    def __init__(self, *, pairs: int, features: int) -> None:
        self.pairs, self._features = at_least(10, pairs=pairs), at_least(1, features=features)

    @abc.abstractmethod
    def digits(self) -> tuple[Tensor, Tensor]:
        """All digits, (digits, side, side) in [0, 1], and their labels, (digits,).

        Raises:
            MissingData, BadData: as ``load``.
        """

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (
            Task(LEFT, 10, (ACCURACY,)),
            Task(RIGHT, 10, (ACCURACY,)),
            Task(RECONSTRUCTION, self.canvas**2, (SQUARED_ERROR,)),
        )

    def load(self, seed: int) -> None:
        digits, labels = self.digits()
        generator = derived_generator(seed, self.name)
        self.splits = {}
        for split, rows in split_rows(len(digits), SHARES, generator).items():
            pairs = max(1, round(self.pairs * SHARES[split] / SHARES["train"]))
            self.splits[split] = overlay(digits[rows], labels[rows], pairs, self.canvas, self.shift, generator)

    @property
    def features(self) -> int:
        return self._features

    def head(self, task: str) -> nn.Module:
        if task != RECONSTRUCTION:
            return nn.Linear(self.features, 10)
        return nn.Sequential(
            nn.Linear(self.features, 2 * self.features),
            nn.ReLU(),
            nn.Linear(2 * self.features, self.canvas**2),
            nn.Unflatten(1, (1, self.canvas, self.canvas)),
        )

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, or the summed squared error; the mean over the pictures."""
        if task == RECONSTRUCTION:
            return (output - target).square().sum() / len(target)
        return F.cross_entropy(output, target)

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        if task == RECONSTRUCTION:
            return {SQUARED_ERROR.name: squared_error(output, target)}
        return {ACCURACY.name: accuracy(output, target)}
