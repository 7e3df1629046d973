"""AU of every coordinate, kept while recording, against what follows from the rows, which have a sample of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim import SGD, Adam

from dominance import Recorder, au, observe, open_run
from dominance.errors import NothingRecorded
from dominance.record.parameters import Named
from dominance.record.split.products import TILE
from dominance.record.write.averages import Averages
from dominance.schema import AVERAGE_DECAY

torch.set_num_threads(1)
STEPS = 30
ROUNDING = 2e-7


class Training:
    """Two heads on a trunk of small layers, which are split together, and one that is split in tiles."""

    def __init__(self, optimizer: str = "adam") -> None:
        torch.manual_seed(0)
        wide = TILE // 64 + 1
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, wide), nn.ReLU(), nn.Linear(wide, 64))
        self.model = nn.ModuleDict({"trunk": self.trunk, "a": nn.Linear(64, 1), "b": nn.Linear(64, 1)})
        kinds = {"adam": lambda p: Adam(p, lr=1e-3), "sgd": lambda p: SGD(p, lr=1e-3, momentum=0.9)}
        self.optimizer = kinds[optimizer](self.model.parameters())
        self.draw = torch.Generator().manual_seed(1)

    def losses(self, step: int) -> dict[str, Tensor]:
        """Task b has no part in each third step."""
        x = torch.randn(16, 4, generator=self.draw)
        h = self.trunk(x)
        losses = {"a": (self.model["a"](h)[:, 0] - x.sum(1)).square().mean()}
        if step % 3 != 2:
            losses["b"] = 0.1 * (self.model["b"](h)[:, 0] - x[:, 0]).square().mean()
        return losses

    def run(self, steps: range) -> None:
        for step in steps:
            losses = self.losses(step)
            self.optimizer.zero_grad()
            observe(losses)
            torch.stack(list(losses.values())).sum().backward()
            self.optimizer.step()


def record(path: Path, optimizer: str = "adam", **options: Any) -> xr.DataTree:
    training = Training(optimizer)
    with Recorder(path, training.model, training.optimizer, averages=True, quiet=True, **options):
        training.run(range(STEPS))
    return open_run(path)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("options", [{}, {"every": 3}, {"every": 3, "burst": 1}], ids=str)
def test_it_is_that_of_the_rows(options: dict[str, Any], optimizer: str, tmp_path: Path) -> None:
    run = record(tmp_path / "run", optimizer, exact=True, budget="200MB", **options)
    truth, found = au(run), au(run, exact=True)
    assert set(truth["parameter"].values) == set(found["parameter"].values)
    np.testing.assert_allclose(at(found, truth), truth["au"], rtol=ROUNDING)
    assert found.attrs["steps_used"] == truth.attrs["steps_used"]
    assert found["step"] == truth["step"]


def test_every_coordinate_has_its_name_and_place(tmp_path: Path) -> None:
    found = au(record(tmp_path / "run"), exact=True)
    trunk = {name: p for name, p in Training().model.named_parameters() if name.startswith("trunk")}
    assert found["parameter"].values.tolist() == [name for name, p in trunk.items() for _ in range(p.numel())]
    assert found["index"].values.tolist() == [i for p in trunk.values() for i in range(p.numel())]
    assert set(found["coord_layer"].values.tolist()) == {name.rpartition(".")[0] for name in trunk}
    assert (found["coord_weight"] == 1).all()


def test_a_step_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    training = Training("sgd")
    bad = 20

    def spoil(gradient: Tensor) -> Tensor:
        return gradient * float("inf")

    with Recorder(tmp_path / "run", training.model, training.optimizer, averages=True, quiet=True):
        training.run(range(bad))
        saved = {name: value.clone() for name, value in training.model.state_dict().items()}
        handle = training.trunk[0].weight.register_hook(spoil)
        training.run(range(bad, bad + 1))
        handle.remove()
        training.model.load_state_dict(saved)
        training.optimizer.state.clear()
        training.run(range(bad + 1, STEPS))
    run = open_run(tmp_path / "run")
    found, sampled = au(run, exact=True), au(run)
    assert sampled.attrs["left_out_non_finite"] >= 1
    assert found.attrs["steps_used"] == sampled.attrs["steps_used"]
    assert np.isfinite(found["au"]).all()
    same = at(found, sampled)
    np.testing.assert_allclose(same, sampled["au"], rtol=2e-3)  # the sample has 10 bits of each update


def at(found: xr.Dataset, sampled: xr.Dataset) -> np.ndarray:
    """Of every coordinate those that the sample has."""
    place = {pair: i for i, pair in enumerate(zip(found["parameter"].values, found["index"].values, strict=True))}
    pairs = zip(sampled["parameter"].values, sampled["index"].values, strict=True)
    return np.asarray(found["au"].values[:, [place[pair] for pair in pairs]])


def test_a_task_that_comes_later_has_moved_nothing_before(tmp_path: Path) -> None:
    training = Training()
    with Recorder(tmp_path / "run", training.model, training.optimizer, averages=True, quiet=True, exact=True):
        training.run(range(6))
        for step in range(6, 20):
            x = torch.randn(16, 4, generator=training.draw)
            losses = {**training.losses(step), "late": training.trunk(x).square().mean()}
            training.optimizer.zero_grad()
            observe(losses)
            sum(losses.values(), torch.zeros(())).backward()
            training.optimizer.step()
    run = open_run(tmp_path / "run")
    found, sampled = au(run, exact=True), au(run)
    assert list(found["task"].values) == ["a", "b", "late"]
    np.testing.assert_allclose(at(found, sampled), sampled["au"], rtol=ROUNDING)


@pytest.mark.parametrize("kept", [30, 25])
def test_a_resumed_run_goes_on_with_them(kept: int, tmp_path: Path) -> None:
    """Where it goes on from an earlier step than the last, what is known is of another way: it begins anew."""
    training = Training()
    with Recorder(tmp_path / "run", training.model, training.optimizer, averages=True, quiet=True, exact=True):
        training.run(range(30))
    with Recorder(
        tmp_path / "run",
        training.model,
        training.optimizer,
        averages=True,
        quiet=True,
        exact=True,
        resume=True,
        first_step=kept,
    ):
        training.run(range(kept, kept + 20))
    run = open_run(tmp_path / "run")
    found, sampled = au(run, exact=True), au(run)
    same = found.attrs["steps_used"] == sampled.attrs["steps_used"]
    assert same == (kept == 30)
    if same:
        np.testing.assert_allclose(at(found, sampled), sampled["au"], rtol=2 * ROUNDING)


def test_they_leave_the_budget_as_it_is(tmp_path: Path) -> None:
    run = record(tmp_path / "run", budget="6MB")
    size = sum(file.stat().st_size for file in (tmp_path / "run").rglob("*") if file.is_file())
    assert size <= 6_000_000
    assert au(run, exact=True).sizes["coord"] > TILE


def test_where_they_take_too_much_of_the_budget_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = Training()
    with Recorder(tmp_path / "run", training.model, training.optimizer, averages=True, budget="1MB"):
        training.run(range(4))
    assert "AU is known of the kept coordinates only: it may take" in capsys.readouterr().err
    with pytest.raises(NothingRecorded, match="record with --averages"):
        au(open_run(tmp_path / "run"), exact=True)


def test_the_training_is_the_same(tmp_path: Path) -> None:
    plain, recorded = Training(), Training()
    plain.run(range(10))
    with Recorder(tmp_path / "run", recorded.model, recorded.optimizer, averages=True, quiet=True):
        recorded.run(range(10))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, recorded.model.state_dict()[name])


def test_a_task_that_is_made_room_for_has_moved_nothing() -> None:
    """By hand: S of the first task is γ 2², that of the second 3²."""
    p = torch.zeros(2, 3)
    kept = Averages([Named(p, "w", "w"), Named(torch.zeros(2), "v", "v")], 1)
    kept.begin()
    kept.take(p, 0, torch.full((2, 3), 2.0))
    kept.end(0, used=True)
    kept.widen(2)
    kept.begin()
    kept.take(p, 1, torch.tensor([3.0]), slice(5, 6))
    kept.take(p, 1, torch.full((1, 3), 1.0), rows=torch.tensor([0]))
    kept.end(1, used=True)
    found = kept.dataset(["a", "b"], ["w"])
    assert found is not None
    assert (found.attrs["parameters"], found.attrs["sizes"]) == (["w"], [6])
    sums = found["au"].to_numpy() / (1 - AVERAGE_DECAY)
    np.testing.assert_allclose(sums[0], 4 * AVERAGE_DECAY, rtol=1e-6)
    np.testing.assert_allclose(sums[1], [1, 1, 1, 0, 0, 9], rtol=1e-6)
