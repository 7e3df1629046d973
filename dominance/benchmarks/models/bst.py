"""Behaviour Sequence Transformer: a film is judged in the light of what its user rated before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

NOTHING = -1
"""In a history: there is no more."""


class Histories:
    """What each user has rated in training before a moment, the latest last.

    Args:
        users, times, items: (ratings,) of all ratings; items as codes from 0.
        train: (ratings,), which of them may be in a history.
        length: how many of the latest.

    >>> found = Histories(np.array([5, 5, 5]), np.array([10, 30, 20]), np.array([1, 3, 2]), np.full(3, True), 2)
    >>> found.before(torch.tensor([0, 1, 2]))
    tensor([[-1, -1],
            [ 1,  2],
            [-1,  1]])
    """

    def __init__(
        self,
        users: npt.NDArray[np.int64],
        times: npt.NDArray[np.int64],
        items: npt.NDArray[np.int64],
        train: npt.NDArray[np.bool_],
        length: int,
    ) -> None:
        moments, moment = np.unique(times, return_inverse=True)
        first = np.unique(users, return_inverse=True)[1] * (len(moments) + 1)
        key = first + moment  # ascending in user, then time
        order = np.flatnonzero(train)[np.argsort(key[train], kind="stable")]
        self._items = torch.from_numpy(items[order])
        self._begin = torch.from_numpy(np.searchsorted(key[order], first))
        self._end = torch.from_numpy(np.searchsorted(key[order], key))
        self._back = torch.arange(-length, 0)

    def before(self, ratings: Tensor) -> Tensor:
        """(ratings, length) codes of items rated strictly before each of these ratings, ``NOTHING`` in front."""
        place = self._end[ratings].unsqueeze(1) + self._back
        there = place >= self._begin[ratings].unsqueeze(1)
        if not len(self._items):
            return torch.full(place.shape, NOTHING)
        return torch.where(there, self._items[place.clamp(min=0)], NOTHING)


class Transformer(nn.Module):
    """A transformer layer over the history and the film, then all places and the user side by side (Chen et al. 2019).

    S' = norm(S + attention(S)), F = norm(S' + W₂ leaky(W₁ S')). The places are learnt and added to the films, where the
    paper has the time that has passed; there is no dropout.

    Args:
        users, items: how many codes there are.
        width: length of an embedding.
        history: films before the one that is judged.
        heads: of the attention; they divide the width.
    """

    def __init__(self, users: int, items: int, width: int, history: int, heads: int) -> None:
        super().__init__()
        self.user = nn.Embedding(users, width)
        self.item = nn.Embedding(items + 1, width, padding_idx=0)
        self.place = nn.Parameter(torch.randn(history + 1, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.forth = nn.Sequential(nn.Linear(width, 2 * width), nn.LeakyReLU(), nn.Linear(2 * width, width))
        self.features = (history + 2) * width

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """
        Args:
            inputs: codes of user and film (batch, 2), and of the films before, (batch, history), see ``Histories``.

        Returns:
            (batch, features).
        """
        codes, before = inputs
        films = torch.cat([before, codes[:, 1:]], dim=1)
        nothing = films == NOTHING
        found = self.item(films + 1) + self.place
        attended, _ = self.attention(found, found, found, key_padding_mask=nothing, need_weights=False)
        found = self.norms[0](found + attended)
        found = self.norms[1](found + self.forth(found)).masked_fill(nothing.unsqueeze(2), 0.0)
        return torch.cat([found.flatten(1), self.user(codes[:, 0])], dim=1)


def bst(users: int, items: int, *, embedding: int, history: int, heads: int, width: int) -> nn.Sequential:
    """A trunk in two stages: the transformer with the first layer, and a second one."""
    transformer = Transformer(users, items, embedding, history, heads)
    return nn.Sequential(
        nn.Sequential(transformer, nn.Linear(transformer.features, width)),
        nn.LeakyReLU(),
        nn.Linear(width, width),
        nn.LeakyReLU(),
    )
