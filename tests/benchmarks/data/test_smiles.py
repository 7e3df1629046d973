"""SMILES strings, against molecules known by heart and the elements that QM9's own files list."""

from __future__ import annotations

import ast
import csv
from collections import Counter
from importlib.util import find_spec

import pytest

from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.smiles import ELEMENTS, FEATURES, graphs, parse
from dominance.errors import BadData


def formula(text: str) -> Counter[str]:
    found = parse(text)
    return +(Counter(found.elements) + Counter(H=sum(found.hydrogens)))


@pytest.mark.parametrize(
    ("text", "atoms"),
    [
        ("C", {"C": 1, "H": 4}),
        ("[H]C([H])([H])[H]", {"C": 1, "H": 4}),
        ("[2H]O[H]", {"O": 1, "H": 2}),
        ("c1ccccc1", {"C": 6, "H": 6}),
        ("C1=CC=CC=C1", {"C": 6, "H": 6}),
        ("c1ccc2ccccc2c1", {"C": 10, "H": 8}),
        ("c1cc[nH]c1", {"C": 4, "N": 1, "H": 5}),
        ("c1ccoc1", {"C": 4, "O": 1, "H": 4}),
        ("n1ccccc1", {"C": 5, "N": 1, "H": 5}),
        ("CC(=O)O", {"C": 2, "O": 2, "H": 4}),
        ("[NH3+]CC([O-])=O", {"C": 2, "N": 1, "O": 2, "H": 5}),
        ("C%12CCCC%12", {"C": 5, "H": 10}),
        ("N[C@@H](C)C(=O)O", {"C": 3, "N": 1, "O": 2, "H": 7}),
        ("F/C=C/F", {"C": 2, "F": 2, "H": 2}),
        ("CS(=O)(=O)C", {"C": 2, "S": 1, "O": 2, "H": 6}),
        ("ClC(Br)I", {"C": 1, "Cl": 1, "Br": 1, "I": 1, "H": 1}),
        ("[Na+].[OH-]", {"Na": 1, "O": 1, "H": 1}),
        ("C#N", {"C": 1, "N": 1, "H": 1}),
    ],
)
def test_formulas(text: str, atoms: dict[str, int]) -> None:
    assert formula(text) == Counter(atoms)


def test_bonds_branches_and_rings() -> None:
    found = parse("CC(=O)N1CC#C1")
    assert sorted(found.bonds) == [(0, 1, 1), (1, 2, 2), (1, 3, 1), (3, 4, 1), (3, 6, 1), (4, 5, 1), (5, 6, 3)]
    assert parse("C=1CCC1").bonds[-1] == (0, 3, 2)  # the bond stands at the ring's first number
    assert parse("c1ccccc1-c1ccccc1").bonds[6] == (5, 6, 1)  # single, though both ends are aromatic
    assert parse("C.C").bonds == []
    assert parse("[NH4+]").charges == [1]
    assert parse("[Fe+2]").charges == parse("[Fe++]").charges == [2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("C1CC", "ring 1 is not closed"),
        ("C(C", "a branch is not closed"),
        ("", "empty"),
        ("CXC", "'X' at 2"),
        ("C)", "'\\)' at 2"),
    ],
)
def test_what_is_no_smiles_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        parse(text)


def test_rows_hold_features_and_bonds_and_zeros() -> None:
    rows, places = graphs(["C=O", "[NH4+]", "c1ccccc1"])
    assert places == 6
    atoms = rows[:, : places * FEATURES].reshape(3, places, FEATURES)
    bonds = rows[:, places * FEATURES :].reshape(3, places, places)
    c, n, o = (ELEMENTS.index(each) for each in "CNO")
    assert atoms[0, 0].nonzero()[0].tolist() == [c, FEATURES - 3]
    assert atoms[0, 0, -3] == 2
    assert atoms[0, 1].nonzero()[0].tolist() == [o]
    assert atoms[1, 0, n] == 1
    assert atoms[1, 0, -3:].tolist() == [4, 1, 0]
    assert (atoms[2, :, -1] == 1).all()
    assert not atoms[0, 2:].any()
    assert bonds[0, 0, 1] == bonds[0, 1, 0] == 2
    assert (bonds == bonds.transpose(0, 2, 1)).all()
    assert (bonds[2] == 4).sum() == 12


@pytest.mark.skipif(find_spec("qm9pack") is None, reason="qm9pack is not installed")
def test_qm9_has_the_atoms_that_its_files_list() -> None:
    """Every fortieth molecule: elements, hydrogens among them, are listed atom by atom beside the SMILES string."""
    folder = packaged("qm9pack", "data", "")
    looked = 0
    for path in sorted(folder.glob("qm9_part*.csv")):
        with path.open(encoding="utf-8") as file:
            for row in list(csv.DictReader(file))[::40]:
                assert formula(row["SMILES"]) == Counter(ast.literal_eval(row["Elements"])), row["SMILES"]
                looked += 1
    assert looked > 3000
