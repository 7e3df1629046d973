"""Benchmarks whose tasks are one number each, or one yes or no, read by a linear layer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks.benchmark import Metric
from dominance.benchmarks.metrics.per_sample import AUC, MAE, RMSE, auc, mae, rmse
from dominance.benchmarks.models.embedding import Embed, embedding_mlp, mlp
from dominance.benchmarks.problems.bases.encoder_heads import Stem
from dominance.benchmarks.problems.bases.in_memory import InMemory

_SCORES = {AUC: auc, RMSE: rmse, MAE: mae}


class ScalarTasks(InMemory):
    """A task is a yes or no if it is measured by AUC: binary cross-entropy; else a number: mean squared error."""

    width: int
    evaluation_batch = 8192

    @property
    def features(self) -> int:
        return self.width

    def head(self, task: str) -> nn.Module:
        return nn.Linear(self.width, 1)

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy or mean squared error."""
        if AUC in self._metrics(task):
            return F.binary_cross_entropy_with_logits(output.squeeze(1), target)
        return F.mse_loss(output.squeeze(1), target)

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        return {metric.name: _SCORES[metric](output.squeeze(1), target) for metric in self._metrics(task)}

    def _metrics(self, task: str) -> tuple[Metric, ...]:
        return next(found.metrics for found in self.tasks if found.name == task)


class Tabular(ScalarTasks):
    """The trunk's layers, two unless ``layers`` says so, lie over embeddings of categories and numbers beside them."""

    sizes: list[int]
    """How many codes each category has; known once the data is loaded."""
    numbers: int = 0
    """How many numbers a sample has."""
    embedding: int
    layers: int = 2

    def encoder(self) -> nn.Module:
        return embedding_mlp(self._embed(), [self.width] * self.layers)

    def stem(self) -> Stem | None:
        """The embeddings, read by experts that are the layers: as in the MMoE paper, and in PUB (Sec. VI-A3)."""
        embed = self._embed()
        return Stem(embed, embed.features, partial(mlp, embed.features, [self.width] * self.layers))

    def _embed(self) -> Embed:
        return Embed(self.sizes, self.embedding, self.numbers)
