"""Tables of scores by method, as the papers have them on real data: on that data, or on what stands in for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import xarray as xr

from dominance.analyse.study.delta import delta
from dominance.analyse.study.scores import final_scores
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Training
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.table import Table
from dominance.papers.values import AVERAGE, INTERVAL, Estimate, average

SYMBOLS = {"mocograd": "Δ_M", "adatask": "Δp", "pub": "Δm"}
_WIDE = 5
"""With more columns than this the intervals of the single scores are left out: the CSV of a run has them."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        label: as the paper calls it.
        how: fields of ``Training``; all rows of a board name the same ones.
        against: label of the row that it is compared with; None: not compared.
        published: the paper's numbers, one for each column of ``Board.columns``, then Δ in percent.
        how_own: more fields, or others in their place, on the paper's data.
        when: it is trained: "full", on what stands in at full scale only; "own", on the paper's data only.
    """

    label: str
    how: Mapping[str, Any]
    against: str | None = None
    published: Sequence[float] = ()
    how_own: Mapping[str, Any] = field(default_factory=dict)
    when: Literal["always", "full", "own"] = "always"


@dataclass(frozen=True)
class Board:
    """A table of methods.

    Attributes:
        own: benchmark of the paper's data.
        own_how: fields of ``Training`` with it.
        stand_in: benchmark that takes its place; "" for none. The same one: other data in the same form stands in, or
            the data itself, see ``package``; the scale says how it is trained.
        stand_in_how: of a scale.
        package: module that brings the paper's data itself; without it, and without a folder, there is nothing to make.
        kind: of Δ, see ``dominance.delta``.
        columns: (task, metric) of the published numbers, in their order; (``AVERAGE``, metric) is the mean of the
            tasks, which then has a column.
        hero: label of the paper's method, which it claims to be the best; "" for no such claim.
        rivals: labels that it is compared with; empty: all.
    """

    name: str
    paper: str
    place: str
    title: str
    rows: Sequence[Row]
    kind: str
    own: str
    stand_in: str
    stands_for: str
    own_how: Mapping[str, Any] = field(default_factory=dict)
    stand_in_how: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    columns: Sequence[tuple[str, str]] = ()
    hero: str = ""
    says: str = ""
    rivals: Sequence[str] = ()
    seeds: Sequence[int] = (0, 1, 2)
    package: str = ""

    def needs(self, wish: Wish) -> list[Job]:
        """The rows' trainings with all seeds; none where there is neither the paper's data nor another."""
        own = self.own in wish.data and self.own != self.stand_in
        if own:
            benchmark, common = self.own, dict(self.own_how)
        elif self.stand_in and (not self.package or self.own in wish.data or find_spec(self.package)):
            benchmark, common = self.stand_in, dict(self.stand_in_how.get(wish.scale, {}))
        else:
            return []
        settings = wish.settings(benchmark, **common.pop("settings", {}))
        found = {}
        for row in self.rows:
            if row.when == "always" or own or (row.when == "full" and wish.scale == "full"):
                for seed in self.seeds:
                    job = Training(benchmark, seed=seed, settings=settings, **{**common, **_how(row, own=own)})
                    found[job.name] = job
        return list(found.values())

    def item(self, *more: Claim) -> Item:
        """With the claim that the paper's method is the best, if it makes it."""
        claims = (
            *((Claim(f"{self.name}-best", self.says, self.criterion(), self.judge),) if self.hero else ()),
            *more,
        )
        return Item(self.name, self.paper, self.place, self.title, self.needs, self.table, self.stands_for, claims)

    def criterion(self) -> str:
        """Of the claim that the paper's method is the best."""
        return (
            f"{self.hero}'s {SYMBOLS[self.kind]} over three seeds is better than that of every other method, and its"
            " 95 % interval lies on the better side of 0; partly: one of the two"
        )

    def runs(self, material: Material) -> dict[str, list[xr.DataTree]]:
        """Label -> its runs. Rows that are not always trained are left out where they were not.

        Raises:
            NothingRecorded: another row has none.
        """
        own = self.own != self.stand_in and any(run.attrs.get("benchmark") == self.own for run in material.runs)
        how = {row.label: _how(row, own=own) for row in self.rows}
        there = [row for row in self.rows if row.when == "always" or material.has(**how[row.label])]
        return {row.label: material.select(**how[row.label]) for row in there}

    def on_its_data(self, material: Material) -> bool:
        """Whether the runs are of the paper's own data."""
        shipped = self.own == self.stand_in and not self.package  # its form, and another's content unless data= is set
        return any(
            run.attrs.get("benchmark") == self.own
            and (not shipped or "data" in run.attrs.get("training", {}).get("settings", {}))
            for run in material.runs
        )

    def deltas(self, material: Material) -> dict[str, xr.Dataset]:
        """Label -> ``delta`` against the row that it is compared with."""

        def find() -> dict[str, xr.Dataset]:
            runs, found = self.runs(material), {}
            for row in self.rows:
                if row.label in runs and row.against is not None:
                    joint = {str(i): run for i, run in enumerate(runs[row.label])}
                    found[row.label] = delta(joint, _baseline(runs[row.against]), kind=self.kind)
            return found

        return material.once((self.name, "deltas"), find)

    def table(self, material: Material, backend: Any) -> Table:
        """Scores of each task and metric, Δ with its interval, and the paper's Δ, on the paper's data."""
        runs, deltas, own = self.runs(material), self.deltas(material), self.on_its_data(material)
        scored = {label: final_scores({str(i): run for i, run in enumerate(each)}) for label, each in runs.items()}
        rows, ways = [row for row in self.rows if row.label in runs], self._ways(scored.values())
        header, bold = ["method"], set()
        body: list[list[str]] = [[row.label] for row in rows]
        for (task, metric), way in ways.items():
            estimates = [_estimate(scored[row.label], task, metric) for row in rows]
            header.append(f"{task}\n{metric} {'↑' if way == 'higher' else '↓'}")
            best = _best(estimates, way)
            for number, (cells, one) in enumerate(zip(body, estimates, strict=True)):
                places = _places(one.mean)
                cells.append(one.text(places) if len(ways) <= _WIDE else f"{one.mean:.{places}f}")
                if one is best:
                    bold.add((number, len(header) - 1))
            if own and (task, metric) in self.columns:
                header.append("\npaper")
                for cells, row in zip(body, rows, strict=True):
                    cells.append(_published(row, self.columns.index((task, metric)), places))
        symbol = SYMBOLS[self.kind]
        header += [f"{symbol} (%)\n{'↓' if self.kind == 'pub' else '↑'} ours", f"{symbol} (%)\npaper"]
        for cells, row in zip(body, rows, strict=True):
            cells += [percent(deltas.get(row.label)), _published(row, len(self.columns), 2)]
        note = "" if len(ways) > _WIDE else INTERVAL
        theirs = "" if own else " The paper's is on its own data."
        note = f"{symbol}: mean over seeds, with its 95 % interval (Student's t).{theirs} {note}"
        return Table(header, body, note, frozenset(bold), backend)

    def _ways(self, scored: Iterable[xr.Dataset]) -> dict[tuple[str, str], str]:
        """(task, metric) of the columns, in order -> "higher" or "lower" is better."""
        scored = list(scored)
        pairs = dict.fromkeys(pair for found in scored for pair in _pairs(found))
        ways = {pair: _direction(scored, *pair) for pair in pairs}
        for task, metric in self.columns:
            if task == AVERAGE and (first := next((pair for pair in pairs if pair[1] == metric), None)):
                ways[task, metric] = ways[first]
        return ways

    def judge(self, material: Material) -> Judgement:
        """Whether the paper's method is the best."""
        found = self.deltas(material)
        sign = -1.0 if self.kind == "pub" else 1.0
        hero = found[self.hero]
        others = {
            label: float(one["delta"])
            for label, one in found.items()
            if label != self.hero and (not self.rivals or label in self.rivals)
        }
        best = max(others, key=lambda label: sign * others[label])
        first = sign * float(hero["delta"]) > sign * others[best]
        above = sign * float(hero["low" if sign > 0 else "high"]) > 0
        evidence = (
            f"{self.hero} {percent(hero)} %, best other {best} {percent(found[best])} %, on"
            f" {', '.join(dict.fromkeys(str(run.attrs.get('benchmark')) for run in material.runs))}"
        )
        left_out = len(self.rows) - len(self.runs(material))
        if left_out:
            evidence += f"; {left_out} of the paper's rows were not trained"
        return Judgement(three(first and above, first or above), evidence)


