"""Weights that published formulas would give to the groups of a mixture, beside those that they have."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.gradient_windows import GradientWindows, span_of, window_sums
from dominance.analyse.grams import grams
from dominance.analyse.group_shares import GroupCounts, group_counts, step_shares
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels import mixture as formulas
from dominance.analyse.kernels.certainty import jackknife_error
from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption, NothingRecorded

Floats = NDArray[np.float64]

ALIKE = "all alike"
"""What ``attrs["target"]`` says where the target of DGA is the mean of all groups' gradients."""


@over_runs
def mixture(
    run: PreparedRun, *, target: str | None = None, window: int = 10, max_span: int | None = None
) -> xr.Dataset:
    """The sampling weights that PiKE and DGA would give to groups of examples, from the mixture that was trained on.

    Both are one update of these methods, as if switched on there: from the present shares w, which were the ones when
    the gradients were recorded. What further updates would do depends on the training that follows them.

    - PiKE (Li et al. 2025, arXiv 2502.06244, Algorithm 1): w_k exp(ζ₁ |∇L_k|² - ζ₂ σ_k² / (2 b)): more of the groups
      with long gradients, less of those with noisy ones. It assumes that gradients do not conflict; ``attrs`` say
      how far they do (its c, Definition 3.1).
    - DGA (Fan et al. 2024, arXiv 2410.02498): w_k exp(η <∇L_k, ∇L_target>): more of the groups whose gradients point
      along that of a target. Without the moving average over updates.

    From a run: the loss is taken for a mean over the examples, so that a group's effective gradient, divided by its
    share of the batch, is the mean of its examples' gradients. |∇L_k|² and σ_k², the trace of the covariance of one
    example's gradient, are told apart within windows of nearby steps, as in ``noise_scale``; inner products of two
    groups are exact, and free of bias since no example is in both. Only shared layers count. The papers tune their step
    sizes. Here ζ₁ is one over the groups' mean |∇L_k|², η one over their mean |<∇L_k, ∇L_target>|, and ζ₂ / ζ₁, in the
    paper the step size times the smoothness of the loss, is what makes PiKE's own bound on the loss (Theorem 3.4) fall
    most.

    Where tasks are terms of the loss, the weights are those of the losses, and DGA's alone: PiKE weighs samples, and
    terms have all samples in common. Inner products of two terms then contain what their noise has in common.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        target: the group whose loss is what counts for DGA; default the mean of all groups' losses.
        window, max_span: as in ``noise_scale``.

    Returns:
        Over ``task``, the groups alone; shares between 0 and 1, of which each kind adds up to 1:

        - ``present`` (window, task): share of the examples (or tokens), or of the weights of the losses
        - ``gradient``, ``update`` (window, task): share of the groups' squared gradients and updates
        - ``pike``, ``dga`` (window, task): what the formulas give there; NaN where a group lacks a gradient
        - ``mean_present``, ``mean_gradient``, ``mean_update`` (task): over all these steps
        - ``mean_pike``, ``mean_dga`` (task): from the means over the windows of what the formulas need,
          in units of the whole gradient there
        - ``pike_se``, ``dga_se`` (task): standard errors, by leaving out each window in turn
        - ``squared_gradient``, ``variance``, ``alignment`` (window, task): |∇L_k|², σ_k², <∇L_k, ∇L_target>

        with ``first_step`` and ``last_step`` of each window. ``attrs``: ``weights`` ("sampling" or "loss"), ``unit``,
        ``target``, ``batch`` (examples a step), ``step`` (ζ₂ / ζ₁), ``conflict`` (c), ``alignment`` (the largest
        cosine), ``left_out`` (tasks that are no groups, or too rare to tell), and how many steps were used.

    Raises:
        BadOption: ``target`` is no group, or the window is too short.
        NothingRecorded: no step, fewer than two groups, no two gradients within ``max_span``, no gradient that is told
            from its noise, or losses whose weights are not known or not above 0.

    >>> from dominance import mixture
    >>> found = mixture(run)  # two terms of a loss: gradients of a: -1, -2; of b: 0, 1
    >>> found.mean_dga.values.round(2), found.attrs["weights"]  # e against 1/e, as <a, (a + b) / 2> = 1/2
    (array([0.88, 0.12]), 'loss')
    """
    span = span_of(window, max_span)
    run.require_steps()
    counts = group_counts(run)
    looked = GradientWindows(run, window, span)
    names, members, found = measured(run, counts, looked)
    if len(members) < 2:
        raise _too_few(run, counts, names)
    toward = _toward(target, [str(run.tasks[i]) for i in members], names)
    if not (found.overall().squared[0] > 0).any():
        raise NothingRecorded(
            f"{run.where}: no gradient is told from its noise", fix="record longer bursts (`--burst 20`)"
        )
    data, attrs = _weights(found, toward, sampling=counts is not None)
    shares = step_shares(run, members)
    for name, values in shares.items():
        data[name] = ("window", "task"), _by_window(values, looked)
        data[f"mean_{name}"] = "task", known_mean(values[looked.place >= 0])
    attrs |= {
        "weights": "loss" if counts is None else "sampling",
        "unit": "" if counts is None else counts.unit,
        "target": ALIKE if target is None else target,
        "left_out": [str(task) for i, task in enumerate(run.tasks) if i not in set(members.tolist())],
        "window": window,
        "max_span": span,
        **looked.attributes(),
    }
    coords = {key: value for key, value in looked.coords().items() if key != "steps"}
    return xr.Dataset(data, coords={**coords, "task": run.tasks[members]}, attrs=attrs)


