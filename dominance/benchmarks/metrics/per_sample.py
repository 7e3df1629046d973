"""The metrics of the papers: each from a task's outputs and targets over a whole split to one number."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.benchmarks.benchmark import Metric
from dominance.benchmarks.setting_checks import one_of

RMSE = Metric("rmse", higher_is_better=False)
MAE = Metric("mae", higher_is_better=False)
NORMALISED_RMSE = Metric("normalised_rmse", higher_is_better=False)
SQUARED_ERROR = Metric("squared_error", higher_is_better=False)
ACCURACY = Metric("accuracy", higher_is_better=True)
AUC = Metric("auc", higher_is_better=True)

NORMALISERS = ("std", "rms", "none")


def rmse(output: Tensor, target: Tensor) -> float:
    """Root of the mean squared error over all entries; both of one shape.

    >>> round(rmse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])), 6)
    1.414214
    """
    return (output.double() - target.double()).square().mean().sqrt().item()


def mae(output: Tensor, target: Tensor) -> float:
    """Mean absolute error over all entries; both of one shape."""
    return (output.double() - target.double()).abs().mean().item()


def squared_error(output: Tensor, target: Tensor) -> float:
    """Squared error summed over a sample's entries, mean over the samples: (samples, ...) both."""
    return (output.double() - target.double()).square().flatten(1).sum(1).mean().item()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the samples whose largest logit is the label's: (samples, classes) and (samples,)."""
    return (logits.argmax(1) == labels).double().mean().item()


def normalised_rmse(output: Tensor, target: Tensor, normaliser: str = "std") -> float:
    """Task-Normalized RMSE (AdaTask, Table 2), which the paper takes from GradNorm and writes no formula for.

    Args:
        normaliser: what the RMSE is divided by. "std": the standard deviation of the targets, over all their entries:
            1 is what their mean as the only answer gets. "rms": the root mean square of the targets, the RMSE of a
            network that still answers 0, so that the number is near GradNorm's ratio to the loss at the start. "none":
            1.

    Raises:
        BadOption: an unknown normaliser.
    """
    one_of(NORMALISERS, normaliser=normaliser)
    target = target.double()
    error = rmse(output, target)
    if normaliser == "std":
        return error / (target - target.mean()).square().mean().sqrt().item()
    return error / target.square().mean().sqrt().item() if normaliser == "rms" else error


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve, exactly: the share of (positive, negative) pairs in order, ties counted half.

    Args:
        scores: (samples,), any monotone score of the positive class.
        labels: (samples,), 0 or 1.

    Returns:
        NaN when all labels are the same: there is no pair.

    >>> auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 1, 0, 1]))
    0.875
    """
    positive = labels == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    _, place, sizes = torch.unique(scores, return_inverse=True, return_counts=True)
    last = sizes.cumsum(0)
    ranks = last.double() - (sizes.double() - 1) / 2  # of each distinct score: the mean rank of its ties, from 1
    wins = ranks[place][positive].sum().item() - count * (count + 1) / 2
    return float(wins / (count * others))
