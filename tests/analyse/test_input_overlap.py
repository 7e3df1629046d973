"""How much of tables two tasks learn both, against sets of rows, and on a small training with an embedding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import as_tree, make_rows
from torch import nn

from dominance import Recorder, input_overlap, open_run

torch.set_num_threads(1)


def test_against_sets_of_coordinates() -> None:
    """A gradient in any step counts; the layer with the least decides."""
    rng = np.random.default_rng(0)
    steps, tasks, sizes = 5, ("a", "b", "c"), {"table": 30, "trunk": 10}
    gradients = rng.normal(size=(steps, len(tasks), sum(sizes.values())))
    gradients[..., :30] *= rng.random((steps, len(tasks), 30)) < 0.1
    run = as_tree(*make_rows(-1e-3 * gradients, gradients, tasks=tasks, layers=sizes))
    found = input_overlap(run)
    met = {task: set(np.flatnonzero((gradients[:, i, :30] != 0).any(axis=0))) for i, task in enumerate(tasks)}
    for one in tasks:
        for other in tasks:
            expected = len(met[one] & met[other]) / len(met[one] | met[other])
            pair = {"task": one, "task_other": other}
            assert float(found.overlap.sel(layer="table", **pair)) == pytest.approx(expected)
            assert float(found.overlap.sel(layer="trunk", **pair)) == 1
            assert float(found.least.sel(pair)) == pytest.approx(expected)
            assert bool(found.informative.sel(pair)) == (expected >= 0.3)


class Films(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.films = nn.Embedding(40, 4)
        self.trunk = nn.Linear(4, 4)
        self.heads = nn.ModuleDict({"crime": nn.Linear(4, 1), "horror": nn.Linear(4, 1)})

    def forward(self, task: str, film: torch.Tensor) -> torch.Tensor:
        head: torch.Tensor = self.heads[task](torch.relu(self.trunk(self.films(film)))).squeeze(-1)
        return head


def test_films_of_two_genres(tmp_path: Path) -> None:
    """Crime has films 0 to 19, horror 16 to 39: 4 of 40 in common."""
    torch.manual_seed(0)
    model = Films()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    with Recorder(tmp_path / "run", model, optimizer, every=1, quiet=True):
        for _ in range(40):
            crime, horror = (torch.randint(low, high, (16,), generator=generator) for low, high in ((0, 20), (16, 40)))
            crime_loss = (model("crime", crime) - crime / 20).square().mean()
            horror_loss = (model("horror", horror) + horror / 20).square().mean()
            optimizer.zero_grad()
            (crime_loss + horror_loss).backward()
            optimizer.step()
    found = input_overlap(open_run(tmp_path / "run"))
    one, other = found["task"].values
    pair = {"task": one, "task_other": other}
    assert float(found.overlap.sel(layer="films", **pair)) == pytest.approx(4 / 40, abs=0.02)
    assert float(found.overlap.sel(layer="trunk", **pair)) == 1
    assert not bool(found.informative.sel(pair))
    assert found.informative.values.diagonal().all()
