"""Losses and metrics of scene understanding: of every pixel that has a label, summed up batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dominance.benchmarks.benchmark import Metric

MIOU = Metric("miou", higher_is_better=True)
PIXEL_ACCURACY = Metric("pixel_accuracy", higher_is_better=True)
ABS_ERROR = Metric("abs_err", higher_is_better=False)
REL_ERROR = Metric("rel_err", higher_is_better=False)
MEAN_ANGLE = Metric("mean_angle", higher_is_better=False)
MEDIAN_ANGLE = Metric("median_angle", higher_is_better=False)
WITHIN = {
    Metric("within_11", higher_is_better=True): 11.25,
    Metric("within_22", higher_is_better=True): 22.5,
    Metric("within_30", higher_is_better=True): 30.0,
}
"""Metric -> degrees."""

SEGMENTATION = (MIOU, PIXEL_ACCURACY)
DEPTH = (ABS_ERROR, REL_ERROR)
NORMAL = (MEAN_ANGLE, MEDIAN_ANGLE, *WITHIN)

FINENESS = 1000
"""Bins for each degree, from which the median angle is read."""


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor | None:
    """Cross-entropy over the pixels that have a label: (batch, classes, h, w) and (batch, h, w), -1 for none."""
    return F.cross_entropy(logits, labels, ignore_index=-1) if (labels != -1).any() else None


def depth_loss(output: Tensor, depth: Tensor) -> Tensor | None:
    """Mean absolute error over the pixels that have a depth: (batch, 1, h, w) both, NaN for none."""
    there = ~torch.isnan(depth)
    return (output[there] - depth[there]).abs().mean() if there.any() else None


def normal_loss(output: Tensor, normal: Tensor) -> Tensor | None:
    """1 - cos of the angle to the normal, over the pixels that have one: (batch, 3, h, w) both, NaN for none."""
    there = ~torch.isnan(normal).any(dim=1)
    return 1 - _cosines(output, normal, there).mean() if there.any() else None


def _cosines(output: Tensor, normal: Tensor, there: Tensor) -> Tensor:
    found, true = (vectors.movedim(1, -1)[there] for vectors in (output, normal))  # (pixels, 3)
    return (F.normalize(found, dim=1) * true).sum(dim=1)


class Segmentation:
    """mIoU: the mean over the classes of intersection by union, over a whole split; and the share of right pixels.

    A class that is neither in the labels nor in the answers has no union and does not count.

    >>> found = Segmentation(3)
    >>> found.add(torch.eye(3)[[0, 1, 1]].T.reshape(1, 3, 1, 3), torch.tensor([[[0, 0, 1]]]))
    >>> found.scores()
    {'miou': 0.5, 'pixel_accuracy': 0.6666666666666666}
    """

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)  # label by answer

    def add(self, output: Tensor, target: Tensor) -> None:
        there = target != -1
        classes = len(self.counts)
        pairs = target[there] * classes + output.argmax(dim=1)[there]
        self.counts += torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def scores(self) -> dict[str, float]:
        hits = self.counts.diagonal().double()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return {
            MIOU.name: float((hits / union)[union > 0].mean()),
            PIXEL_ACCURACY.name: float(hits.sum() / self.counts.sum()),
        }


class Depth:
    """Mean absolute error, and mean of the error by the depth, over all pixels of a split that have a depth.

    >>> found = Depth()
    >>> found.add(torch.tensor([[[[1.0, 3.0, 9.0]]]]), torch.tensor([[[[2.0, 4.0, float("nan")]]]]))
    >>> found.scores()
    {'abs_err': 1.0, 'rel_err': 0.375}
    """

    def __init__(self) -> None:
        self.absolute = self.relative = 0.0
        self.pixels = 0

    def add(self, output: Tensor, target: Tensor) -> None:
        there = ~torch.isnan(target)
        true = target[there].double()
        error = (output[there].double() - true).abs()
        self.absolute += float(error.sum())
        self.relative += float((error / true).sum())
        self.pixels += len(true)

    def scores(self) -> dict[str, float]:
        return {ABS_ERROR.name: self.absolute / self.pixels, REL_ERROR.name: self.relative / self.pixels}


class Normals:
    """Angles to the true normals in degrees, over all pixels of a split that have one.

    Mean and shares within an angle are exact; the median is that of the angles rounded to a thousandth of a degree.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.within = dict.fromkeys(WITHIN, 0)
        self.counts = torch.zeros(180 * FINENESS + 1, dtype=torch.int64)

    def add(self, output: Tensor, target: Tensor) -> None:
        there = ~torch.isnan(target).any(dim=1)
        angles = torch.rad2deg(torch.acos(_cosines(output.double(), target.double(), there).clamp(-1, 1)))
        self.total += float(angles.sum())
        for metric, degrees in WITHIN.items():
            self.within[metric] += int((angles < degrees).sum())
        self.counts += torch.bincount((angles * FINENESS).round().long(), minlength=len(self.counts))

    def scores(self) -> dict[str, float]:
        pixels = int(self.counts.sum())
        return {
            MEAN_ANGLE.name: self.total / pixels,
            MEDIAN_ANGLE.name: (self._ranked((pixels - 1) // 2) + self._ranked(pixels // 2)) / 2,
            **{metric.name: count / pixels for metric, count in self.within.items()},
        }

    def _ranked(self, rank: int) -> float:
        """The angle of this rank, counted from 0."""
        return int(torch.searchsorted(self.counts.cumsum(0), rank + 1)) / FINENESS
