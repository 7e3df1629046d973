"""Networks over tables: embeddings of the categories with the numbers beside them, and layers on top."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


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
