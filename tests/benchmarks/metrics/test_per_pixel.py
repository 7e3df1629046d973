"""Scene understanding: losses and metrics by hand and by brute force, and the same however a split is cut up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dominance.benchmarks.metrics.per_pixel import (
    Depth,
    Normals,
    Segmentation,
    depth_loss,
    normal_loss,
    segmentation_loss,
)

torch.set_num_threads(1)
NAN = float("nan")


def turned(*degrees: float) -> Tensor:
    """Vectors (1, 3, 1, pixels) in the x-y plane, at these angles to x."""
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin(), torch.zeros(len(degrees))]).reshape(1, 3, 1, -1)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 5.0]], [[2.0, 5.0]]]])  # two pixels, two classes
    assert segmentation_loss(logits, torch.tensor([[[0, -1]]])).item() == pytest.approx(math.log(1 + math.exp(2)))
    output = torch.tensor([[[[1.0, 7.0, 4.0]]]])
    assert depth_loss(output, torch.tensor([[[[2.0, NAN, 1.0]]]])).item() == pytest.approx(2.0)
    normal = turned(0, 0, 0)
    normal[..., 1] = NAN
    found = normal_loss(3 * turned(60, 11, 90), normal)
    assert found.item() == pytest.approx(1 - (0.5 + 0) / 2)


def test_no_label_no_loss() -> None:
    assert segmentation_loss(torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1), -1)) is None
    assert depth_loss(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), NAN)) is None
    assert normal_loss(torch.zeros(1, 3, 1, 1), torch.full((1, 3, 1, 1), NAN)) is None


def test_missing_pixels_have_no_gradient() -> None:
    output = torch.ones(1, 3, 1, 2, requires_grad=True)
    normal = turned(0, 0)
    normal[..., 1] = NAN
    normal_loss(output, normal).backward()
    assert output.grad[..., 0].any()
    assert not output.grad[..., 1].any()
    assert torch.isfinite(output.grad).all()


def test_segmentation_by_hand() -> None:
    """Four labelled pixels of three classes; the third is in neither, and does not count."""
    answers, labels = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, -1])
    scorer = Segmentation(3)
    scorer.add(torch.eye(3)[answers].T.reshape(1, 3, 1, 5), labels.reshape(1, 1, 5))
    assert scorer.scores() == {"miou": pytest.approx((1 / 2 + 2 / 3) / 2), "pixel_accuracy": 3 / 4}


def test_normals_by_hand() -> None:
    scorer = Normals()
    scorer.add(2 * turned(10, 20, 25, 90), turned(0, 0, 0, 0))
    found = scorer.scores()
    assert found["mean_angle"] == pytest.approx(145 / 4)
    assert found["median_angle"] == pytest.approx(22.5, abs=1e-3)
    assert (found["within_11"], found["within_22"], found["within_30"]) == (0.25, 0.5, 0.75)
    opposite = Normals()
    opposite.add(turned(180.0), turned(0.0))
    assert opposite.scores()["median_angle"] == 180


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_a_split_is_the_sum_of_its_batches(seed: int, cut: int) -> None:
    """Against numpy over everything at once."""
    generator = torch.Generator().manual_seed(seed)
    shape = (6, 4, 5)
    missing = torch.rand(shape, generator=generator) < 0.3
    logits = torch.randn(6, 3, 4, 5, generator=generator)
    labels = torch.randint(3, shape, generator=generator).masked_fill(missing, -1)
    output = torch.randn(6, 1, 4, 5, generator=generator)
    depth = (torch.rand(6, 1, 4, 5, generator=generator) + 0.1).masked_fill(missing.unsqueeze(1), NAN)
    vectors = torch.randn(6, 3, 4, 5, generator=generator)
    normal = torch.nn.functional.normalize(torch.randn(6, 3, 4, 5, generator=generator), dim=1)
    normal = normal.masked_fill(missing.unsqueeze(1), NAN)
    found: dict[str, float] = {}
    for scorer, said, true in (
        (Segmentation(3), logits, labels),
        (Depth(), output, depth),
        (Normals(), vectors, normal),
    ):
        for part in (slice(cut), slice(cut, None)):
            scorer.add(said[part], true[part])
        found |= scorer.scores()

    there = ~missing.numpy()
    answer, label = logits.argmax(1).numpy()[there], labels.numpy()[there]
    ious = [
        ((answer == c) & (label == c)).sum() / union
        for c in range(3)
        if (union := ((answer == c) | (label == c)).sum())
    ]
    assert found["miou"] == pytest.approx(np.mean(ious))
    assert found["pixel_accuracy"] == pytest.approx(np.mean(answer == label))
    error = np.abs(output.numpy()[:, 0][there] - depth.numpy()[:, 0][there])
    assert found["abs_err"] == pytest.approx(error.mean(), rel=1e-5)
    assert found["rel_err"] == pytest.approx((error / depth.numpy()[:, 0][there]).mean(), rel=1e-5)
    a, b = (np.moveaxis(v.numpy(), 1, -1)[there].astype(float) for v in (vectors, normal))
    angles = np.degrees(np.arccos(np.clip((a * b).sum(1) / np.linalg.norm(a, axis=1), -1, 1)))
    assert found["mean_angle"] == pytest.approx(angles.mean(), rel=1e-5)
    assert found["median_angle"] == pytest.approx(np.median(angles), abs=1.1e-3)
    assert found["within_30"] == pytest.approx((angles < 30).mean())