def _how(row: Row, *, own: bool) -> dict[str, Any]:
    return {**row.how, **(row.how_own if own else {})}


def _baseline(runs: Sequence[xr.DataTree]) -> Any:
    """Joint runs as they are; those of single tasks by task."""
    if all(len(run.attrs["tasks"]) > 1 for run in runs):
        return {str(i): run for i, run in enumerate(runs)}
    found: dict[str, list[xr.DataTree]] = {}
    for run in runs:
        found.setdefault(str(run.attrs["tasks"][0]), []).append(run)
    return found


def _pairs(scores: xr.Dataset) -> list[tuple[str, str]]:
    value = scores["value"]
    return [
        (str(task), str(metric))
        for task in value["task"].values
        for metric in value["metric"].values
        if not bool(value.sel(task=task, metric=metric).isnull().all())
    ]


def _direction(scores: Iterable[xr.Dataset], task: str, metric: str) -> str:
    """ "higher" or "lower" is better."""
    return next(
        str(one["direction"].sel(task=task, metric=metric).item()) for one in scores if (task, metric) in _pairs(one)
    )


def _estimate(scores: xr.Dataset, task: str, metric: str) -> Estimate:
    if task == AVERAGE:
        return Estimate.of(average(scores, metric))
    known = task in scores["task"].values and metric in scores["metric"].values
    return Estimate.of(scores["value"].sel(task=task, metric=metric).values if known else [])


def _best(estimates: Sequence[Estimate], way: str) -> Estimate:
    sign = 1 if way == "higher" else -1
    return max(estimates, key=lambda one: -math.inf if math.isnan(one.mean) else sign * one.mean)


def _places(value: float) -> int:
    """Decimal places for four figures, at most four.

    >>> _places(0.123), _places(12.3), _places(1234.0)
    (4, 2, 0)
    """
    if math.isnan(value) or value == 0:
        return 4
    return min(4, max(0, 3 - math.floor(math.log10(abs(value)))))


def percent(found: xr.Dataset | None) -> str:
    """A relative change and its interval, in percent; 0 of what others are compared with."""
    if found is None:
        return "0"
    value, low, high = (100 * float(found[name]) for name in ("delta", "low", "high"))
    return f"{value:+.2f}" + ("" if math.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def _published(row: Row, place: int, places: int) -> str:
    if place >= len(row.published) or math.isnan(row.published[place]):
        return "–"
    return f"{row.published[place]:.{places}f}"
