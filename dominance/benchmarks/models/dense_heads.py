"""Heads that say something of every pixel, from the maps of a trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RATES = (12, 24, 36)
"""Dilations of DeepLab v3 at an eighth of the picture's size."""


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling, then up to the picture's size (Chen et al. 2017, Fig. 5).

    A 1x1 convolution, three dilated 3x3 ones and the mean over the picture side by side, and a 3x3 and a 1x1
    convolution over them. The mean's branch has no batch norm, so that a batch of one picture can be trained on, and
    there is no dropout.

    Args:
        maps: coming in.
        width: maps of each branch; 256 in the paper.
        outputs: maps going out.
        size: height and width of the picture.
        rates: dilations of the three.
    """

    def __init__(
        self, maps: int, width: int, outputs: int, size: tuple[int, int], rates: tuple[int, ...] = RATES
    ) -> None:
        super().__init__()
        self.size = size
        self.branches = nn.ModuleList([_normed(nn.Conv2d(maps, width, 1, bias=False))])
        for rate in rates:
            self.branches.append(_normed(nn.Conv2d(maps, width, 3, padding=rate, dilation=rate, bias=False)))
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(maps, width, 1), nn.ReLU())
        self.project = _normed(nn.Conv2d(width * (len(rates) + 2), width, 1, bias=False))
        self.out = nn.Sequential(
            _normed(nn.Conv2d(width, width, 3, padding=1, bias=False)), nn.Conv2d(width, outputs, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, outputs, height, width) of the picture."""
        found = [branch(maps) for branch in self.branches]
        found.append(self.mean(maps).expand(-1, -1, *maps.shape[2:]))
        small = self.out(self.project(torch.cat(found, dim=1)))
        return F.interpolate(small, size=self.size, mode="bilinear", align_corners=False)


def full_size_head(maps: int, outputs: int) -> nn.Sequential:
    """For a trunk whose maps are as large as the picture: a 3x3 and a 1x1 convolution, as in MTAN."""
    return nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1), nn.Conv2d(maps, outputs, 1))


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
