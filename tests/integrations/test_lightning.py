"""Lightning's callback: the run is the one that a Recorder around a loop by hand writes, and the training is unchanged.

Lightning is installed by ``make trainers``, which runs these.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import dominance
from dominance.errors import RunExists

lightning = pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own

DATA = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(6, 8)
        self.price, self.rating = nn.Linear(8, 1), nn.Linear(8, 1)

    def losses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x).tanh()
        return functional.mse_loss(self.price(hidden), x[:, :1]), 4 * functional.mse_loss(
            self.rating(hidden), x[:, 1:2]
        )


class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net, self.fails_at = Net(), fails_at

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.global_step == self.fails_at:
            raise RuntimeError("no more")
        price_loss, rating_loss = self.net.losses(batch[0])
        self.log("price", price_loss, on_epoch=True, on_step=False)
        return price_loss + rating_loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("price_error", self.net.losses(batch[0])[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def fit(module: Module, *callbacks: Any) -> Module:
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(DATA), batch_size=16), DataLoader(TensorDataset(DATA), batch_size=64))
    return module


def callback(*arguments: Any, **named: Any) -> Any:
    from dominance.integrations.lightning import DominanceCallback

    return DominanceCallback(*arguments, quiet=True, **named)


def test_the_run_is_that_of_a_loop_by_hand(tmp_path: Path) -> None:
    fit(Module(), callback(tmp_path / "run", exact=True))
    module = Module()
    optimizer = module.configure_optimizers()
    with dominance.Recorder(tmp_path / "hand", module, optimizer, exact=True, quiet=True):
        for _ in range(2):
            for x in DATA.split(16):
                price_loss, rating_loss = module.net.losses(x)
                optimizer.zero_grad()
                (price_loss + rating_loss).backward()
                optimizer.step()
    one, other = dominance.open_run(tmp_path / "run"), dominance.open_run(tmp_path / "hand")
    assert one.attrs["status"] == "complete"
    assert one["task"].values.tolist() == ["price_loss", "rating_loss"]
    assert one["epoch"].values.tolist() == [0] * 4 + [1] * 4
    for name in ("gradient/gradient", "update/update", "loss/loss"):
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-5, atol=1e-8)


def test_the_training_is_unchanged(tmp_path: Path) -> None:
    plain, recorded = fit(Module()), fit(Module(), callback(tmp_path / "run"))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, recorded.state_dict()[name]), name


def test_metrics_are_of_the_stage_that_made_them(tmp_path: Path) -> None:
    fit(Module(), callback(tmp_path / "run", metrics={"price_error": ("price_loss", "error")}))
    table = dominance.open_run(tmp_path / "run")["metric"].to_dataset(inherit=False).to_dataframe()
    kept = table[["split", "event_task", "metric"]].values.tolist()
    assert kept == [["val", "price_loss", "error"], ["train", "", "price"]] * 2


def test_a_training_that_fails_leaves_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no more"):
        fit(Module(fails_at=5), callback(tmp_path / "run"))
    run = dominance.open_run(tmp_path / "run")
    assert (run.attrs["status"], run.attrs["ended"]) == ("interrupted", "failed")
    assert run.sizes["step"] == 5


def test_a_run_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    fit(Module(), callback(tmp_path / "run"))
    with pytest.raises(RunExists, match="overwrite=True"):
        callback(tmp_path / "run")
    fit(Module(), callback(tmp_path / "run", overwrite=True))


OF_ITS_OWN = """
import lightning, sys, torch, warnings
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.trunk, self.price, self.rating = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def training_step(self, batch, index):
        z = self.trunk(batch[0]).tanh()
        price_loss = functional.mse_loss(self.price(z), batch[0][:, :1])
        rating_loss = functional.mse_loss(self.rating(z), batch[0][:, 1:2])
        return price_loss + rating_loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


lightning.seed_everything(0)
model, data = Module(), TensorDataset(torch.randn(32, 6))
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
trainer = lightning.Trainer(max_epochs=2, devices=2, accelerator="cpu", strategy="ddp", **quiet)
trainer.fit(model, DataLoader(data, batch_size=8))
torch.save([trainer.global_rank, model.state_dict()], f"{sys.argv[1]}-{trainer.global_rank}.pt")
"""


def test_processes_that_lightning_starts_itself_are_recorded_together(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(OF_ITS_OWN)
    record = ["-m", "dominance", "record", "--every", "1", "-o", "run"]
    for command, name in (([], "plain"), (record, "recorded")):
        subprocess.run([sys.executable, *command, "train.py", name], cwd=tmp_path, capture_output=True, check=True)
    for rank in range(2):
        one, other = (torch.load(tmp_path / f"{name}-{rank}.pt")[1] for name in ("plain", "recorded"))
        assert all(torch.equal(value, other[at]) for at, value in one.items())
    with dominance.open_run(tmp_path / "run") as run:
        assert (run.attrs["ranks"], run.sizes["step"], run.attrs["status"]) == (2, 4, "complete")
        assert run["gradient"]["task"].values.tolist() == ["price_loss", "rating_loss"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["run"]
