"""Logs of who watched which short video, as AdaTask trains on them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from torch import nn

from dominance.benchmarks.benchmark import Settings, Task
from dominance.benchmarks.metrics.per_sample import AUC
from dominance.benchmarks.problems.bases.scalar_tasks import Tabular
from dominance.benchmarks.setting_checks import at_least

TOWER = (128, 64, 32)


def adatask_settings(rows: str, more: str = "") -> Settings:
    """Those of AdaTask.

    Args:
        rows: how many it has, and how they are split.
        more: what else is published.
    """
    return Settings(
        epochs=20,
        batch_size=4096,
        lr=1e-3,
        optimizer="rmsprop",
        patience=5,
        published={
            "AdaTask": f"{rows}; categories seen fewer than ten times are one, embeddings of 10, two hidden layers, "
            "towers of 128, 64 and 32 with ELU, RMSprop with learning rate 1e-3, batch size 4096, stop after five "
            f"epochs without a better result, AUC, three runs{more}",
        },
    )


class ShortVideos(Tabular):
    """The heads are towers of three layers with ELU before the last one, as in AdaTask (Appendix B)."""

    labels: ClassVar[Mapping[str, str]]
    """Task -> the column of its label."""

    def __init__(self, *, data: str | None = None, least: int = 10, embedding: int = 10, width: int = 128) -> None:
        self.data = data
        self.least, self.embedding = at_least(1, least=least), at_least(1, embedding=embedding)
        self.width = at_least(1, width=width)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(task, 1, (AUC,)) for task in self.labels)

    def head(self, task: str) -> nn.Module:
        sizes = (self.width, *TOWER)
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ELU())]
        return nn.Sequential(*layers, nn.Linear(TOWER[-1], 1))
