"""QM9: properties of small molecules, from their SMILES strings: a bag of tokens, or the graph that they tell."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.data.encoding import standardised
from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.smiles import BONDS, FEATURES, graphs
from dominance.benchmarks.data.splits import derived_generator, split_rows
from dominance.benchmarks.data.tables import numbers, read_table
from dominance.benchmarks.metrics.per_sample import MAE
from dominance.benchmarks.models.graph import GraphTrunk
from dominance.benchmarks.problems.bases.scalar_tasks import ScalarTasks
from dominance.benchmarks.setting_checks import at_least, one_of
from dominance.errors import BadData, MissingData

PROPERTIES = {
    "mu": ("Dipole_debye", "mu"),
    "alpha": ("Polarizability_bohr3", "alpha"),
    "homo": ("HOMO_au", "homo"),
    "lumo": ("LUMO_au", "lumo"),
    "gap": ("HOMO_LUMO_gap_au", "gap"),
    "r2": ("R2_bohr2", "r2"),
    "zpve": ("ZPVE_au", "zpve"),
    "u0": ("InternalEnergy_0K_au", "u0"),
    "u298": ("InternalEnergy_298K_au", "u298"),
    "h298": ("Enthalphy_298K_au", "h298"),
    "g298": ("GibbsFreeEnergy_298K_au", "g298"),
    "cv": ("Heatcapacity_Cv_cal_mol_K", "cv"),
}
"""Task -> its column in the files of qm9pack and in MoleculeNet's. Energies in Hartree, mu in Debye, r2 in bohr²."""

TOKEN = re.compile(r"\[[^\]]*\]|Cl|Br|%\d\d|.")
INSTALL = "pip install --no-deps qm9pack==1.0.3"


