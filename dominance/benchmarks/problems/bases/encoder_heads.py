"""Benchmarks whose models are a trunk and a head for each task, put together by an architecture."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from dominance.benchmarks.benchmark import Benchmark
from dominance.benchmarks.models import OF_EXPERTS, build, parted


@dataclass(frozen=True)
class Stem:
    """What comes before the experts of "mmoe", "cgc" and "ple", shared by all of them and by the gates.

    Attributes:
        module: from one task's inputs to (batch, features).
        make_expert: a fresh one, from (batch, features) to the shared representation.
    """

    module: nn.Module
    features: int
    make_expert: Callable[[], nn.Module]


class EncoderHeads(Benchmark):
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

    def stem(self) -> Stem | None:
        """A fresh stem; None: each expert is a whole trunk."""
        return None

    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        """As in the base class."""
        heads = {task: partial(self.head, task) for task in tasks}
        stem = self.stem() if parted(architecture)[0] in OF_EXPERTS else None
        if stem is not None:
            return build(
                architecture, stem.make_expert, self.features, heads, multi_input=self.multi_input,
                inputs=stem.features, stem=stem.module,
            )  # fmt: skip
        return build(
            architecture, self.encoder, self.features, heads, multi_input=self.multi_input, inputs=self.input_size
        )