def measured(
    run: PreparedRun, counts: GroupCounts | None, looked: GradientWindows
) -> tuple[list[str], NDArray[np.int64], Estimates]:
    """Names of the groups (or terms, without counts), the places of those that can be told, and what these have."""
    parts = _of_terms(run) if counts is None else _of_groups(counts)
    found = _estimates(run, looked, parts)
    members = parts.members[np.isfinite(found.squared[:, parts.members]).any(axis=0)]
    return [str(run.tasks[i]) for i in parts.members], members, found.of(members)


@dataclass(frozen=True)
class Estimates:
    """What the formulas need, by window; or of all windows and, in their place, without each of them in turn.

    Attributes:
        weight: (window,) steps in it.
        present: (window, task) examples; or sums of weights.
        squared, variance: (window, task).
        inner: (window, task, task_other), ``squared`` on its diagonal.
        batch: (window,) examples a step.
        size: (window,) mean square of the whole gradient: gradients shrink in training, and the means over windows are
            of what each window has in this unit.
    """

    weight: Floats
    present: Floats
    squared: Floats
    variance: Floats
    inner: Floats
    batch: Floats
    size: Floats

    def of(self, members: NDArray[np.int64]) -> Estimates:
        """Those of some tasks."""
        squared, variance = self.squared[:, members], self.variance[:, members]
        inner = self.inner[:, members[:, None], members]
        return replace(self, present=self.present[:, members], squared=squared, variance=variance, inner=inner)

    def within(self, windows: NDArray[np.bool_]) -> Estimates:
        """Those of some windows."""
        return Estimates(*(getattr(self, each.name)[windows] for each in fields(self)))

    def overall(self) -> Estimates:
        """Of all windows together, then without each of them in turn; these stand in the place of the windows."""
        found = {name: self._means((getattr(self, name).T / self.size).T) for name in ("squared", "variance", "inner")}
        present = self.present.sum(axis=0) - np.concatenate([0 * self.present[:1], self.present])
        batch = self._means(self.batch)
        return replace(
            self, weight=np.ones(len(batch)), present=present, batch=batch, size=np.ones(len(batch)), **found
        )

    def _means(self, values: Floats) -> Floats:
        """Over the first axis, of what is finite, each window weighing as many steps as it has: of all, and without
        each window in turn."""
        known = np.isfinite(values)
        weight = known * self.weight.reshape(-1, *(1,) * (values.ndim - 1))
        weighted = weight * np.where(known, values, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = weighted.sum(axis=0) / weight.sum(axis=0)
            return np.concatenate([whole[None], (weighted.sum(axis=0) - weighted) / (weight.sum(axis=0) - weight)])


@dataclass(frozen=True)
class _Parts:
    """What the mixture is of.

    Attributes:
        members: places of the groups, or terms, among the tasks.
        seen: (step, task) how many examples each has; of terms whether it took part, 1 or 0.
        factor: (step, task) what makes of effective gradients sums over examples; of terms, gradients without weight.
        weight: (step, task) what the present shares are of.
    """

    members: NDArray[np.int64]
    seen: Floats
    factor: Floats
    weight: Floats


def _of_groups(counts: GroupCounts) -> _Parts:
    members = np.flatnonzero(np.isfinite(counts.values).any(axis=0)).astype(np.int64)
    seen = np.nan_to_num(counts.values)
    factor = np.zeros_like(seen)
    factor[:, members] = seen.sum(axis=1, keepdims=True)
    return _Parts(members, seen, factor, seen)


def _of_terms(run: PreparedRun) -> _Parts:
    weight = run["loss/weight"].to_numpy()
    there = ~run.absent
    for task, column, part in zip(run.tasks, weight.T, there.T, strict=True):
        used = column[part]
        if not np.isfinite(used).any():
            raise NothingRecorded(
                f"{run.where}: the weight of {task} in the loss is not known",
                fix="record the plain sum of the losses, without a method that bends gradients",
            )
        if (used[np.isfinite(used)] <= 0).any():
            raise NothingRecorded(f"{run.where}: the weight of {task} in the loss is not above 0 at every step")
    known = there & np.isfinite(weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(known, 1 / weight, 0.0)
    return _Parts(np.arange(len(run.tasks)), known.astype(np.float64), factor, weight)


def _estimates(run: PreparedRun, looked: GradientWindows, parts: _Parts) -> Estimates:
    """Of all tasks; those that are no groups have NaN."""
    windows, tasks = looked.count.shape
    rows = np.flatnonzero(looked.place >= 0)
    at = looked.place[rows]
    used = np.where(looked.present, parts.seen, 0)[rows]
    scaled = np.where(looked.present & (parts.seen > 0), parts.factor, 0.0)
    members = parts.members

    def total(values: Floats) -> Floats:
        found = np.zeros((windows, *values.shape[1:]))
        np.add.at(found, at, values)
        return found

    sums, scale = window_sums(run, looked, factor=scaled)
    with np.errstate(invalid="ignore"):
        whole, each = (sums * scale).sum(axis=2)
    squared, variance = formulas.moments(whole, each, total(used), total(used**2))
    every = grams(run, "all")
    gram = np.zeros((len(looked.place), tasks, tasks))
    gram[~run.superseded] = every.values[:, 0]
    pairs = scaled[rows, :, None] * scaled[rows, None]
    inner = total(np.where(pairs > 0, gram[rows] * pairs, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        inner /= total(used[:, :, None] * used[:, None])
    inner[:, np.arange(tasks), np.arange(tasks)] = squared
    steps = np.bincount(at, minlength=windows).astype(np.float64)
    batch = total(used).sum(axis=1) / steps
    inside = np.nan_to_num(gram[rows[:, None, None], members[:, None], members])
    size = total(inside.sum(axis=(1, 2))) / steps
    return Estimates(steps, total(np.nan_to_num(parts.weight[rows])), squared, variance, inner, batch, size)


def _weights(found: Estimates, toward: Floats, *, sampling: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables of the result but the shares of gradient and update, and attributes."""
    data: dict[str, Any] = {}
    by_window, whole = (("window", "task"), found), (("task",), found.overall())
    attrs: dict[str, Any] = {}
    for dims, estimates in (by_window, whole):
        with np.errstate(invalid="ignore", divide="ignore"):
            present = estimates.present / estimates.present.sum(axis=-1, keepdims=True)
        alignment = estimates.inner @ toward
        step = formulas.best_step(present, estimates.squared, estimates.variance, estimates.batch)
        pike = formulas.pike(present, estimates.squared, estimates.variance, estimates.batch, step)
        given = {"pike": pike if sampling else np.full_like(pike, np.nan), "dga": formulas.dga(present, alignment)}
        if dims == ("task",):
            data["mean_present"] = dims, present[0]
            for name, values in given.items():
                data[f"mean_{name}"] = dims, values[0]
                data[f"{name}_se"] = dims, np.array([jackknife_error(column) for column in values[1:].T])
            conflict, aligned = formulas.conflict_and_alignment(estimates.inner[0])
            attrs = {"conflict": conflict, "alignment": aligned}
            attrs |= {"step": float(step[0]), "batch": float(estimates.batch[0])} if sampling else {}
        else:
            moments = {"squared_gradient": estimates.squared, "variance": estimates.variance, "alignment": alignment}
            data |= {name: (dims, values) for name, values in {"present": present, **given, **moments}.items()}
    return data, attrs


def _by_window(values: Floats, looked: GradientWindows) -> Floats:
    """Means of (step, task) over the steps of each window."""
    return np.stack([known_mean(values[looked.place == number]) for number in range(len(looked.count))])


def _toward(target: str | None, kept: list[str], names: list[str]) -> Floats:
    """How much of each group's loss is in the target's."""
    if target is None:
        return np.full(len(kept), 1 / len(kept))
    if target not in kept:
        why = "is too rare to be told from its noise" if target in names else "is no group of this run"
        raise BadOption(f"target {target!r} {why}", fix=f"choose from {', '.join(kept)}")
    return np.array([float(name == target) for name in kept])


def _too_few(run: PreparedRun, counts: GroupCounts | None, names: list[str]) -> NothingRecorded:
    if len(names) > 1:
        return NothingRecorded(
            f"{run.where}: no two of {', '.join(names[:5])} have gradients at two steps near each other",
            fix="record in bursts (`--burst 10`), or say max_span=",
        )
    what = "group" if counts is not None else "task"
    return NothingRecorded(
        f"{run.where}: a mixture has several groups, and this run has one {what}{f' ({names[0]})' * bool(names)}",
        fix="record groups of examples: `dominance record --groups KEY`",
    )
