"""AliExpress search logs: will it be clicked, will it be clicked and bought."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.data.log_encoder import LogEncoder
from dominance.benchmarks.data.own_files import files_in, own_data
from dominance.benchmarks.data.splits import derived_generator
from dominance.benchmarks.data.tables import numbers, read_pieces, refuse, whole_numbers, yes_or_no
from dominance.benchmarks.metrics.per_sample import AUC
from dominance.benchmarks.problems.bases.scalar_tasks import Tabular
from dominance.benchmarks.setting_checks import at_least, share

CATEGORIES = tuple(f"categorical_{i}" for i in range(1, 17))
NUMBERS = tuple(f"numerical_{i}" for i in range(1, 64))
LABELS = ("click", "conversion")
COLUMNS = ("search_id", *CATEGORIES, *NUMBERS, *LABELS)
TASKS = CTR, CTCVR = "CTR", "CTCVR"
"""Of the labels, in their order."""


class AliExpress(Tabular):
    """Click-through rate and click-and-conversion rate from 16 categories and 63 numbers.

    The files are the user's own: train.csv and test.csv of one country, with the columns search_id, categorical_1 to
    categorical_16, numerical_1 to numerical_63, click, conversion, and a header. A conversion without a click is bad
    data. The training rows that are held out for validation are drawn at random; the papers have none. The files are
    read in pieces, and what is trained on lies in memory: 0.33 kB a row, and up to 0.9 kB while it is split.

    Args:
        data: folder with train.csv and test.csv. There is no default: see ``write_sample`` for a small one to try.
        rows: read no more than the first rows of each file; None: all.
        held_out: share of the training rows for validation.
        least: categories seen fewer times in training count as one.
        embedding: length of an embedding.
        width: units of each of the trunk's layers.
        layers: of the trunk; of each expert of a first level.
    """

    name = "aliexpress"
    title = "click-through and click-and-conversion rate in the AliExpress search"
    licence = "the user's own copy, under the terms of the Alibaba Tianchi platform"
    source = "AliExpress (Li et al., CIKM 2020), https://tianchi.aliyun.com/dataset/74690; PUB and MoCoGrad"
    numbers = len(NUMBERS)
    settings = Settings(
        epochs=3,
        batch_size=4096,
        lr=1e-3,
        published={
            "PUB": "NL, ES, FR, US; MMoE with eight single-layer experts, PLE with four shared and four per task; "
            "learning rate 1e-3, weight decay 1e-6, batch size 4096, AUC, five runs",
            "MoCoGrad": "NL, ES, FR, US; 90 % in the order of time to train on, 10 % to test; an embedding layer and a "
            "two-layer MLP as shared layers, Adam with learning rate 1e-4, AUC, ten runs",
        },
    )

    def __init__(
        self,
        *,
        data: str | None = None,
        rows: int | None = None,
        held_out: float = 0.1,
        least: int = 1,
        embedding: int = 16,
        width: int = 128,
        layers: int = 2,
    ) -> None:
        self.data = data
        self.rows = None if rows is None else at_least(2, rows=rows)
        self.held_out, self.least = share(held_out=held_out), at_least(1, least=least)
        self.embedding, self.width = at_least(1, embedding=embedding), at_least(1, width=width)
        self.layers = at_least(1, layers=layers)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return Task(CTR, 1, (AUC,)), Task(CTCVR, 1, (AUC,))

    def load(self, seed: int) -> None:
        gathered = LogEncoder(CATEGORIES, NUMBERS, LABELS)
        ends = []
        for path in self._files():
            for piece in read_log(path, self.rows):
                gathered.add(piece)
            ends.append(gathered.rows)
        order = torch.randperm(ends[0], generator=derived_generator(seed, self.name))
        held = max(1, round(ends[0] * self.held_out))
        rows = {"train": order[held:], "val": order[:held], "test": torch.arange(*ends)}
        splits, self.sizes = gathered.split(rows, self.least)
        self.splits = {
            split: Batch(data.inputs, {task: data.targets[label] for task, label in zip(TASKS, LABELS, strict=True)})
            for split, data in splits.items()
        }

    def _files(self) -> list[Path]:
        get = "get them from https://tianchi.aliyun.com/dataset/74690"
        get += " and point data=PATH to the folder with train.csv and test.csv"
        return files_in(own_data(self.data, self, get), "train.csv", "test.csv")


def read_log(path: Path, rows: int | None = None) -> Iterator[pd.DataFrame]:
    """One file in pieces, checked.

    Raises:
        BadData: a column is missing, a value is no number, a label is not 0 or 1, or a conversion has no click.
    """
    for frame in read_pieces(path, columns=COLUMNS, rows=rows):
        whole = {column: whole_numbers(frame, column, path) for column in CATEGORIES}
        real = {column: numbers(frame, column, path).astype(np.float32) for column in NUMBERS}
        labels = {column: yes_or_no(frame, column, path) for column in LABELS}
        refuse((labels["conversion"] == 1) & (labels["click"] == 0), frame, path, "conversion without click")
        yield pd.DataFrame({**whole, **real, **labels}, index=frame.index)


def write_sample(folder: str | Path, rows: int = 4000, seed: int = 0) -> Path:
    """Made-up train.csv (``rows`` rows) and test.csv (a quarter) in the format of the data set; returns the folder.

    Clicks depend on two numbers and a category, conversions of clicked items on a third number; the rest is noise.
    """
    random = np.random.default_rng(seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    liking = random.normal(size=20)
    for name, count in (("train.csv", rows), ("test.csv", max(1, rows // 4))):
        categories = random.integers(0, 20, (count, len(CATEGORIES)))
        values = random.normal(size=(count, len(NUMBERS))).round(4)
        odds = -1.5 + 1.2 * values[:, 0] - 0.8 * values[:, 1] + liking[categories[:, 0]]
        click = random.random(count) < 1 / (1 + np.exp(-odds))
        conversion = click & (random.random(count) < 1 / (1 + np.exp(1.0 - 1.5 * values[:, 2])))
        frame = pd.DataFrame(categories, columns=list(CATEGORIES))
        frame[list(NUMBERS)] = values
        frame.insert(0, "search_id", np.arange(count) // 10 + 1)
        frame["click"], frame["conversion"] = click.astype(int), conversion.astype(int)
        frame.to_csv(folder / name, index=False)
    return folder
