"""Molecules from their SMILES strings (Weininger 1988): atoms, the hydrogens that belong to each, and bonds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dominance.errors import BadData

BONDS = ("single", "double", "triple", "aromatic")
"""Kinds of bonds; in arrays by number from 1, 0 being none."""
ELEMENTS = ("C", "N", "O", "F")
"""With a column of their own; all others share one."""
FEATURES = len(ELEMENTS) + 4
"""Columns of an atom: its element, another one, hydrogens, charge, whether it is aromatic."""

_ATOM = re.compile(r"Cl|Br|[BCNOPSFI]|[bcnops]")
_BRACKET = re.compile(r"\[\d*(?P<element>[A-Za-z][a-z]?)@{0,2}(?P<h>H\d*)?(?P<charge>[+-]+\d*)?(:\d+)?\]")
_RING = re.compile(r"%(\d\d)|(\d)")
_ORDER = {"-": 1, "=": 2, "#": 3, ":": 4, "/": 1, "\\": 1}
_VALENCES = {"B": (3,), "C": (4,), "N": (3, 5), "O": (2,), "P": (3, 5), "S": (2, 4, 6)}
_AROMATIC = {"b", "c", "n", "o", "p", "s", "se", "as"}
_Atom: TypeAlias = tuple[str, bool, int, int | None]
"""Element, aromatic, charge, hydrogens; None: as many as fit."""
_FIX = "mend the file, or take trunk=bag"


@dataclass
class Molecule:
    """A graph of atoms.

    Attributes:
        elements, hydrogens, charges, aromatic: of each atom; hydrogens bound to it are counted and are no atoms.
        bonds: (atom, atom, kind), kind as in ``BONDS`` from 1.
    """

    elements: list[str]
    hydrogens: list[int]
    charges: list[int]
    aromatic: list[bool]
    bonds: list[tuple[int, int, int]]


def parse(text: str) -> Molecule:
    """The molecule that a SMILES string says; what it says of isotopes and stereochemistry is left out.

    Raises:
        BadData: it is no SMILES string.

    >>> parse("C#N").hydrogens, parse("c1ccccc1").hydrogens, parse("[H]O[H]").hydrogens
    ([1, 0], [1, 1, 1, 1, 1, 1], [2])
    """
    return _with_hydrogens(*_atoms_and_bonds(text))


def _atoms_and_bonds(text: str) -> tuple[list[_Atom], list[tuple[int, int, int]]]:
    atoms: list[_Atom] = []
    bonds: list[tuple[int, int, int]] = []
    branches: list[int | None] = []
    rings: dict[str, tuple[int, int]] = {}
    last: int | None = None
    kind, place = 0, 0
    while place < len(text):
        sign, bracket, plain = text[place], _BRACKET.match(text, place), _ATOM.match(text, place)
        if found := bracket or plain:
            atoms.append(_atom(found))
            if last is not None:
                bonds.append((last, len(atoms) - 1, kind or _usual(atoms, last, -1)))
            last, kind, place = len(atoms) - 1, 0, found.end()
            continue
        if sign in _ORDER:
            kind = _ORDER[sign]
        elif sign == "(" and last is not None:
            branches.append(last)
        elif sign == ")" and branches:
            last = branches.pop()
        elif sign == ".":
            last = None
        elif (ring := _RING.match(text, place)) and last is not None:
            place = ring.end() - 1
            name = ring.group(1) or ring.group(2)
            if name in rings:
                first, before = rings.pop(name)
                bonds.append((first, last, kind or before or _usual(atoms, first, last)))
            else:
                rings[name] = (last, kind)
            kind = 0
        else:
            raise BadData(f"SMILES {text!r}: {sign!r} at {place + 1} is not understood", fix=_FIX)
        place += 1
    if rings or branches or not atoms:
        what = f"ring {next(iter(rings))} is not closed" if rings else "a branch is not closed" if branches else "empty"
        raise BadData(f"SMILES {text!r}: {what}", fix=_FIX)
    return atoms, bonds


def _atom(found: re.Match[str]) -> _Atom:
    """Without brackets there is no charge, and hydrogens are left out."""
    if found.re is _ATOM:
        return found.group().capitalize(), found.group().islower(), 0, None
    element, charge, h = found["element"], found["charge"] or "", found["h"]
    digits = charge.strip("+-")
    size = int(digits) if digits else len(charge)
    count = 0 if h is None else int(h[1:] or 1)
    return element.capitalize(), element in _AROMATIC, -size if charge.startswith("-") else size, count


def _usual(atoms: list[_Atom], one: int, other: int) -> int:
    """The kind of a bond that is not written: aromatic between two aromatic atoms, else single."""
    return 4 if atoms[one][1] and atoms[other][1] else 1


def _with_hydrogens(atoms: list[_Atom], bonds: list[tuple[int, int, int]]) -> Molecule:
    """Hydrogens that are atoms of their own become a count of their neighbours', and those left out are filled in."""
    used = [0] * len(atoms)
    for one, other, kind in bonds:
        for atom in (one, other):
            used[atom] += 1 if kind == 4 else kind
    counts = [
        _missing(element, aromatic, used[i]) if h is None else h for i, (element, aromatic, _, h) in enumerate(atoms)
    ]
    heavy = [i for i, (element, *_) in enumerate(atoms) if element != "H"] or [0]
    for one, other, _ in bonds:
        for atom, hydrogen in ((one, other), (other, one)):
            if hydrogen not in heavy and atom in heavy:
                counts[atom] += 1
    number = {atom: i for i, atom in enumerate(heavy)}
    return Molecule(
        [atoms[i][0] for i in heavy], [counts[i] for i in heavy], [atoms[i][2] for i in heavy],
        [atoms[i][1] for i in heavy],
        [(number[one], number[other], kind) for one, other, kind in bonds if one in number and other in number],
    )  # fmt: skip


def _missing(element: str, aromatic: bool, used: int) -> int:
    """Hydrogens that fill an atom up to the next of its usual valences; of an aromatic one, one place is the ring's."""
    used += aromatic
    return next((valence - used for valence in _VALENCES.get(element, (1,)) if valence >= used), 0)


def graphs(smiles: list[str]) -> tuple[npt.NDArray[np.float32], int]:
    """All molecules as rows of numbers, and how many places for atoms each has.

    Returns:
        (molecules, places x FEATURES + places x places): the features of each place, zeros where there is no atom; then
        the kind of the bond between each two, 0: none.

    Raises:
        BadData: one is no SMILES string.

    >>> rows, places = graphs(["C=O", "N"])
    >>> rows[1].astype(int).tolist(), places  # N with three hydrogens; an empty place; no bonds
    ([0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2)
    """
    found = [parse(text) for text in smiles]
    places = max(len(each.elements) for each in found)
    atoms = np.zeros((len(found), places, FEATURES), dtype=np.float32)
    kinds = np.zeros((len(found), places, places), dtype=np.float32)
    for row, each in enumerate(found):
        for i, element in enumerate(each.elements):
            atoms[row, i, ELEMENTS.index(element) if element in ELEMENTS else len(ELEMENTS)] = 1
            atoms[row, i, -3:] = each.hydrogens[i], each.charges[i], each.aromatic[i]
        for one, other, kind in each.bonds:
            kinds[row, one, other] = kinds[row, other, one] = kind
    return np.concatenate([atoms.reshape(len(found), -1), kinds.reshape(len(found), -1)], axis=1), places
