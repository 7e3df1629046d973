"""Categories as codes and embeddings, numbers on one scale: what tables need before a network can read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn


def codes(values: pd.Series[Any], train: npt.NDArray[np.bool_], least: int = 1) -> tuple[npt.NDArray[np.int64], int]:
    """Each value as a number, and how many there are: 0 for what the training rows do not have, then by first sight.

    Args:
        values: (rows,), of any kind.
        train: (rows,), which rows are trained on.
        least: values that the training rows have fewer times count as not there.

    >>> codes(pd.Series(["b", "a", "c", "b"]), np.array([True, True, False, True]))
    (array([1, 2, 0, 1]), 3)
    """
    counts = values[train].value_counts(sort=False)
    known = counts.index[counts.to_numpy() >= least]
    return known.get_indexer(pd.Index(values)).astype(np.int64) + 1, len(known) + 1


def standardised(values: npt.NDArray[np.float64], train: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Columns (rows, columns) with mean 0 and deviation 1 over the training rows; a constant column becomes 0."""
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    scaled: npt.NDArray[np.float32] = ((values - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
    return scaled


def coded(
    table: pd.DataFrame, columns: Sequence[str], train: npt.NDArray[np.bool_], least: int = 1
) -> tuple[Tensor, list[int]]:
    """``codes`` of several columns: (rows, columns) int64, and how many there are of each."""
    found = [codes(table[column], train, least) for column in columns]
    return torch.from_numpy(np.stack([code for code, _ in found], axis=1)), [size for _, size in found]


class Embed(nn.Module):
    """Embeddings of the categories and the numbers, side by side.

    Args:
        sizes: how many codes each category has.
        width: length of an embedding.
        numbers: how many numbers a sample has; with 0 of them the inputs are the codes alone.
    """

    def __init__(self, sizes: Sequence[int], width: int, numbers: int = 0) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(size, width) for size in sizes])
        self.features = len(sizes) * width + numbers
        self.numbers = numbers

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """
        Args:
            inputs: codes (batch, categories), whole; or with numbers (codes, numbers): (batch, numbers) float32.
        """
        categories, parts = (inputs[0], [inputs[1]]) if isinstance(inputs, tuple) else (inputs, [])
        return torch.cat([table(categories[:, i]) for i, table in enumerate(self.tables)] + parts, dim=1)


def mlp(features: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with a ReLU after each."""
    layers = (
        layer for before, width in pairwise((features, *widths)) for layer in (nn.Linear(before, width), nn.ReLU())
    )
    return nn.Sequential(*layers)


def embedding_mlp(embed: Embed, widths: Sequence[int]) -> nn.Sequential:
    """A trunk in stages: embeddings with the first layer, then the other layers, each with a ReLU."""
    first, *others = mlp(embed.features, widths)
    return nn.Sequential(nn.Sequential(embed, first), *others)
