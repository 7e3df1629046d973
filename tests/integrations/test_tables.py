"""``record --groups`` by a column of a ``datasets.Dataset``: found where rows are proven the same, and by no draw.

datasets and transformers are installed by ``make trainers``.
"""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.in_session import in_session
from torch import Tensor, nn

from dominance import open_run
from dominance.config import RecordOptions
from dominance.record.guest import hugging_face

pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainers' own

datasets = pytest.importorskip("datasets")
SIZE, EPOCHS = 24, 2
LANGS = [["de", "fr", "ja"][i * i % 5 % 3] for i in range(SIZE)]


def table() -> Any:
    made = torch.Generator().manual_seed(0)
    xs = torch.randn(SIZE, 4, generator=made).tolist()
    return datasets.Dataset.from_dict({"x": xs, "labels": [i % 3 for i in range(SIZE)], "lang": LANGS})


def states() -> list[Any]:
    return [random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()]


@pytest.mark.parametrize(
    "kind", ["has it", "removed", "shuffled", "selected", "transformed", "has it, transformed", "formatted"]
)
def test_a_column_as_it_is_stored(kind: str) -> None:
    def fail(_: Any) -> Any:
        raise AssertionError("a transform of the script was called")

    whole = {"shuffled": lambda: table().shuffle(seed=3), "selected": lambda: table().select([5, 2, 9, 0, 1, 7, 11])}
    source = whole.get(kind, table)()
    of = source if kind.startswith("has it") else source.remove_columns(["lang"])
    of = (
        of.with_transform(fail)
        if kind.endswith("transformed")
        else of.with_format("torch")
        if kind == "formatted"
        else of
    )
    before = states()
    found = hugging_face.column(of, "lang", [6, 0, 0, 4])
    assert states() == before
    assert found == [source["lang"][row] for row in [6, 0, 0, 4]]
    assert hugging_face.column(of, "domain", [0]) is None
    assert hugging_face.columns_of(of)[-1] == "lang"


def test_rows_that_are_not_proven_the_same_have_no_column_of_another() -> None:
    source = table()
    others = [
        source.shuffle(seed=9).remove_columns(["lang"]),
        source.select(range(3, 9)).remove_columns(["lang"]),
        source.map(lambda row: {"x": row["x"][::-1]}).remove_columns(["lang"]),
        datasets.Dataset.from_dict({"x": source["x"][:], "labels": source["labels"][:]}),
    ]
    assert [hugging_face.column(each, "lang", [0]) for each in others] == [None] * len(others)
    assert source["lang"][0] == LANGS[0]  # it lives until here


def test_of_two_columns_of_one_name_neither_is_meant() -> None:
    bare = table().remove_columns(["lang"])
    one = bare.add_column("kind", LANGS)
    assert hugging_face.column(bare.with_format("numpy"), "kind", [1]) == [one["kind"][1]]
    other = bare.add_column("kind", LANGS[::-1])
    assert hugging_face.column(bare, "kind", [1]) is None
    assert other["kind"][1] == LANGS[-2]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_of_a_trainer_is_the_same_to_the_bit(workers: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 3))

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def train() -> tuple[list[Tensor], list[Any]]:
        arguments = transformers.TrainingArguments(
            str(tmp_path / "out"), num_train_epochs=EPOCHS, per_device_train_batch_size=8, report_to=[],
            save_strategy="no", disable_tqdm=True, use_cpu=True, dataloader_num_workers=workers,
        )  # fmt: skip
        trainer = transformers.Trainer(
            Net(), arguments, train_dataset=table(), data_collator=transformers.default_data_collator
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        return [p.detach().clone() for p in trainer.model.parameters()], states()

    plain, found = train(), []
    options = RecordOptions(every=1, groups="lang", exact=True, quiet=True)
    with in_session(tmp_path / "run", options):
        found.append(train())
    assert all(torch.equal(a, b) for a, b in zip(plain[0], found[0][0], strict=True))
    assert found[0][1] == plain[1]
    metrics = open_run(tmp_path / "run")["metric"].to_dataset(inherit=False).to_dataframe()
    metrics = metrics[metrics["metric"] == "examples"]
    counted = metrics.groupby("event_task")["value"].sum().to_dict()
    assert counted == {name: EPOCHS * LANGS.count(name) for name in set(LANGS)}
