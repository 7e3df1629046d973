"""Cross-stitch networks: one column for each task, and units that mix the columns between stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dominance.benchmarks.models.base import Architecture, MakeModule, stages


class CrossStitch(Architecture):
    """Columns x_k, and between two stages x̃_k = Σ_j α[k, j] x_j (Misra et al. 2016, Eq. 1).

    One matrix α, (K, K), between two stages (the paper has one for each channel). It starts near its own column, as
    the paper found best: α[k, k] = ``same``, the rest spread evenly over the others.

    All stages but the last are shared, and so are the matrices; the last stage of a column is its task's own.

    Args:
        make_encoder: makes one column: a Sequential of stages, from inputs to (batch, features).
        same: first weight of a task's own column.
        heads, multi_input: see ``Architecture``. A task's own inputs go through all columns.

    Raises:
        BadOption: the trunk shows no stages.
    """

    def __init__(
        self,
        make_encoder: MakeModule,
        heads: Mapping[str, MakeModule],
        *,
        multi_input: bool = False,
        same: float = 0.9,
    ) -> None:
        super().__init__(heads, multi_input=multi_input)
        columns = {task: stages(make_encoder(), "cross-stitch") for task in self.tasks}
        self.columns = nn.ModuleDict({task: nn.ModuleList(column) for task, column in columns.items()})
        self.depth = len(columns[self.tasks[0]])
        k = len(self.tasks)
        first = torch.full((k, k), (1 - same) / max(k - 1, 1))
        first.fill_diagonal_(same if k > 1 else 1.0)
        self.stitches = nn.ParameterList([nn.Parameter(first.clone()) for _ in range(self.depth - 1)])

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """The last stage of each task's column."""
        columns: list[Any] = [inputs] * len(self.tasks)
        for depth in range(self.depth - 1):
            found = torch.stack(
                [self._stage(task, depth)(x) for task, x in zip(self.tasks, columns, strict=True)]
            )  # (K, batch, ...)
            columns = list(torch.einsum("kj,j...->k...", self.stitches[depth], found))
        last = dict(zip(self.tasks, columns, strict=True))
        return {task: self._stage(task, self.depth - 1)(last[task]) for task in tasks}

    def _stage(self, task: str, depth: int) -> nn.Module:
        column = self.columns[task]
        assert isinstance(column, nn.ModuleList)
        return column[depth]
