"""Convolutional trunks for pictures: residual networks and SegNet, in the papers' sizes and in small."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from dominance.errors import BadData, MissingData

RESNETS: Mapping[str, tuple[bool, tuple[int, int, int, int], int]] = {
    "small": (False, (1, 1, 1, 1), 16),
    "resnet18": (False, (2, 2, 2, 2), 64),
    "resnet50": (True, (3, 4, 6, 3), 64),
}
"""Name -> whether blocks are bottlenecks, blocks in each of the four layers, and usual width."""

BACKBONES = ("small", "resnet18", "resnet50", "segnet")
SEGNET_WIDTH = 64


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, or a bottleneck of 1x1, 3x3 and 1x1 (He et al. 2016, Fig. 5).

    The parameters have the names that torchvision gives them.

    Args:
        maps: coming in.
        width: of the 3x3 convolutions; a bottleneck puts out four times as many.
        stride: of the first 3x3 convolution.
        dilations: of the first and of the second 3x3 convolution; a bottleneck has the first only.
    """

    def __init__(
        self, maps: int, width: int, *, bottleneck: bool, stride: int = 1, dilations: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        out = width * 4 if bottleneck else width
        if bottleneck:
            self.conv1, self.bn1 = nn.Conv2d(maps, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = _three(width, width, stride, dilations[0]), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        else:
            self.conv1, self.bn1 = _three(maps, width, stride, dilations[0]), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = _three(width, width, 1, dilations[1]), nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or maps != out:
            self.downsample = nn.Sequential(nn.Conv2d(maps, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            found = self.bn3(self.conv3(torch.relu(found)))
        return torch.relu(found + self.downsample(x))


def _three(maps: int, out: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(maps, out, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def resnet(name: str, width: int | None = None, *, dilated: bool) -> nn.Sequential:
    """A residual network without its last linear layer, in five stages: from (batch, 3, ...) to maps.

    Args:
        name: one of ``RESNETS``.
        width: maps of the first stage; the others have one, two, four and eight times as many, and of a bottleneck
            network four times that. None: the usual.
        dilated: the last two layers are dilated by 2 and 4 in place of a stride: maps are 1/8 of the picture, else
            1/32. The same weights say the same where both have a place.
    """
    bottleneck, blocks, usual = RESNETS[name]
    base = width or usual
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(base),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
    )
    maps, dilation = base, 1
    for layer, count in enumerate(blocks):
        stride, before = (1 if layer == 0 else 2), dilation
        if dilated and layer >= 2:
            stride, dilation = 1, dilation * 2
        made = []
        for place in range(count):
            first = place == 0
            made.append(
                Block(
                    maps,
                    base * 2**layer,
                    bottleneck=bottleneck,
                    stride=stride if first else 1,
                    dilations=(before if first else dilation, dilation),
                )
            )
            maps = base * 2**layer * (4 if bottleneck else 1)
        stages[f"layer{layer + 1}"] = nn.Sequential(*made)
    return nn.Sequential(stages)


def segnet(width: int | None = None) -> nn.Sequential:
    """SegNet in ten stages (Badrinarayanan et al. 2017): five that halve the picture, five that double it again.

    Each has two 3x3 convolutions with batch norm. The decoder stretches by repeating pixels: the stages are a plain
    chain, in which the places of the maxima are not passed on. Height and width must be multiples of 32.

    Args:
        width: maps of the first and the last stage. The five have 1, 2, 4, 8 and 8 times as many. None: 64.
    """
    base = width or SEGNET_WIDTH
    widths = [base, base * 2, base * 4, base * 8, base * 8]
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    maps = 3
    for depth, out in enumerate(widths, start=1):
        stages[f"encoder{depth}"] = nn.Sequential(*_two(maps, out), nn.MaxPool2d(2))
        maps = out
    for depth, out in zip(range(5, 0, -1), [*widths[3::-1], base], strict=True):
        stages[f"decoder{depth}"] = nn.Sequential(nn.Upsample(scale_factor=2), *_two(maps, out))
        maps = out
    return nn.Sequential(stages)


def _two(maps: int, out: int) -> list[nn.Module]:
    made: list[nn.Module] = []
    for before in (maps, out):
        made += [nn.Conv2d(before, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return made


def trunk(name: str, width: int | None = None) -> nn.Sequential:
    """A trunk that ends in maps: one of ``BACKBONES``; residual ones are dilated."""
    return segnet(width) if name == "segnet" else resnet(name, width, dilated=True)


def maps_of(name: str, width: int | None = None) -> int:
    """How many maps a trunk puts out.

    >>> maps_of("small"), maps_of("resnet50"), maps_of("segnet", 8)
    (128, 2048, 8)
    """
    if name == "segnet":
        return width or SEGNET_WIDTH
    bottleneck, _, usual = RESNETS[name]
    return (width or usual) * 8 * (4 if bottleneck else 1)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a residual network as torchvision saves them, a state dict; its last linear layer is left out.

    Raises:
        MissingData: there is no such file.
        BadData: it is no state dict.
    """
    if not path.is_file():
        raise MissingData(f"{path} is no file", fix="point weights=PATH to a state dict, such as torchvision's")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        raise BadData(f"{path}: is no state dict ({_first_line(error)})", fix=_WEIGHTS) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadData(f"{path}: is no state dict", fix=_WEIGHTS)
    return {name: value for name, value in cast(dict[str, Tensor], found).items() if not name.startswith("fc.")}


_WEIGHTS = "save it with torch.save(model.state_dict(), PATH)"


def load_weights(network: nn.Sequential, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put ``read_weights`` into a network of ``resnet``.

    Raises:
        BadData: a parameter is missing, or has another shape: the weights are of another network.
    """
    own = network.state_dict()
    for name, value in own.items():
        theirs = weights.get(name.removeprefix("stem."))
        if theirs is None or theirs.shape != value.shape:
            seen = "is not there" if theirs is None else f"has the shape {tuple(theirs.shape)}"
            what = f"{name.removeprefix('stem.')} {seen}, {tuple(value.shape)} is meant"
            raise BadData(f"{path}: {what}", fix="give the weights of the same backbone, in its usual width")
        own[name] = theirs
    network.load_state_dict(own)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
