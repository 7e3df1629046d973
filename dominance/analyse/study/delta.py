"""How much better or worse over all tasks than a baseline: the measures of the three papers, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from dominance import deltas
from dominance.analyse.kernels import t_test
from dominance.analyse.kernels.t_test import Difference
from dominance.analyse.runs import Runs, runs_of
from dominance.analyse.study.about import about, coordinates, directions, labels
from dominance.analyse.study.repeats import partners, require_repeats
from dominance.analyse.study.scores import FINAL, Take, final_scores, tables
from dominance.analyse.study.single import Single
from dominance.analyse.study.tci import singles_of
from dominance.deltas import Directions, Table, declare
from dominance.errors import BadOption

KINDS: Mapping[str, Callable[[Table, Table, Directions], float]] = {
    "mocograd": deltas.delta_big_m,
    "adatask": deltas.delta_p,
    "pub": deltas.delta_m,
}


def delta(
    joint: Runs,
    baseline: Runs | Single,
    *,
    kind: str = "mocograd",
    split: str = FINAL,
    take: Take = "last",
    higher_is_better: Directions | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """The relative change over all tasks against a baseline, as one of the three papers defines it.

    - "mocograd": Δ_M (MoCoGrad, Eq. 27), against single-task runs; mean over all metrics; positive is better
    - "adatask": Δp (AdaTask), against joint training with equal weights; mean over all metrics; positive is better
    - "pub": Δm (PUB, Sec. VI), against single-task runs; mean over a task's metrics, then over tasks;
      NEGATIVE is better

    The formulas are in ``dominance.deltas``. What the baseline is, is yours to choose: any of them takes joint runs or
    single-task runs.

    Args:
        joint: a run of several tasks, or repeats of it with other seeds.
        baseline: joint runs (one or repeats), or single-task runs in the forms that :func:`tci` takes.
        kind: whose formula.
        split, take: which values are the scores, as in :func:`final_scores`.
        higher_is_better: direction of metrics that the runs do not declare: {metric: bool}, or {task: {metric: bool}}.
            Metrics that have none are not compared; ``attrs`` names them.
        level: of the interval.

    Returns:
        A share (0.01 is 1 %):

        - ``delta``: mean over the joint runs; ``low``, ``high``: interval of t, NaN where one side has a single run.
        - ``delta_by_run`` (run): against the baseline of the same seed if both sides have the same seeds, else against
          the mean of the baseline's scores. Then its spread is part of the interval, by the jackknife.

        ``attrs``: kind, ``better`` ("higher" or "lower"), n_joint, n_baseline, paired, left_out_no_direction.

    Raises:
        BadOption: ``kind`` is unknown, a side differs in more than its seeds, or no direction is known.
        BadData: a score that one side has is missing on the other, or the baseline's is 0.
        NothingRecorded: a task has no single-task run, or there are no scores.

    >>> from dominance import delta
    >>> delta(joint, single).delta.item()  # error: 0 and -200 %; auc: +50 % and 0
    -0.375
    """
    if kind not in KINDS:
        raise BadOption(f"kind={kind!r} is unknown", fix=f"choose from {', '.join(KINDS)}")
    named = runs_of(joint)
    require_repeats(named, "joint")
    options = {"split": split, "take": take, "higher_is_better": higher_is_better}
    ours = tables(final_scores(named, **options))  # type: ignore[arg-type]
    groups = _groups(baseline, named)
    theirs = [tables(final_scores(runs, **options)) for runs in groups]  # type: ignore[arg-type]
    ways, left_out = _ways(named, ours, higher_is_better)

    def measure(scores: Table, base: Table) -> float:
        return KINDS[kind](scores, base, ways)

    seeds = [about(run).seed for run in named.values()]
    orders = [partners(seeds, [about(run).seed for run in runs.values()]) for runs in groups]
    if all(order is not None for order in orders):
        found = []
        for i, scores in enumerate(ours.values()):
            base: dict[str, Mapping[str, float]] = {}
            for order, group in zip(orders, theirs, strict=True):
                if order is not None:
                    base |= list(group.values())[order[i]]
            found.append(measure(scores, base))
        compared = t_test.mean(np.array(found))
    else:
        found = [measure(scores, _mean(theirs)) for scores in ours.values()]
        compared = _unpaired(np.array(found), list(ours.values()), theirs, measure)
    low, high = compared.interval(level)
    return xr.Dataset(
        {
            "delta": compared.value,
            "low": low,
            "high": high,
            "delta_by_run": ("run", np.array(found)),
        },
        coords={"run": labels(named), **coordinates(about(run) for run in named.values())},
        attrs={
            "kind": kind,
            "better": "lower" if kind == "pub" else "higher",
            "split": split,
            "take": take,
            "level": level,
            "n_joint": len(named),
            "n_baseline": min(map(len, groups)),
            "paired": all(order is not None for order in orders),
            "left_out_no_direction": left_out,
        },
    )


def delta_m(joint: Runs, single: Runs | Single, *, higher_is_better: Directions | None = None) -> xr.Dataset:
    """PUB's Δm of the final scores, against single-task runs: :func:`delta` with ``kind="pub"``. Lower is better.

    >>> from dominance import delta_m
    >>> delta_m(joint, single).delta.item()
    0.375
    """
    return delta(joint, single, kind="pub", higher_is_better=higher_is_better)


def _groups(baseline: Runs | Single, joint: Mapping[str, xr.DataTree]) -> list[dict[str, xr.DataTree]]:
    """The baseline as groups of repeats: one of joint runs, or one for each task alone."""
    tasks = {task for run in joint.values() for task in run.attrs["tasks"]}
    whole = _whole(baseline, tasks)
    if whole is None:
        return list(singles_of(baseline, joint).values())  # type: ignore[arg-type]
    require_repeats(whole, "baseline")
    return [whole]


def _whole(baseline: Runs | Single, tasks: set[str]) -> dict[str, xr.DataTree] | None:
    """The baseline as runs that each have all the tasks; None if it is made of single-task runs."""
    inside = (
        list(baseline.values()) if isinstance(baseline, Mapping) and not isinstance(baseline, xr.DataTree) else baseline
    )
    runs = inside if isinstance(inside, list | tuple) else [inside]
    if not all(isinstance(run, xr.DataTree) and tasks <= set(run.attrs.get("tasks", ())) for run in runs):
        return None
    return dict(runs_of(baseline))  # type: ignore[arg-type]


def _ways(
    named: Mapping[str, xr.DataTree], scores: Mapping[str, Table], given: Directions | None
) -> tuple[dict[str, dict[str, bool]], list[str]]:
    """Direction of every metric that the joint runs have, by task; and the metrics without one."""
    found: dict[str, dict[str, bool]] = {}
    left_out: set[str] = set()
    for name, run in named.items():
        known = directions(run, given)
        for task, metrics in scores[name].items():
            for metric in metrics:
                if (task, metric) in known:
                    found.setdefault(task, {})[metric] = known[task, metric]
                else:
                    left_out.add(metric)
    if not found:
        raise BadOption(
            f"the runs do not say which direction of {', '.join(sorted(left_out)) or 'a metric'} is better",
            fix=declare(min(left_out, default="auc")),
        )
    return found, sorted(left_out)


def _mean(groups: list[dict[str, dict[str, dict[str, float]]]]) -> dict[str, dict[str, float]]:
    """Scores of the mean run: of each task and metric, over the runs of its group."""
    found: dict[str, dict[str, float]] = {}
    for group in groups:
        values: dict[tuple[str, str], list[float]] = {}
        for table in group.values():
            for task, metrics in table.items():
                for metric, value in metrics.items():
                    values.setdefault((task, metric), []).append(value)
        for (task, metric), each in values.items():
            found.setdefault(task, {})[metric] = float(np.mean(each))
    return found


def _unpaired(
    found: np.ndarray,
    ours: list[dict[str, dict[str, float]]],
    groups: list[dict[str, dict[str, dict[str, float]]]],
    measure: Callable[[Table, Table], float],
) -> Difference:
    """The spread over our runs against the mean baseline, and the jackknife's over each group of the baseline's."""
    n = len(found)
    parts: list[tuple[float, float]] = [(float(np.var(found, ddof=1)) / n if n > 1 else np.nan, n - 1)]
    for i, group in enumerate(groups):
        if (m := len(group)) < 2:
            parts.append((np.nan, 0))
            continue
        without = []
        for name in group:
            rest = [*groups[:i], {key: table for key, table in group.items() if key != name}, *groups[i + 1 :]]
            without.append(np.mean([measure(scores, _mean(rest)) for scores in ours]))
        parts.append(((m - 1) / m * float(np.sum((np.array(without) - np.mean(without)) ** 2)), m - 1))
    return t_test.joined(float(np.mean(found)), parts)
