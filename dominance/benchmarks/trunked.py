"""Benchmarks whose models are a trunk and a head for each task, put together by an architecture."""

from __future__ import annotations

import abc
from functools import partial

from torch import nn

from dominance.benchmarks.architectures import build
from dominance.benchmarks.benchmark import Benchmark


class Trunked(Benchmark):
    """Subclasses tell what the trunk and the heads are."""

    @abc.abstractmethod
    def encoder(self) -> nn.Module:
        """A fresh trunk: from one task's inputs to (batch, features), or to maps, (batch, features, height, width)."""

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """Size of the shared representation; of maps, how many."""

    @abc.abstractmethod
    def head(self, task: str) -> nn.Module:
        """A fresh head: from the representation to the task's output."""

    @property
    def input_size(self) -> int | None:
        """Size of one sample, flattened, if it is one tensor of numbers that a gate can read; None: it is not."""
        return None

    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        """As in the base class."""
        heads = {task: partial(self.head, task) for task in tasks}
        return build(
            architecture, self.encoder, self.features, heads, multi_input=self.multi_input, inputs=self.input_size
        )
