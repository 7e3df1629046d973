"""Several runs side by side: their scores, and what was measured of their gradients and updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.alignment import alignment
from dominance.analyse.study.about import About, about
from dominance.analyse.study.delta import delta
from dominance.analyse.study.scores import FINAL, events, final_scores
from dominance.analyse.summary import Overview, overview
from dominance.analyse.verdict.doubts import distrusted
from dominance.deltas import Directions
from dominance.errors import BadData, BadOption, NothingRecorded

AGAINST = {"single": ("mocograd", "pub"), "joint": ("adatask",)}
"""Which paper's measure is said of which baseline."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over runs; NaN of a single one."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of the values that are known."""
        known = np.array([value for value in values if np.isfinite(value)])
        std = float(np.std(known, ddof=1)) if len(known) > 1 else np.nan
        return cls(float(known.mean()) if len(known) else np.nan, std)


@dataclass(frozen=True)
class Repeats:
    """Repeats of one training, together.

    Attributes:
        label: the method, with what else tells it from the others; the run's name where it says no method.
        runs: names.
        scores: (task, metric) -> final scores.
        deltas: kind -> relative change against the baseline; see :func:`delta`.
        directions: (task, metric) -> whether higher is better, where that is known.
        mean_gcd: over steps and pairs of tasks, in the whole trunk.
        effective_tasks: of the whole trunk, at the last usable step.
        diff: Diff of the mean similarities (PUB, Eq. 1).
        notes: what could not be said, and why.
        doubts: run -> why its gradients and updates cannot be trusted; without those that can be.
    """

    label: str
    runs: list[str]
    scores: dict[tuple[str, str], Spread]
    directions: dict[tuple[str, str], bool]
    mean_gcd: Spread
    effective_tasks: Spread
    diff: Spread
    deltas: dict[str, Spread] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        scores: dict[str, Any] = {}
        for (task, metric), spread in self.scores.items():
            scores.setdefault(task, {})[metric] = vars(spread)
        rest = {name: vars(getattr(self, name)) for name in ("mean_gcd", "effective_tasks", "diff")}
        deltas = {kind: vars(spread) for kind, spread in self.deltas.items()}
        said = {"notes": self.notes, "doubts": {run: list(why) for run, why in self.doubts.items()}}
        return {"label": self.label, "runs": self.runs, "scores": scores, "delta": deltas, **rest, **said}


def comparison(
    runs: Mapping[str, xr.DataTree],
    *,
    baseline: Any = None,
    higher_is_better: Directions | None = None,
    seen: Mapping[str, Overview] | None = None,
) -> list[Repeats]:
    """A row for each training, with the runs that differ in their seeds alone taken together.

    Args:
        runs: by name.
        baseline: what :func:`delta` takes: single-task runs, for MoCoGrad's and PUB's Δ; or joint runs, for AdaTask's.
        higher_is_better: direction of metrics that the runs do not declare.
        seen: the ``overview`` of each run, where it was measured already.

    Raises:
        NothingRecorded: a run holds no usable step.
    """
    groups: dict[Any, dict[str, xr.DataTree]] = {}
    for name, run in runs.items():
        said = about(run)
        key: Any = (said.benchmark, said.method, said.architecture, said.tasks, said.training) if said.method else name
        groups.setdefault(key, {})[name] = run
    labels = _labels([(next(iter(group)), about(next(iter(group.values())))) for group in groups.values()])
    rows = [
        _row(label, group, baseline, higher_is_better, seen or {})
        for label, group in zip(labels, groups.values(), strict=True)
    ]
    if len(rows) > 1 and not any(row.scores for row in rows):
        for row in rows:
            row.notes.clear()
        rows[0].notes.append("none of these runs logged scores of the split 'final'")
    return rows


def _row(
    label: str,
    group: Mapping[str, xr.DataTree],
    baseline: Any,
    higher_is_better: Directions | None,
    seen: Mapping[str, Overview],
) -> Repeats:
    notes: list[str] = []
    scores: dict[tuple[str, str], Spread] = {}
    ways: dict[tuple[str, str], bool] = {}
    deltas: dict[str, Spread] = {}
    scored = {name: run for name, run in group.items() if (events(run)["split"] == FINAL).any()}
    if len(scored) < len(group):
        notes.append(f"{len(group) - len(scored)} of {len(group)} runs of {label} logged no final scores")
    if scored:
        table = final_scores(scored, higher_is_better=higher_is_better)
        for task in map(str, table["task"].values):
            for metric in map(str, table["metric"].values):
                values = table["value"].sel(task=task, metric=metric).to_numpy()
                if np.isfinite(values).any():
                    scores[task, metric] = Spread.of(values.tolist())
                    if way := str(table["direction"].sel(task=task, metric=metric).item()):
                        ways[task, metric] = way == "higher"
        for kind in () if baseline is None else AGAINST[_side(baseline)]:
            try:
                found = delta(scored, baseline, kind=kind, higher_is_better=higher_is_better)
            except (NothingRecorded, BadData, BadOption) as error:
                notes.append(f"no Δ of {label}: {error}")
                break
            deltas[kind] = Spread.of(found["delta_by_run"].to_numpy().tolist())
    views = [seen.get(name) or overview(run) for name, run in group.items()]
    return Repeats(
        label,
        list(group),
        scores,
        ways,
        Spread.of([_mean(view.trunk_conflict["mean_gcd"]) for view in views]),
        Spread.of([float(view.trunk["effective_tasks"][-1, 0]) for view in views]),
        Spread.of([float(alignment(run, by="all")["diff_of_means"]) for run in group.values()]),
        deltas,
        notes,
        {name: why for name, run in group.items() if (why := distrusted(run))},
    )


def _side(baseline: Any) -> str:
    """Whether the baseline is of joint runs."""
    inside = list(baseline.values()) if isinstance(baseline, Mapping) and not _is_run(baseline) else baseline
    runs = inside if isinstance(inside, list | tuple) else [inside]
    return "joint" if all(_is_run(run) and len(run.attrs["tasks"]) > 1 for run in runs) else "single"


def _is_run(thing: Any) -> bool:
    return isinstance(thing, xr.DataTree)


def _mean(values: xr.DataArray) -> float:
    known = values.to_numpy()[np.isfinite(values.to_numpy())]
    return float(known.mean()) if len(known) else np.nan


def _labels(rows: list[tuple[str, About]]) -> list[str]:
    """The method, and what else is not the same for all; the run's name where that is not enough."""
    varying = [
        fact for fact in ("benchmark", "architecture", "tasks") if len({getattr(said, fact) for _, said in rows}) > 1
    ]
    found = []
    for name, said in rows:
        rest = [getattr(said, fact) for fact in varying]
        words = [said.method, *(",".join(one) if isinstance(one, tuple) else one for one in rest)]
        found.append(" ".join(filter(None, words)) if said.method else name)
    options = [set(said.training) for _, said in rows]
    common = set.intersection(*options) if options else set()
    twice = {label for label in found if found.count(label) > 1}
    for i, (label, (name, _)) in enumerate(zip(found, rows, strict=True)):
        if label in twice:
            own = sorted(f"{option} {value}" for option, value in options[i] - common)
            found[i] = f"{label} ({', '.join(own) or name})"
    return [
        label if found.count(label) == 1 else f"{label} {name}" for label, (name, _) in zip(found, rows, strict=True)
    ]
