"""How much the gradients of two tasks conflict, and in which layers (MoCoGrad, Definition 3)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr

from dominance.analyse.grams import ByLayer, Grams, grams
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.kernels.gcd import gcd as degree
from dominance.analyse.kernels.special import t_quantile
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption, NothingRecorded


@over_runs
def gcd(run: PreparedRun, *, by: ByLayer = "layer") -> xr.Dataset:
    """Gradient conflict degree of every pair of tasks in the shared layers: 1 - cos of the angle of their gradients.

    From the Gram matrices, which are exact over all coordinates of a layer, sampled or not. The gradients are the
    effective ones (what the optimizer is fed); a positive loss weight does not change an angle. A layer with parameters
    that only one task reaches counts them too: they lengthen that task's gradient.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: "layer"; "all": the Gram matrices summed over the shared layers, the angle in the whole trunk; or a mapping
            from labels to globs of shared layers, {"encoder": "encoder.*"}, or a list of globs, for the angle in each
            such part.

    Returns:
        Along ``step``, ``layer`` and the pairs of tasks:

        - ``gcd`` (step, layer, task, task_other): 0 same direction, 1 at right angles, 2 opposite. NaN where a task has
          no gradient in the layer (or none that is finite), at steps that the optimizer skipped, and on the diagonal:
          the degree is defined for two different tasks.
        - ``conflict_share`` (layer, task, task_other): share of the steps with GCD > 1, of those that have one.
        - ``mean_gcd`` (layer, task, task_other): mean over the same steps.
        - ``any_conflict_share`` (layer): share of the steps at which any two tasks conflict, of those with a degree.

    Raises:
        BadOption: ``by`` is none of these.
        NothingRecorded: no step, or no layer that two tasks share.

    >>> from dominance import gcd
    >>> found = gcd(run)  # gradients (-1, 0), then (-2, 1)
    >>> found.gcd.sel(task="a", task_other="b", layer="trunk").values
    array([nan,  2.])
    >>> float(found.conflict_share.sel(task="a", task_other="b", layer="trunk"))
    1.0
    """
    return degrees(grams(run, by), run)


def degrees(found: Grams, run: PreparedRun) -> xr.Dataset:
    """:func:`gcd` from Gram matrices that are known already."""
    values = degree(found.values)
    known = np.isfinite(values)
    number = known.sum(axis=0)
    over = known & (values > 1)
    with np.errstate(invalid="ignore"):
        conflicts = over.sum(axis=0) / number
        mean = np.where(known, values, 0).sum(axis=0) / number
        any_conflict = over.any(axis=(2, 3)).sum(axis=0) / known.any(axis=(2, 3)).sum(axis=0)
    dims = ("layer", "task", "task_other")
    tasks = run.tasks
    return xr.Dataset(
        {
            "gcd": (("step", *dims), values),
            "conflict_share": (dims, conflicts),
            "mean_gcd": (dims, mean),
            "any_conflict_share": ("layer", any_conflict),
        },
        coords={"step": found.steps, "layer": found.layers, "task": tasks, "task_other": tasks},
        attrs=found.attrs | {"steps_with_a_degree": int(known.any(axis=(1, 2, 3)).sum())},
    )


@over_runs
def conflict_layers(
    run: PreparedRun,
    *,
    threshold: float = 1.0,
    top: int | None = None,
    by: ByLayer = "layer",
    confidence: float = 0.95,
) -> xr.Dataset:
    """Which layers conflict, for which two tasks: all of them, from the largest mean GCD to the smallest.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        threshold: S: a GCD above it is a conflict, 1 as in MoCoGrad. In cosines, as Recon (Shi et al. 2023) has it, it
            is 1 - S.
        top: keep only so many; default all.
        by: as in :func:`gcd`.
        confidence: that no row is called a conflict by chance, between 0.5 and 1: the bounds hold for all rows at once
            (Bonferroni).

    Returns:
        Along ``place`` (1, 2, ...), with ``layer``, ``task`` and ``task_other`` beside it (``to_dataframe`` gives the
        table):

        - ``mean_gcd``: mean over the steps that have a degree; ``steps``: how many.
        - ``mean_gcd_se``: its standard error by batch means, as steps near each other are not independent. It contains
          what changed in the course of training. NaN for fewer than 4 steps.
        - ``lower``: lower bound of the mean, mean - t · se: t of the confidence, one-sided, shared by all rows before
          ``top``, with one degree of freedom less than there are batches (about √steps).
        - ``conflict``: whether ``lower`` > threshold: on average they conflict, and not by chance.
        - ``conflict_share``: share of the steps with GCD > threshold.
        - ``layer_share``: the same over all pairs of the layer: Recon's score of a layer, as a share.

        ``attrs`` count the pairs that never had a degree (``left_out_without_degree``) or that ``top`` cut off.

    Raises:
        BadOption: an option is out of range.
        NothingRecorded: no step, no layer that two tasks share, or no two gradients in one layer at one step.

    >>> from dominance import conflict_layers
    >>> found = conflict_layers(run)
    >>> print(found[["layer", "task", "task_other", "mean_gcd", "steps"]].to_dataframe().to_string(index=False))
    layer task task_other  mean_gcd  steps
    trunk    a          b       2.0      1
    """
    if not 0 <= threshold < 2:
        raise BadOption(f"threshold={threshold} is no GCD that can be exceeded", fix="give a number from 0 to 2")
    if not 0.5 <= confidence < 1:
        raise BadOption(f"confidence={confidence} is no confidence", fix="give a number from 0.5 to 1, such as 0.95")
    if top is not None and top < 1:
        raise BadOption(f"top={top} keeps nothing", fix="give 1 or more")
    found = grams(run, by)
    tasks = run.tasks
    pairs = np.array(list(combinations(range(len(tasks)), 2)), dtype=np.int64).reshape(-1, 2)
    values = degree(found.values)[..., pairs[:, 0], pairs[:, 1]]  # (step, layer, pair)
    known = np.isfinite(values)
    number = known.sum(axis=0)
    if not known.any():
        raise NothingRecorded(f"{run.where}: no two tasks have gradients in one layer at the same step")
    mean, error, batches = batch_means(values)
    level = 1 - 2 * (1 - confidence) / int((number > 0).sum())  # of both tails
    t = {int(b): t_quantile(level, int(b) - 1) for b in np.unique(batches[batches > 0])}
    lower = mean - np.vectorize(lambda b: t.get(int(b), np.nan), otypes=[float])(batches) * error
    over = (known & (values > threshold)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        layer_share = np.broadcast_to((over.sum(axis=1) / number.sum(axis=1))[:, None], over.shape)
    layer, pair = np.nonzero(number)
    order = np.argsort(-mean[layer, pair], kind="stable")[:top]
    at = (layer[order], pair[order])
    return xr.Dataset(
        {
            "mean_gcd": ("place", mean[at]),
            "mean_gcd_se": ("place", error[at]),
            "lower": ("place", lower[at]),
            "conflict": ("place", lower[at] > threshold),
            "conflict_share": ("place", over[at] / number[at]),
            "layer_share": ("place", layer_share[at]),
            "steps": ("place", number[at]),
        },
        coords={
            "place": np.arange(1, len(order) + 1),
            "layer": ("place", np.array(found.layers, dtype=object)[at[0]]),
            "task": ("place", tasks[pairs[at[1], 0]]),
            "task_other": ("place", tasks[pairs[at[1], 1]]),
        },
        attrs=found.attrs
        | {
            "threshold": threshold,
            "confidence": confidence,
            "left_out_without_degree": int((number == 0).sum()),
            "left_out_by_top": len(layer) - len(order),
        },
    )
