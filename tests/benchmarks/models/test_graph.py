"""Graph convolutions, against loops over atoms and their neighbours in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.benchmarks.data.smiles import BONDS, FEATURES, graphs, parse
from dominance.benchmarks.models.graph import GraphTrunk

torch.set_num_threads(1)
SMILES = ["CC(=O)N1CC#C1", "c1ccccc1O", "C", "[NH3+]CC([O-])=O", "CC(C)(C)C"]


def trunk(places: int) -> GraphTrunk:
    torch.manual_seed(0)
    return GraphTrunk(places, FEATURES, 5, len(BONDS)).double()


def by_hand(text: str, net: GraphTrunk, features: Tensor) -> Tensor:
    """Atom by atom, from the molecule itself; nothing is padded."""
    bonds = parse(text).bonds
    h = [torch.relu(net.atoms.weight @ atom + net.atoms.bias) for atom in features]
    for layer in net.convolutions:
        parts = layer.neighbours.weight.split(5, dim=1)  # a matrix for each kind of bond
        following = []
        for i, old in enumerate(h):
            new = layer.itself.weight @ old + layer.itself.bias
            for kind in range(1, len(BONDS) + 1):
                near = [b if a == i else a for a, b, k in bonds if k == kind and i in (a, b)]
                for j in near:
                    new = new + parts[kind - 1] @ h[j] / len(near)
            following.append(torch.relu(new))
        h = following
    return torch.stack(h).sum(0)


def test_each_molecule_is_what_loops_say() -> None:
    rows, places = graphs(SMILES)
    net, batch = trunk(places), torch.from_numpy(rows).double()
    found = net(batch)
    for row, text, mine in zip(batch, SMILES, found, strict=True):
        atoms = row[: places * FEATURES].view(places, FEATURES)[: len(parse(text).elements)]
        torch.testing.assert_close(mine, by_hand(text, net, atoms), rtol=1e-12, atol=1e-12)


def test_neither_the_order_of_atoms_nor_empty_places_matter() -> None:
    rows, places = graphs(["CC(=O)N", "NC(C)=O", "O=C(N)C", "CCCCCCCC"])
    found = trunk(places)(torch.from_numpy(rows).double())
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-12)
    alone, fewer = graphs(["CC(=O)N"])
    torch.testing.assert_close(trunk(fewer)(torch.from_numpy(alone).double())[0], found[0], rtol=1e-12, atol=1e-12)


def test_the_kind_of_a_bond_matters() -> None:
    rows, places = graphs(["CC=O", "CCO"])
    wide = rows.copy()
    wide[1, : places * FEATURES] = rows[0, : places * FEATURES]  # the same atoms, other bonds
    one, other = trunk(places)(torch.from_numpy(wide).double())
    assert not torch.allclose(one, other)
