"""AdaTask's tables on its synthetic problem: scores (Table 2 and 6), cost (Table 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from dominance.analyse.kernels import t_test
from dominance.errors import NothingRecorded
from dominance.papers.adatask.buckets import CALLED, FIG3, FIG8, PAPER, PRESET, READING, SYNTHETIC, scored
from dominance.papers.item import Claim, Form, Item, Judgement
from dominance.papers.jobs import Timing
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST, difference, gain, sure
from dominance.papers.table import Table
from dominance.papers.values import Estimate, score_table, scores, with_average

METRIC = "normalised_rmse"
TABLE2 = {
    "EqualWeight": (0.2172, 0.0113, 0.1142),
    "GradNorm": (0.1134, 0.0226, 0.0680),
    "UW": (0.2032, 0.0100, 0.1066),
    "PCGrad": (0.2221, 0.0155, 0.1188),
    "CAGrad": (0.1495, 0.0140, 0.0817),
    "AdaTask": (0.0704, 0.0417, 0.0560),
}
"""Normalised RMSE of A, of B, and the mean of both."""
TABLE6 = {name: TABLE2[name] for name in ("EqualWeight", "AdaTask")} | {"LAdaTask": (0.0989, 0.0285, 0.0637)}
COLUMNS = {"A": False, "B": False, "Average": False}
COST_METHODS = ("equal-weight", "adatask", "ladatask")
FASTER = "EqualWeight, K x rate (ours)"
NOTE = "Task-normalised RMSE: RMSE divided by the standard deviation of the task's test targets."
RATIO = "L(t) / L(0): the loss on the test data, divided by that of the first training step, as GradNorm has it."
Errors = Callable[[Material, tuple[str, ...]], dict[str, xr.DataArray]]


def errors(material: Material, methods: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Method -> (run, task) errors of A, B and their mean."""
    return _by_method(material, methods, lambda **wanted: scores(material, METRIC, **wanted))