class QM9(ScalarTasks):
    """Eleven or twelve regressions on 130,831 molecules.

    A molecule is read as a bag: how often each token of its SMILES string occurs (atoms, bonds, rings, branches), how
    often each of the most frequent pairs of neighbouring tokens, and how many tokens there are, all standardised. Or as
    a graph: its atoms but hydrogen, and the bonds between them, over which graph convolutions go. Both are less than
    published networks read: they know no geometry.

    Args:
        trunk: "bag" or "graph".
        gap: with the gap between HOMO and LUMO as twelfth task; it is the difference of two of the eleven.
        scale: "std": each target with mean 0 and deviation 1 over the training molecules, and the MAE in that unit;
            "raw": as in the files, where r2 (in bohr², up to 3,000) has 0.89 of the squared gradient over two epochs.
        own_batches: each task has training molecules of its own, an equal part of all, and a batch of its own.
        pairs: how many pairs of tokens.
        molecules: random molecules to keep; None: all.
        width: units of each of the trunk's three layers; "graph" has one more that is not of the graph.
        data: a csv file of MoleculeNet's layout (smiles, mu, alpha, homo, ...), or a folder with the files
            qm9_part*.csv; None: those that come with qm9pack.
    """

    name = "qm9"
    title = "eleven properties of small molecules, from a bag of SMILES tokens or from graphs"
    licence = "QM9: CC0 (Ramakrishnan et al. 2014); qm9pack: MIT"
    source = "QM9 (Scientific Data 2014); as eleven tasks in Nash-MTL (ICML 2022) and MoCoGrad (ICDE 2024)"
    settings = Settings(
        epochs=10,
        batch_size=256,
        lr=1e-3,
        published={
            "MoCoGrad": "eleven properties, 110,000 / 10,000 / 10,000 molecules, each task its own inputs, graph "
            "convolutional network, Adam with learning rate 0.003, average MAE, ten runs",
        },
    )

    def __init__(
        self,
        *,
        trunk: Literal["bag", "graph"] = "bag",
        gap: bool = False,
        scale: Literal["std", "raw"] = "std",
        own_batches: bool = False,
        pairs: int = 128,
        molecules: int | None = None,
        width: int = 256,
        data: str | None = None,
    ) -> None:
        self.trunk = one_of(("bag", "graph"), trunk=trunk)
        self.names = tuple(name for name in PROPERTIES if gap or name != "gap")
        self.scale, self.multi_input = one_of(("std", "raw"), scale=scale), own_batches
        self.pairs, self.width = at_least(0, pairs=pairs), at_least(1, width=width)
        self.molecules = None if molecules is None else at_least(len(PROPERTIES) * 2, molecules=molecules)
        self.data = data

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(name, 1, (MAE,)) for name in self.names)

    def load(self, seed: int) -> None:
        smiles, values = self._read()
        generator = derived_generator(seed, self.name)
        kept = torch.randperm(len(smiles), generator=generator)[: self.molecules].numpy()
        smiles, values = [smiles[i] for i in kept], values[kept]
        rows = split_rows(len(smiles), {"train": 110, "val": 10, "test": 10}, generator)
        train = np.zeros(len(smiles), dtype=bool)
        train[rows["train"].numpy()] = True
        if self.trunk == "graph":
            rows_of_numbers, self._places = graphs(smiles)
        else:
            rows_of_numbers = standardised(bags(smiles, train, self.pairs), train)
        inputs = torch.from_numpy(rows_of_numbers)
        self.inputs = inputs.shape[1]
        scaled = standardised(values, train) if self.scale == "std" else values.astype(np.float32)
        targets = dict(zip(self.names, torch.from_numpy(scaled).T.contiguous(), strict=True))
        self.splits = {}
        for split, chosen in rows.items():
            own = dict.fromkeys(self.names, chosen)
            if self.multi_input and split == "train":
                own = dict(zip(self.names, torch.tensor_split(chosen, len(self.names)), strict=True))
            self.splits[split] = Batch(
                {name: inputs[mine] for name, mine in own.items()} if self.multi_input else inputs[chosen],
                {name: targets[name][mine] for name, mine in own.items()},
            )

    def _read(self) -> tuple[list[str], npt.NDArray[np.float64]]:
        """All SMILES strings, and the targets, (molecules, tasks)."""
        place = packaged("qm9pack", "data", INSTALL) if self.data is None else Path(self.data)
        packed = place.is_dir()
        files = sorted(place.glob("qm9_part*.csv")) if packed else [place]
        if not files or not all(path.is_file() for path in files):
            raise MissingData(f"{place} has no QM9", fix=f"point data=PATH to its csv file, or {INSTALL}")
        smiles: list[str] = []
        values = []
        for path in files:
            named = {name: PROPERTIES[name][0 if packed else 1] for name in self.names}
            text = "SMILES" if packed else "smiles"
            frame = read_table(path, columns=[text, *named.values()], text=[text])
            empty = (frame[text] == "").to_numpy()
            if empty.any():
                raise BadData(
                    f"{path}: row {frame.index[int(np.argmax(empty))]}: {text} is missing", fix="mend the file"
                )
            smiles += frame[text].tolist()
            values.append(np.stack([numbers(frame, column, path) for column in named.values()], axis=1))
        return smiles, np.concatenate(values)

    def encoder(self) -> nn.Module:
        w = self.width
        if self.trunk == "graph":
            return nn.Sequential(GraphTrunk(self._places, FEATURES, w, len(BONDS)), nn.Linear(w, w), nn.ReLU())
        return nn.Sequential(
            nn.Linear(self.inputs, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU()
        )

    @property
    def input_size(self) -> int:
        return self.inputs


def bags(smiles: list[str], train: npt.NDArray[np.bool_], pairs: int) -> npt.NDArray[np.float64]:
    """Counts, (molecules, features): of tokens, of the most frequent pairs of neighbours, and of all tokens.

    Only tokens and pairs of the training molecules have a column, the most frequent first.

    >>> bags(["CO", "CCO", "N"], np.array([True, True, False]), pairs=1)
    array([[1., 1., 1., 2.],
           [2., 1., 1., 3.],
           [0., 0., 0., 1.]])
    """
    tokens = [TOKEN.findall(text) for text in smiles]
    single: Counter[str] = Counter()
    double: Counter[tuple[str, str]] = Counter()
    for found, used in zip(tokens, train, strict=True):
        if used:
            single.update(found)
            double.update(pairwise(found))
    place: dict[str | tuple[str, str], int] = {token: i for i, (token, _) in enumerate(single.most_common())}
    place |= {pair: len(single) + i for i, (pair, _) in enumerate(double.most_common(pairs))}
    counts = np.zeros((len(smiles), len(place) + 1))
    for row, found in zip(counts, tokens, strict=True):
        for part in (*found, *pairwise(found)):
            if part in place:
                row[place[part]] += 1
        row[-1] = len(found)
    return counts
