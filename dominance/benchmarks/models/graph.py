"""Graph convolutions over small molecules, all of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GraphConvolution(nn.Module):
    """h_i ← relu(W₀ h_i + b + Σ_r Σ_{j in N_r(i)} W_r h_j / |N_r(i)|), N_r(i) the neighbours of i by bonds of kind r.

    R-GCN (Schlichtkrull et al. 2018, Eq. 2), with weights for each kind of bond.

    Args:
        width: of h.
        kinds: how many kinds of bonds.
    """

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        self.itself = nn.Linear(width, width)
        self.neighbours = nn.Linear(kinds * width, width, bias=False)

    def forward(self, h: Tensor, means: Tensor) -> Tensor:
        """From h, (batch, places, width), and ``bond_means``, to h."""
        return torch.relu(self.itself(h) + self.neighbours(torch.einsum("brij,bjw->birw", means, h).flatten(2)))


def bond_means(bonds: Tensor, kinds: int) -> Tensor:
    """(batch, kinds, places, places): 1 / |N_r(i)| where j is a neighbour of i by a bond of kind r, else 0.

    Args:
        bonds: (batch, places, places), the kind from 1; 0: none.
    """
    number = torch.arange(1, kinds + 1, device=bonds.device).view(1, kinds, 1, 1)
    there = (bonds.unsqueeze(1) == number).to(bonds.dtype)
    return there / there.sum(-1, keepdim=True).clamp(min=1)


class GraphTrunk(nn.Module):
    """Three graph convolutions, and the sum over the atoms: the same for any order of them.

    Args:
        places: for atoms in a row.
        features: of an atom.
        width: of what is known of an atom, and of the sum.
        kinds: of bonds.
    """

    def __init__(self, places: int, features: int, width: int, kinds: int) -> None:
        super().__init__()
        self.places, self.features, self.kinds = places, features, kinds
        self.atoms = nn.Linear(features, width)
        self.convolutions = nn.ModuleList(GraphConvolution(width, kinds) for _ in range(3))

    def forward(self, rows: Tensor) -> Tensor:
        """From rows as ``data.smiles.graphs`` makes them, (batch, ...), to (batch, width)."""
        cut = self.places * self.features
        atoms = rows[:, :cut].view(-1, self.places, self.features)
        means = bond_means(rows[:, cut:].view(-1, self.places, self.places), self.kinds)
        h = torch.relu(self.atoms(atoms))
        for convolution in self.convolutions:
            h = convolution(h, means)
        there = (atoms != 0).any(-1, keepdim=True)
        return (h * there).sum(1)
