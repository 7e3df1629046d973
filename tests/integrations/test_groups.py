"""``record --groups`` of trainers that hold the loop: the ids are those of the batch that they gave the model last.

Lightning and transformers are installed by ``make trainers``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from record.in_session import in_session
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dominance import open_run
from dominance.config import RecordOptions

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainers' own

SIZE, BATCH, EPOCHS, RATE = 24, 8, 2, 0.1
NAMES = ["de", "fr", "ja"]


def data() -> list[dict[str, Any]]:
    made = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(SIZE, 4, generator=made), torch.randint(0, 3, (SIZE,), generator=made)
    langs = torch.randint(0, 3, (SIZE,), generator=made).tolist()
    return [{"x": xs[i], "labels": int(ys[i]), "lang": NAMES[langs[i]]} for i in range(SIZE)]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch with strings in it, as collators of users make it."""
    return {
        "x": torch.stack([row["x"] for row in rows]),
        "labels": torch.tensor([row["labels"] for row in rows]),
        "lang": [row["lang"] for row in rows],
    }


def by_hand() -> dict[str, np.ndarray]:
    """(step, parameter) of each group: batches in order, plain descent."""
    net = network()
    found: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for batch in DataLoader(data(), BATCH, collate_fn=together):  # type: ignore[arg-type]
            for name in NAMES:
                mine = torch.tensor([each == name for each in batch["lang"]])
                losses = F.cross_entropy(net(batch["x"]), batch["labels"], reduction="none")
                taken = torch.autograd.grad((losses * mine).mean(), list(net.parameters()))
                found[name].append(torch.cat([g.flatten() for g in taken]).numpy())
            optimizer.zero_grad()
            F.cross_entropy(net(batch["x"]), batch["labels"]).backward()
            optimizer.step()
    return {name: np.stack(rows) for name, rows in found.items()}


def recorded(path: Path, program: Callable[[], None]) -> xr.DataTree:
    options = RecordOptions(every=1, groups="lang", exact=True, quiet=True, params="*")
    with in_session(path, options):
        program()
    return open_run(path)


def assert_right(run: xr.DataTree) -> None:
    for name, want in by_hand().items():
        np.testing.assert_allclose(run["gradient/gradient"].sel(task=name).values, want, atol=1e-6, rtol=1e-5)
    assert run["closure"].max() < 1e-5
    table = run["metric"].to_dataset(inherit=False).to_dataframe()
    examples = table[table["metric"] == "examples"]
    assert examples["value"].sum() == SIZE * EPOCHS


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return F.cross_entropy(self.net(batch["x"]), batch["labels"])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("loss", F.cross_entropy(self.net(batch["x"]), batch["labels"]), batch_size=len(batch["x"]))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=RATE)

    def program() -> None:
        trainer = lightning.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        loaders: list[Any] = [DataLoader(data(), BATCH, collate_fn=together) for _ in range(2)]  # type: ignore[arg-type]
        trainer.fit(Module(), *loaders)

    assert_right(recorded(tmp_path / "run", program))


@pytest.mark.parametrize("kept_by", ["remove_unused_columns=False", "the dataset", "a table"])
def test_transformers(kept_by: str, tmp_path: Path) -> None:
    """Its Trainer takes columns away that forward() does not name: the dataset that it was given has them still."""
    transformers = pytest.importorskip("transformers")
    table = pytest.importorskip("datasets").Dataset if kept_by == "a table" else None

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    class TakesIds(Net):
        def forward(self, x: Tensor, labels: Tensor, lang: Any = None) -> dict[str, Tensor]:
            return super().forward(x, labels)

    class InOrder(transformers.Trainer):  # type: ignore[misc, name-defined]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(data())

    def made() -> Any:
        rows = data()
        if table is None:
            return rows
        return table.from_list([{**row, "x": row["x"].tolist()} for row in rows])

    def program() -> None:
        keeps = kept_by.startswith("remove")
        arguments = transformers.TrainingArguments(
            str(tmp_path / "out"), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, report_to=[],
            save_strategy="no", eval_strategy="epoch", disable_tqdm=True, use_cpu=True, max_grad_norm=0.0,
            remove_unused_columns=not keeps, learning_rate=RATE, optim="sgd", lr_scheduler_type="constant",
        )  # fmt: skip
        trainer = InOrder(
            TakesIds() if keeps else Net(), arguments, train_dataset=made(), eval_dataset=made(),
            data_collator=together if keeps else transformers.default_data_collator,
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()

    run = recorded(tmp_path / "run", program)
    assert_right(run)
    assert ("by lang of the dataset at" in run.attrs["groups"]) == (not kept_by.startswith("remove"))
