"""Multi-task attention network: each task attends to the features of a shared trunk, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks.models.base import Architecture, MakeModule, channels, stages, width


class Attention(nn.Module):
    """A soft mask over the features of one stage: sigmoid(W₂ relu(W₁ [p; â])).

    Args:
        features: width of the stage, p.
        before: width of what the task attended to in the stage before, â; 0 in the first stage.
    """

    def __init__(self, features: int, before: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(features + before, features)
        self.mask = nn.Linear(features, features)

    def forward(self, features: Tensor, before: Tensor | None) -> Tensor:
        """What the task attends to, (batch, width)."""
        read = features if before is None else torch.cat([features, before], dim=1)
        mask = torch.sigmoid(self.mask(torch.relu(self.reduce(read))))
        return mask * features


class MapAttention(nn.Module):
    """The same over maps: 1x1 convolutions with batch norm, as in the paper.

    What the task attended to before goes through a 3x3 convolution, and is pooled or stretched to the stage's size.

    Args:
        features: maps of the stage, p.
        before: maps of what the task attended to in the stage before, â; 0 in the first stage.
    """

    def __init__(self, features: int, before: int) -> None:
        super().__init__()
        carried = [nn.Conv2d(before, before, 3, padding=1), nn.BatchNorm2d(before), nn.ReLU()] if before else []
        self.carry = nn.Sequential(*carried)
        self.reduce = nn.Sequential(nn.Conv2d(features + before, features, 1), nn.BatchNorm2d(features), nn.ReLU())
        self.mask = nn.Sequential(nn.Conv2d(features, features, 1), nn.BatchNorm2d(features), nn.Sigmoid())

    def forward(self, features: Tensor, before: Tensor | None) -> Tensor:
        """What the task attends to, (batch, features, height, width)."""
        read = features
        if before is not None:
            read = torch.cat([features, _sized(self.carry(before), features.shape[2:])], dim=1)
        mask: Tensor = self.mask(self.reduce(read))
        return mask * features


def _sized(maps: Tensor, size: torch.Size) -> Tensor:
    """The same maps at another size: the larger are pooled, the smaller stretched."""
    if maps.shape[2:] == size:
        return maps
    return F.adaptive_max_pool2d(maps, list(size)) if maps.shape[2] > size[0] else F.interpolate(maps, list(size))


class MTAN(Architecture):
    """One trunk, and for each task and stage a mask over its features (Liu et al. 2019, Eq. 1-2).

    The paper's modules are 1x1 convolutions on maps; so are they where every stage of the trunk ends in maps. Where
    stages put out plain features, (batch, width), they are linear layers without batch norm. There is one feature
    tensor a stage, p, where the paper reads an earlier one, u, for the mask.

    The trunk is shared; the attention is its task's own.

    Args:
        make_encoder: makes the trunk: a Sequential of stages that end in features, or all of them in maps.
        heads, multi_input: see ``Architecture``.

    Raises:
        BadOption: the trunk shows no stages, or one does not end in features.
    """

    def __init__(self, make_encoder: MakeModule, heads: Mapping[str, MakeModule], *, multi_input: bool = False) -> None:
        super().__init__(heads, multi_input=multi_input)
        trunk = stages(make_encoder(), "mtan")
        maps = [found for stage in trunk if (found := channels(stage))]
        make = MapAttention if len(maps) == len(trunk) else Attention
        widths = maps if make is MapAttention else [width(stage, "mtan") for stage in trunk]
        self.trunk = nn.ModuleList(trunk)
        self.attention = nn.ModuleDict(
            {
                task: nn.ModuleList([make(w, b) for w, b in zip(widths, [0, *widths[:-1]], strict=True)])
                for task in self.tasks
            }
        )

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """What each task attends to in the last stage."""
        features = inputs
        attended: dict[str, Tensor | None] = dict.fromkeys(tasks)
        for depth, stage in enumerate(self.trunk):
            features = stage(features)
            attended = {task: self._attention(task, depth)(features, attended[task]) for task in tasks}
        return {task: found for task, found in attended.items() if found is not None}

    def _attention(self, task: str, depth: int) -> nn.Module:
        modules = self.attention[task]
        assert isinstance(modules, nn.ModuleList)
        return modules[depth]
