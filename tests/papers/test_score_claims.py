"""Claims about tables of scores, on hand-made scores on both sides of each criterion."""

from __future__ import annotations

from pathlib import Path

import pytest
from papers.made import trained

from dominance.errors import NothingRecorded
from dominance.papers.material import Material
from dominance.papers.presets import Preset, StandIn
from dominance.papers.score_claims import averages, best_in, better, improve, means, ordered, shifts, unbeaten
from dominance.papers.scoreboard import Board, Row

EW, UW, OURS = "EW", "UW", "Ours"
BOARD = Board(
    "small-table1", "Small", "Table 1", "t",
    (Row(EW, {"method": "equal-weight"}), Row(UW, {"method": "uw"}, EW), Row(OURS, {"method": "adatask"}, EW)),
    "adatask", Preset("Small", "own", 2, 3, {"lr": 0.01}, {}), StandIn("small", 2, "small", lr=0.01), "small",
    hero=OURS,
)  # fmt: skip
METHODS = {EW: "equal-weight", UW: "uw", OURS: "adatask"}


@pytest.fixture
def material(tmp_path: Path):
    """Runs with scores (A's auc, B's auc), higher is better; a third number is added in seed 0."""

    def make(**scores: tuple[float, ...]) -> Material:
        paths = []
        for label, (a, b, *more) in scores.items():
            for seed in range(5):
                extra = more[0] if more and seed == 0 else 0.0
                values = {"A": {"auc": a + 0.001 * seed + extra}, "B": {"auc": b - 0.001 * seed}}
                folder = tmp_path / f"{label}-{seed}"
                paths.append(trained(folder, "small", METHODS[label], seed=seed, scores=values, higher=True))
        return Material(paths)

    return make


def test_means_and_averages(material, tmp_path):
    found = material(EW=(0.5, 0.6), UW=(0.5, 0.7), Ours=(0.4, 0.8))
    assert means(BOARD, found)[OURS] == pytest.approx({("A", "auc"): 0.402, ("B", "auc"): 0.798})
    assert averages(BOARD, found, "auc")[UW].values == pytest.approx([0.6] * 5)
    lower = {"A": {"error": 0.3}, "B": {"error": 0.1}}
    runs = [trained(tmp_path / f"low-{method}", "small", method, scores=lower) for method in METHODS.values()]
    assert means(BOARD, Material(runs))[EW] == {("A", "error"): -0.3, ("B", "error"): -0.1}


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        ((0.6, 0.6), "reproduced"),
        ((0.5, 0.5, 0.2), "partly"),  # one seed alone
        ((0.45, 0.45), "not reproduced"),
    ],
)
def test_a_row_improves(material, ours, outcome):
    found = material(EW=(0.5, 0.5), UW=(0.5, 0.5), Ours=ours)
    assert improve(BOARD, "c", "so", {OURS: UW}).judge(found).outcome == outcome
    assert better(BOARD, "c", "so", (OURS,)).judge(found).outcome == outcome


def test_an_improvement_is_a_negative_difference_where_lower_is_better(material):
    """Δm of PUB: negative is better."""
    found = material(EW=(0.5, 0.5), UW=(0.5, 0.5), Ours=(0.6, 0.6))
    claim = improve(Board(**{**vars(BOARD), "kind": "pub"}), "c", "so", {OURS: UW})
    judged = claim.judge(found)
    assert judged.outcome == "reproduced"
    assert judged.evidence.startswith("Ours +20.00 points")
    assert "better Δm" in claim.criterion


def test_half_of_the_improvements_are_part_of_it(material):
    found = material(EW=(0.5, 0.5), UW=(0.55, 0.55), Ours=(0.6, 0.6))
    assert improve(BOARD, "c", "so", {OURS: UW, UW: OURS}).judge(found).outcome == "partly"


@pytest.mark.parametrize(
    ("ours", "count", "outcome"),
    [
        ((0.6, 0.6), (), "reproduced"),
        ((0.6, 0.4), (), "partly"),
        ((0.6, 0.4), (1, 2), "reproduced"),
        ((0.4, 0.4), (1, 2), "not reproduced"),
        ((0.6, 0.6), (8, 9), "cannot be tested"),  # there are two
    ],
)
def test_best_in_so_many_metrics(material, ours, count, outcome):
    found = material(EW=(0.5, 0.5), UW=(0.5, 0.5), Ours=ours)
    assert best_in(BOARD, "c", "so", *count).judge(found).outcome == outcome


@pytest.mark.parametrize(
    ("ours", "among", "front"),
    [
        ((0.6, 0.4), "reproduced", "reproduced"),
        ((0.6, 0.6), "partly", "reproduced"),  # it beats another
        ((0.4, 0.4), "not reproduced", "not reproduced"),
    ],
)
def test_nobody_is_better_in_everything(material, ours, among, front):
    found = material(EW=(0.7, 0.7), UW=(0.5, 0.5), Ours=ours)
    assert unbeaten(BOARD, "c", "so", (UW, OURS)).judge(found).outcome == among
    claim = unbeaten(BOARD, "c", "so", (UW, OURS), OURS)
    assert claim.judge(found).outcome == front
    assert claim.criterion == "none of UW is better than Ours in all metrics of all tasks, means over seeds"


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [((0.6, 0.49), "reproduced"), ((0.6, 0.4), "partly"), ((0.4, 0.5), "partly"), ((0.4, 0.4), "not reproduced")],
)
def test_the_dominated_tasks_gain_and_the_other_loses_little(material, ours, outcome):
    found = material(EW=(0.5, 0.5), UW=(0.5, 0.5), Ours=ours)
    assert shifts(BOARD, "c", "so", OURS, EW, ("B", "elsewhere")).judge(found).outcome == outcome


@pytest.mark.parametrize(
    ("uw", "outcome"),
    [((0.55, 0.5), "reproduced"), ((0.55, 0.5, -0.4), "not reproduced"), ((0.52, 0.52, 0.18), "partly")],
)
def test_averages_in_order(material, uw, outcome):
    found = material(EW=(0.5, 0.5), UW=uw, Ours=(0.6, 0.6))
    assert ordered(BOARD, "c", "so", (EW, UW, OURS), "auc").judge(found).outcome == outcome


def test_what_is_not_there_cannot_be_judged(material):
    found = material(EW=(0.5, 0.5), UW=(0.5, 0.5))
    for claim in (best_in(BOARD, "c", "so"), ordered(BOARD, "c", "so", (EW, OURS), "auc")):
        with pytest.raises(NothingRecorded):
            claim.judge(found)
