"""Tables of scores by method, as the papers have them on real data: on that data, or on what stands in for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

import xarray as xr

from dominance.analyse.study.delta import delta
from dominance.analyse.study.scores import final_scores
from dominance.papers import cells
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Training
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST, by_seed, gain, points, sure
from dominance.papers.presets import Preset, StandIn
from dominance.papers.table import Table
from dominance.papers.values import AVERAGE, INTERVAL, WEIGHTED, Estimate, average, weighted

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
        grid: several ways to train it, of which the best counts: fields on what stands in, and on the paper's data.
        control: it is ours, not the paper's: at as many times the learning rate as there are tasks.
    """

    label: str
    how: Mapping[str, Any]
    against: str | None = None
    published: Sequence[float] = ()
    how_own: Mapping[str, Any] = field(default_factory=dict)
    when: Literal["always", "full", "own"] = "always"
    grid: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]] = ()
    control: bool = False


def faster(label: str, against: str, **how: Any) -> Row:
    """Our control: equal weighting at K times the learning rate, which is what K steps of K tasks come to."""
    return Row(label, {"method": "equal-weight", **how}, against, control=True)


@dataclass(frozen=True)
class Board:
    """A table of methods.

    Attributes:
        preset: the paper's data, and how it trains on it.
        stand_in: what takes its place; None for nothing. On the same benchmark: other data in the same form stands in,
            or the data itself, see ``package``; the scale says how it is trained.
        package: module that brings the paper's data itself; without it, and without a folder, there is nothing to make.
        kind: of Δ, see ``dominance.delta``.
        columns: (task, metric) of the published numbers, in their order; (``AVERAGE``, metric) is the mean of the
            tasks, which then has a column.
        hero: label of the paper's method, which it claims to be the best; "" for no such claim.
        rivals: labels that it is compared with; empty: all but our control.
        weights: of the tasks, in the column (``WEIGHTED``, metric).
        decided_by: name of the board for which the stand-in's runs decide who is the best; they do not a second time.
    """

    name: str
    paper: str
    place: str
    title: str
    rows: Sequence[Row]
    kind: str
    preset: Preset
    stand_in: StandIn | None
    stands_for: str
    columns: Sequence[tuple[str, str]] = ()
    hero: str = ""
    says: str = ""
    rivals: Sequence[str] = ()
    package: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    decided_by: str = ""

    def needs(self, wish: Wish) -> list[Job]:
        """The rows' trainings with all seeds; none where there is neither the paper's data nor another."""
        own = self.preset.benchmark in wish.data
        if own:
            benchmark, common = self.preset.benchmark, dict(self.preset.how)
        elif self.stand_in is not None and (not self.package or find_spec(self.package)):
            benchmark, common = self.stand_in.benchmark, self.stand_in.how(wish.scale)
        else:
            return []
        settings = wish.settings(benchmark, **common.pop("settings", {}))
        found = {}
        for row in self.rows:
            if row.when == "always" or own or (row.when == "full" and wish.scale == "full"):
                for how in self._ways_to_train(row, own=own):
                    for seed in range(max(AT_LEAST, self.preset.seeds) if own else AT_LEAST):
                        job = Training(benchmark, seed=seed, settings=settings, **{**common, **how})
                        found[job.name] = job
        return list(found.values())

    def _ways_to_train(self, row: Row, *, own: bool) -> list[dict[str, Any]]:
        """Fields of ``Training`` that tell a row from the others; several of a grid."""
        place: Any = self.preset if own else self.stand_in
        lr = self.preset.how["lr"] if own else place.lr
        common = {**row.how, **(row.how_own if own else {}), "lr": lr * (place.tasks if row.control else 1)}
        return [{**common, **each[own]} for each in row.grid] or [common]

    def item(self, *more: Claim) -> Item:
        """With the claim that the paper's method is the best, if it makes it, and the one that our control makes."""
        claims = [Claim(f"{self.name}-best", self.says, self.criterion(), self.judge)] if self.hero else []
        if self.control is not None and self.hero:
            claims.append(self._beats_the_control(self.control))
        if self.decided_by:
            claims = [replace(claim, judge=self._on_its_data_only(claim.judge)) for claim in claims]
        claims[1:1] = more
        return Item(
            self.name, self.paper, self.place, self.title, self.needs, self.table, self.stands_for, tuple(claims),
            own=self.on_its_data, shorter=bool(self.package), unstated=self.preset.left_open,
        )  # fmt: skip

    def _on_its_data_only(self, judge: Callable[[Material], Judgement]) -> Callable[[Material], Judgement]:
        def decide(material: Material) -> Judgement:
            if self.on_its_data(material):
                return judge(material)
            return Judgement(
                "cannot be tested",
                f"what stands in has the runs that {self.decided_by} is decided by: see there, or give --data"
                f" {self.preset.benchmark}=DIR",
            )

        return decide

    @property
    def control(self) -> Row | None:
        """Our row at K times the learning rate, if there is one."""
        return next((row for row in self.rows if row.control), None)

    def criterion(self) -> str:
        """Of the claim that the paper's method is the best."""
        return (
            f"{self.hero}'s {SYMBOLS[self.kind]} has a better mean than that of every other method, and the 95 %"
            f" interval of its difference from the next best, paired by seed, over at least {AT_LEAST} seeds, lies on"
            " the better side of 0; partly: the first"
        )

    def _beats_the_control(self, control: Row) -> Claim:
        def judge(material: Material) -> Judgement:
            found = self.deltas(material)
            one = gain(*(by_seed(found[label]) for label in (self.hero, control.label)), sign=self.sign)
            return Judgement(three(sure(one), one.value > 0), f"{self.hero} {points(one)} better than {control.label}")

        return Claim(
            f"{self.name}-rate",
            f"{self.hero} gains more than a learning rate that is K times as large does, K the number of tasks",
            f"{SYMBOLS[self.kind]} better than that of equal weighting at K times the learning rate: the 95 % interval"
            f" of the difference, paired by seed, over at least {AT_LEAST} seeds, lies on the better side of 0; partly:"
            " its mean does",
            judge,
            ours=True,
        )

    @property
    def sign(self) -> float:
        """1 where a higher Δ is better."""
        return -1.0 if self.kind == "pub" else 1.0

    def runs(self, material: Material) -> dict[str, list[xr.DataTree]]:
        """Label -> its runs. Rows that are not always trained are left out where they were not.

        Raises:
            NothingRecorded: another row has none.
        """
        given = self._given(material)
        ways = {row.label: self._ways_to_train(row, own=given) for row in self.rows}
        there = [row for row in self.rows if row.when == "always" or material.has(**ways[row.label][0])]
        tried = {row.label: [material.select(**how) for how in ways[row.label]] for row in there}
        found = {}
        for row in there:
            found[row.label], *others = tried[row.label]
            if others and row.against is not None:
                found[row.label] = self._best_of(tried[row.label], tried[row.against][0])
        return found

    def _best_of(self, tried: list[list[xr.DataTree]], against: Sequence[xr.DataTree]) -> list[xr.DataTree]:
        """The runs with the best Δ: on the test data, as there is no other on CityScapes."""
        base = _baseline(against)
        joint = [{str(i): run for i, run in enumerate(runs)} for runs in tried]
        values = [self.sign * float(delta(runs, base, kind=self.kind)["delta"]) for runs in joint]
        return tried[values.index(max(values))]

    def _given(self, material: Material) -> bool:
        """Whether the runs are of the paper's own data, which the user gave."""
        alike = self.stand_in is not None and self.stand_in.benchmark == self.preset.benchmark
        return any(
            run.attrs.get("benchmark") == self.preset.benchmark
            and (not alike or "data" in run.attrs.get("training", {}).get("settings", {}))
            for run in material.runs
        )

    def on_its_data(self, material: Material) -> bool:
        """Whether the runs are of the paper's own data: given, or from the package that has it."""
        return bool(self.package) or self._given(material)

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
            estimates = [self._estimate(scored[row.label], task, metric) for row in rows]
            header.append(f"{task}\n{metric} {'↑' if way == 'higher' else '↓'}")
            best = cells.best(estimates, way)
            for number, (line, one) in enumerate(zip(body, estimates, strict=True)):
                places = cells.places(one.mean)
                line.append(one.text(places) if len(ways) <= _WIDE else f"{one.mean:.{places}f}")
                if one is best:
                    bold.add((number, len(header) - 1))
            if own and (task, metric) in self.columns:
                header.append("\npaper")
                for line, row in zip(body, rows, strict=True):
                    line.append(cells.published(row.published, self.columns.index((task, metric)), places))
        symbol = SYMBOLS[self.kind]
        header += [f"{symbol} (%)\n{'↓' if self.kind == 'pub' else '↑'} ours", f"{symbol} (%)\npaper"]
        for line, row in zip(body, rows, strict=True):
            line += [cells.percent(deltas.get(row.label)), cells.published(row.published, len(self.columns), 2)]
        note = "" if len(ways) > _WIDE else INTERVAL
        theirs = "" if own else " The paper's is on its own data."
        note = f"{symbol}: mean over seeds, with its 95 % interval (Student's t).{theirs} {note}"
        return Table(header, body, note, frozenset(bold), backend)

    def _ways(self, scored: Iterable[xr.Dataset]) -> dict[tuple[str, str], str]:
        """(task, metric) of the columns, in order -> "higher" or "lower" is better."""
        scored = list(scored)
        pairs = dict.fromkeys(pair for found in scored for pair in cells.pairs(found))
        ways = {pair: cells.direction(scored, *pair) for pair in pairs}
        for task, metric in self.columns:
            made = task == AVERAGE or (task == WEIGHTED and set(self.weights) <= {name for name, _ in pairs})
            if made and (first := next((pair for pair in pairs if pair[1] == metric), None)):
                ways[task, metric] = ways[first]
        return ways

    def judge(self, material: Material) -> Judgement:
        """Whether the paper's method is the best."""
        found = self.deltas(material)
        hero, ours = found[self.hero], [row.label for row in self.rows if row.control]
        others = {
            label: self.sign * float(one["delta"])
            for label, one in found.items()
            if label != self.hero and (label in self.rivals if self.rivals else label not in ours)
        }
        best = max(others, key=lambda label: others[label])
        first = self.sign * float(hero["delta"]) > others[best]
        apart = gain(by_seed(hero), by_seed(found[best]), sign=self.sign)
        evidence = (
            f"{self.hero} {cells.percent(hero)} %, best other {best} {cells.percent(found[best])} %: {points(apart)}"
            f" better, on {', '.join(dict.fromkeys(str(run.attrs.get('benchmark')) for run in material.runs))}"
        )
        left_out = len(self.rows) - len(self.runs(material))
        if left_out:
            evidence += f"; {left_out} of the table's rows were not trained"
        return Judgement(three(first and sure(apart), first), evidence)

    def _estimate(self, scores: xr.Dataset, task: str, metric: str) -> Estimate:
        if task == AVERAGE:
            return Estimate.of(average(scores, metric))
        if task == WEIGHTED:
            return Estimate.of(weighted(scores, metric, self.weights))
        known = task in scores["task"].values and metric in scores["metric"].values
        return Estimate.of(scores["value"].sel(task=task, metric=metric).values if known else [])


def _baseline(runs: Sequence[xr.DataTree]) -> Any:
    """Joint runs as they are; those of single tasks by task."""
    if all(len(run.attrs["tasks"]) > 1 for run in runs):
        return {str(i): run for i, run in enumerate(runs)}
    found: dict[str, list[xr.DataTree]] = {}
    for run in runs:
        found.setdefault(str(run.attrs["tasks"][0]), []).append(run)
    return found
