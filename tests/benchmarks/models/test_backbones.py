"""Residual networks as published: parameters, names and sizes; SegNet; heads that speak of every pixel."""

from __future__ import annotations

import pytest
import torch

from dominance.benchmarks.models.backbones import BACKBONES, maps_of, resnet, trunk
from dominance.benchmarks.models.dense_heads import ASPP, full_size_head

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "parameters", "maps"), [("resnet18", 11_176_512, 512), ("resnet50", 23_508_032, 2048)]
)
def test_as_published(name: str, parameters: int, maps: int) -> None:
    """All parameters of torchvision's networks but those of the last linear layer."""
    network = resnet(name, dilated=False)
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, maps, 2, 3)
    names = {key.removeprefix("stem.") for key in network.state_dict()}
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.1.bn2.bias"} <= names
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} <= names
    assert ("layer1.0.downsample.0.weight" in names) == (name == "resnet50")


@pytest.mark.parametrize("name", BACKBONES)
def test_maps(name: str) -> None:
    with torch.no_grad():
        found = trunk(name, 4)(torch.zeros(2, 3, 64, 96))
    size = (64, 96) if name == "segnet" else (8, 12)
    assert found.shape == (2, maps_of(name, 4), *size)


def test_dilation_keeps_the_field_of_view() -> None:
    """With the same weights a dilated network says what one with strides does, in four times as many places a side."""
    torch.manual_seed(0)
    strided, dilated = resnet("small", 2, dilated=False).eval(), resnet("small", 2, dilated=True).eval()
    dilated.load_state_dict(strided.state_dict())
    picture = torch.randn(1, 3, 96, 128)
    coarse, fine = strided(picture), dilated(picture)
    torch.testing.assert_close(fine[..., ::4, ::4], coarse)


def test_heads() -> None:
    head = ASPP(6, 4, 13, (30, 50))
    maps = torch.randn(1, 6, 4, 7)
    assert head(maps).shape == (1, 13, 30, 50)  # a batch of one, in training
    head.eval()
    both = torch.cat([maps, torch.randn(1, 6, 4, 7)])
    torch.testing.assert_close(head(both)[:1], head(maps))
    assert full_size_head(6, 3)(maps).shape == (1, 3, 4, 7)