def ratios(material: Material, methods: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Likewise, as L(t) / L(0)."""

    def found(**wanted: Any) -> xr.DataArray:
        ends = scores(material, "rmse", **wanted)
        starts = [run["loss/loss"].isel(step=0, drop=True).reset_coords(drop=True) for run in material.select(**wanted)]
        return ends**2 / xr.concat(starts, "run").sel(task=ends["task"])

    return _by_method(material, methods, found)


def _by_method(
    material: Material, methods: tuple[str, ...], find: Callable[..., xr.DataArray]
) -> dict[str, xr.DataArray]:
    """The rows; our control, where it was trained, comes last."""
    lr = PRESET.how["lr"]
    rows = {CALLED[method]: {"method": method, "lr": lr} for method in methods}
    control = {"method": "equal-weight", "lr": PRESET.tasks * lr}
    if material.has(benchmark=SYNTHETIC, **control):
        rows[FASTER] = control
    return {label: with_average(find(benchmark=SYNTHETIC, **how)) for label, how in rows.items()}


def _scores(
    methods: tuple[str, ...], published: dict[str, tuple[float, float, float]], of: Errors, note: str
) -> Callable[[Material, Any], Table]:
    def make(material: Material, backend: Any) -> Table:
        return score_table(of(material, methods), published, COLUMNS, note=note, backend=backend)

    return make


def _papers(material: Material, methods: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """``errors`` without our control."""
    return {label: values for label, values in errors(material, methods).items() if label != FASTER}


def _of(values: xr.DataArray, task: str) -> xr.DataArray:
    """(seed) errors of a task."""
    return xr.DataArray(values.sel(task=task).values, {"seed": values["seed"].values}, "seed")


def _lowest(rows: dict[str, xr.DataArray], label: str) -> Judgement:
    """Whether a row has the lowest error on A and on average, and by how much than the next."""
    said, first, certain = [], [], []
    for task in ("A", "Average"):
        others = {name: Estimate.of(_of(values, task)) for name, values in rows.items() if name != label}
        name, other = min(others.items(), key=lambda pair: pair[1].mean)
        ours = Estimate.of(_of(rows[label], task))
        one = gain(_of(rows[label], task), _of(rows[name], task), sign=-1.0)
        said.append(f"{task}: {label} {ours.text()}, best other {name} {other.text()}: {difference(one)} lower")
        first.append(ours.mean < other.mean)
        certain.append(sure(one))
    return Judgement(three(all(first) and all(certain), any(first)), "; ".join(said))


def _adatask_is_best(material: Material) -> Judgement:
    return _lowest(_papers(material, FIG8), "AdaTask")


def _beats_the_rate(material: Material) -> Judgement:
    rows = errors(material, FIG8)
    if FASTER not in rows:
        raise NothingRecorded("EqualWeight was not trained at K times the learning rate", fix="reproduce the table")
    return _lowest({name: rows[name] for name in ("AdaTask", FASTER)}, "AdaTask")


def _higher(rows: dict[str, xr.DataArray], one: str, other: str, task: str) -> tuple[t_test.Difference, str]:
    """By how much, and that in words."""
    found = gain(_of(rows[one], task), _of(rows[other], task))
    each = ", ".join(f"{name} {Estimate.of(_of(rows[name], task)).text()}" for name in (one, other))
    return found, f"{task}: {each}: {difference(found)}"


def _b_pays(material: Material) -> Judgement:
    found, said = _higher(_papers(material, ("equal-weight", "adatask")), "AdaTask", "EqualWeight", "B")
    return Judgement(three(sure(found), found.value > 0), said)


def _gradnorm_is_next(material: Material) -> Judgement:
    return _lowest({name: values for name, values in _papers(material, FIG8).items() if name != "AdaTask"}, "GradNorm")


def _levels(material: Material) -> Judgement:
    said, near = [], []
    for name, of in (("RMSE / deviation", errors), ("L(t) / L(0)", ratios)):
        rows = of(material, FIG8)
        apart = [
            float(rows[label].sel(task=task).mean()) / published
            for label in TABLE2
            for task, published in zip(COLUMNS, TABLE2[label], strict=True)
        ]
        near.append(sum(0.8 <= each <= 1.2 for each in apart))
        said.append(f"{name}: {near[-1]} of {len(apart)} within 20 %, {min(apart):.2g} to {max(apart):.2g} times")
    count = 3 * len(TABLE2)
    evidence = (
        "; ".join(said) + ". The text gives neither width, steps, learning rate, sizes, the distribution of x nor"
    )
    return Judgement(three(max(near) == count, 2 * max(near) >= count), f"{evidence} the normaliser")


def _ladatask_between(material: Material) -> Judgement:
    rows = _papers(material, FIG3)
    pairs = [_higher(rows, *pair, "A") for pair in (("EqualWeight", "LAdaTask"), ("LAdaTask", "AdaTask"))]
    holds, certain = [one.value > 0 for one, _ in pairs], [sure(one) for one, _ in pairs]
    return Judgement(three(all(certain), all(holds)), "; ".join(said for _, said in pairs))


def _cost(material: Material, backend: Any) -> Table:
    timing = material.timing(SYNTHETIC)
    n, k, layers = timing["shared"], len(timing["tasks"]), timing["shared_layers"]
    rows = [
        [label, paper, formula, f"{count:,}", f"{held:,}", f"{held / n:.3f}"]
        for (label, paper, formula), count, held in zip(_COST, _counts(timing), _held(timing), strict=True)
    ]
    note = (
        f"Accumulated squared gradients of the shared parameters with RMSprop: N = {n:,} parameters in L = {layers}"
        f" layers, K = {k} tasks. Held: counted in the optimizers' states after a step."
    )
    header = ["method", "paper", "here", "numbers", "held", "held / N"]
    return Table(header, rows, note, backend=backend)


_COST = (
    ("RMSProp", "O(N)", "N"),
    ("AdaTask", "O(NK)", "NK"),
    ("LAdaTask", "O(N + LK)", "N + LK"),
)


def _counts(timing: dict[str, Any]) -> list[int]:
    n, k, layers = timing["shared"], len(timing["tasks"]), timing["shared_layers"]
    return [n, n * k, n + layers * k]


def _held(timing: dict[str, Any]) -> list[int]:
    """Numbers in the state of each optimizer, without those of the private parameters, one for each."""
    return [timing["methods"][method]["state"] - timing["private"] for method in COST_METHODS]


def _cost_holds(material: Material) -> Judgement:
    timing = material.timing(SYNTHETIC)
    counts, held = _counts(timing), _held(timing)
    evidence = ", ".join(
        f"{label} holds {one:,} of {formula} = {count:,}"
        for (label, _, formula), count, one in zip(_COST, counts, held, strict=True)
    )
    same = [abs(one - count) <= 0.01 * count for count, one in zip(counts, held, strict=True)]
    return Judgement(three(all(same), any(same)), evidence)


_ORDER = ("equal-weight", "gradnorm", "uw", "pcgrad", "cagrad", "adatask")
_APART = f"95 % interval of the difference, paired by seed, over at least {AT_LEAST} seeds,"

ITEMS = (
    Item(
        "adatask-table2",
        PAPER,
        "Table 2",
        "errors on the synthetic problem",
        needs=lambda wish: scored(wish, FIG8),
        make=_scores(_ORDER, TABLE2, errors, NOTE),
        stands_for=READING,
        unstated=PRESET.left_open,
        beside=Form("ratio", "the same with another normaliser.", _scores(_ORDER, TABLE2, ratios, RATIO)),
        claims=(
            Claim(
                "adatask-lowest-error",
                "AdaTask has the lowest error on the dominated task A, and on average",
                f"AdaTask's error on A and on average is the lowest of six methods, and the {_APART} from the next best"
                " lies on the better side of 0; partly: the lowest of one of the two",
                _adatask_is_best,
            ),
            Claim(
                "adatask-b-pays",
                "task B pays for it: its error is higher with AdaTask (0.0417) than with EqualWeight (0.0113)",
                f"AdaTask's error on B is higher than EqualWeight's: the {_APART} lies above 0; partly: its mean does",
                _b_pays,
            ),
            Claim(
                "adatask-gradnorm-next",
                "the best of the others is GradNorm",
                f"GradNorm's error on A and on average is the lowest of the five methods but AdaTask, and the {_APART}"
                " from the next best lies on the better side of 0; partly: the lowest of one of the two",
                _gradnorm_is_next,
            ),
            Claim(
                "adatask-levels",
                "the errors are those of Table 2",
                "all 18 numbers within 20 % of the published, with one of two normalisers; partly: half of them",
                _levels,
            ),
            Claim(
                "adatask-synthetic-rate",
                "AdaTask gains more than a learning rate that is twice as large does",
                f"its error on A and on average is lower than EqualWeight's at twice the learning rate: the {_APART}"
                " lies on the better side of 0; partly: lower on one of the two",
                _beats_the_rate,
                ours=True,
            ),
        ),
    ),
    Item(
        "adatask-table5",
        PAPER,
        "Table 5",
        "numbers that the optimizers hold",
        needs=lambda wish: [Timing(SYNTHETIC, COST_METHODS, settings=wish.settings(SYNTHETIC), laps=1, steps=1)],
        make=_cost,
        claims=(
            Claim(
                "adatask-cost",
                "AdaTask holds O(NK) accumulated gradients, LAdaTask O(N + LK), RMSProp O(N)",
                "the states of the optimizers here hold NK, N + LK and N numbers for the shared parameters, within 1 %",
                _cost_holds,
            ),
        ),
    ),
    Item(
        "adatask-table6",
        PAPER,
        "Table 6",
        "LAdaTask beside EqualWeight and AdaTask: errors on the synthetic problem",
        needs=lambda wish: scored(wish, FIG3),
        make=_scores(FIG3, TABLE6, errors, NOTE),
        stands_for=f"The synthetic half of the table; its other half, on TikTok, is adatask-table3. {READING}",
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-ladatask-between",
                "LAdaTask is better than EqualWeight on the dominated task A, but not as good as AdaTask",
                f"errors on A rise from AdaTask over LAdaTask to EqualWeight: the {_APART} of both steps lies above 0;"
                " partly: by their means",
                _ladatask_between,
            ),
        ),
    ),
)
