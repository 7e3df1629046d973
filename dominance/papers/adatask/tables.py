"""AdaTask's tables on its synthetic problem: scores (Table 2 and 6), cost (Table 5)."""

from __future__ import annotations

from typing import Any

import xarray as xr

from dominance.papers.adatask.buckets import CALLED, FIG3, FIG8, PAPER, SYNTHETIC, synthetic
from dominance.papers.item import Claim, Item, Judgement
from dominance.papers.jobs import Timing
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.table import Table
from dominance.papers.values import Estimate, best_in_every_seed, score_table, scores, with_average

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
NOTE = "Task-normalised RMSE: RMSE divided by the standard deviation of the task's test targets."


def errors(material: Material, methods: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """Method -> (run, task) errors of A, B and their mean."""
    return {
        CALLED[method]: with_average(scores(material, METRIC, benchmark=SYNTHETIC, method=method)) for method in methods
    }


def _scores(methods: tuple[str, ...], published: dict[str, tuple[float, float, float]]) -> Any:
    def make(material: Material, backend: Any) -> Table:
        return score_table(errors(material, methods), published, COLUMNS, note=NOTE, backend=backend)

    return make


def _adatask_is_best(material: Material) -> Judgement:
    rows = errors(material, FIG8)
    said, all_of_it, some = [], True, False
    for task in ("A", "Average"):
        first, won, seeds = best_in_every_seed(rows, "AdaTask", task, higher=False)
        mean = Estimate.of(rows["AdaTask"].sel(task=task)).text()
        others = {name: Estimate.of(values.sel(task=task)) for name, values in rows.items() if name != "AdaTask"}
        name, other = min(others.items(), key=lambda pair: pair[1].mean)
        said.append(f"{task}: AdaTask {mean}, best other {name} {other.text()}; lowest in {won} of {seeds} seeds")
        all_of_it, some = all_of_it and first and won == seeds, some or first
    return Judgement(three(all_of_it, some), "; ".join(said))


def _b_pays(material: Material) -> Judgement:
    rows = errors(material, ("equal-weight", "adatask"))
    ours, theirs = (rows[name].sel(task="B") for name in ("AdaTask", "EqualWeight"))
    worse = [float(a) > float(b) for a, b in zip(ours.values, theirs.values, strict=True)]
    evidence = (
        f"B: AdaTask {Estimate.of(ours).text()}, EqualWeight {Estimate.of(theirs).text()};"
        f" higher in {sum(worse)} of {len(worse)} seeds"
    )
    return Judgement(three(all(worse), float(ours.mean()) > float(theirs.mean())), evidence)


def _gradnorm_is_next(material: Material) -> Judgement:
    rows = {name: values for name, values in errors(material, FIG8).items() if name != "AdaTask"}
    said, holds = [], []
    for task in ("A", "Average"):
        order = sorted(rows, key=lambda name: float(rows[name].sel(task=task).mean()))
        said.append(
            f"{task}: {', '.join(f'{name} {Estimate.of(rows[name].sel(task=task)).text()}' for name in order[:2])}"
        )
        holds.append(order[0] == "GradNorm")
    return Judgement(three(all(holds), any(holds)), f"lowest of the others: {'; '.join(said)}")


def _levels(material: Material) -> Judgement:
    rows = errors(material, FIG8)
    ratios = {
        f"{name} {task}": float(values.sel(task=task).mean()) / published
        for name, values in rows.items()
        for task, published in zip(COLUMNS, TABLE2[name], strict=True)
    }
    near = [name for name, ratio in ratios.items() if 0.8 <= ratio <= 1.2]
    low, high = min(ratios.values()), max(ratios.values())
    evidence = (
        f"{len(near)} of {len(ratios)} within 20 %; ours are {low:.2g} to {high:.2g} times the published."
        " The paper gives neither width, steps, learning rate, sizes nor the distribution of x"
    )
    return Judgement(three(len(near) == len(ratios), 2 * len(near) >= len(ratios)), evidence)


def _ladatask_between(material: Material) -> Judgement:
    rows = errors(material, FIG3)
    each = [rows[name].sel(task="A") for name in ("AdaTask", "LAdaTask", "EqualWeight")]
    order = [a < b < c for a, b, c in zip(*(values.values for values in each), strict=True)]
    means = [Estimate.of(values) for values in each]
    evidence = (
        f"A: AdaTask {means[0].text()}, LAdaTask {means[1].text()}, EqualWeight {means[2].text()};"
        f" in this order in {sum(order)} of {len(order)} seeds"
    )
    return Judgement(three(all(order), means[0].mean < means[1].mean < means[2].mean), evidence)


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


ITEMS = (
    Item(
        "adatask-table2",
        PAPER,
        "Table 2",
        "errors on the synthetic problem",
        needs=lambda wish: synthetic(wish, FIG8),
        make=_scores(("equal-weight", "gradnorm", "uw", "pcgrad", "cagrad", "adatask"), TABLE2),
        claims=(
            Claim(
                "adatask-lowest-error",
                "AdaTask has the lowest error on the dominated task A, and on average",
                "AdaTask's error on A and on average is the lowest of six methods, by the mean of three seeds and in"
                " every seed; partly: by the mean of one of the two",
                _adatask_is_best,
            ),
            Claim(
                "adatask-b-pays",
                "task B pays for it: its error is higher with AdaTask (0.0417) than with EqualWeight (0.0113)",
                "AdaTask's error on B is higher than EqualWeight's in every one of three seeds; partly: by their mean",
                _b_pays,
            ),
            Claim(
                "adatask-gradnorm-next",
                "the best of the others is GradNorm",
                "GradNorm's error on A and on average is the lowest of the five methods but AdaTask, means of three"
                " seeds; partly: one of the two",
                _gradnorm_is_next,
            ),
            Claim(
                "adatask-levels",
                "the errors are those of Table 2",
                "all 18 numbers within 20 % of the published; partly: half of them",
                _levels,
            ),
        ),
    ),
    Item(
        "adatask-table5",
        PAPER,
        "Table 5",
        "numbers that the optimizers hold",
        needs=lambda wish: [Timing(SYNTHETIC, COST_METHODS, laps=1, steps=1)],
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
        needs=lambda wish: synthetic(wish, FIG3),
        make=_scores(FIG3, TABLE6),
        stands_for="The synthetic half of the table; its other half, on TikTok, is adatask-table3.",
        claims=(
            Claim(
                "adatask-ladatask-between",
                "LAdaTask is better than EqualWeight on the dominated task A, but not as good as AdaTask",
                "errors on A rise from AdaTask over LAdaTask to EqualWeight in every one of three seeds; partly: by"
                " their means",
                _ladatask_between,
            ),
        ),
    ),
)
