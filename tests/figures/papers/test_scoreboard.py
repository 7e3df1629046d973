"""Tables of methods on real data."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures.papers.made import trained

from dominance.figures.papers.item import Wish
from dominance.figures.papers.material import Material
from dominance.figures.papers.scoreboard import Board, Row

ROWS = (
    Row("EW", {"method": "equal-weight"}, None, (0.7, 0.0)),
    Row("UW", {"method": "uw"}, "EW", (0.75, 2.0)),
    Row("Ours", {"method": "adatask"}, "EW", (0.8, 9.0)),
)
SCORES = {"equal-weight": (0.5, 0.5), "uw": (0.55, 0.5), "adatask": (0.6, 0.55)}


def board(**options) -> Board:
    defaults = {
        "name": "adatask-table1", "paper": "AdaTask", "place": "Table 1", "title": "t", "rows": ROWS, "kind": "adatask",
        "own": "own", "stand_in": "small", "stands_for": "small", "columns": (("A", "auc"),), "hero": "Ours",
        "says": "so", "own_how": {"settings": {"deep": 1}, "lr": 0.1}, "stand_in_how": {"quick": {"epochs": 2}},
    }  # fmt: skip
    return Board(**{**defaults, **options})


def material(folder: Path, benchmark: str, scores=SCORES) -> Material:
    return Material([
        trained(folder / f"{method}-{seed}", benchmark, method, seed=seed, higher=True,
                scores={"A": {"auc": a + 0.001 * seed}, "B": {"auc": b - 0.001 * seed}})
        for method, (a, b) in scores.items() for seed in (0, 1, 2)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def stood_in(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return material(tmp_path_factory.mktemp("runs"), "small")


def test_what_is_trained():
    jobs = board().needs(Wish())
    assert [(job.method, job.seed) for job in jobs] == [(m, s) for m in SCORES for s in (0, 1, 2)]
    assert all(job.benchmark == "small" and job.epochs == 2 and job.lr is None for job in jobs)
    own = board().needs(Wish(data={"own": Path("/d")}))
    assert all(job.benchmark == "own" and job.settings == {"data": "/d", "deep": 1} and job.lr == 0.1 for job in own)
    assert board(stand_in="").needs(Wish()) == []


def test_scores_delta_and_on_the_papers_data_its_numbers(stood_in, tmp_path):
    made = board().table(stood_in, "none")
    assert [name.replace("\n", " ") for name in made.header] == [
        "method", "A auc ↑", "B auc ↑", "Δp (%) ↑ ours", "Δp (%) paper",
    ]  # fmt: skip
    assert made.rows[1][0] == "UW"
    assert made.rows[1][1] == "0.5510 ± 0.0025"
    assert made.rows[1][3].startswith("+4.99 (")  # mean of +9.98 % on A and 0 on B
    assert [row[-1] for row in made.rows] == ["0.00", "2.00", "9.00"]
    assert {(2, 1), (2, 2)} == made.bold
    assert "its own data" in made.note

    own = board().table(material(tmp_path, "own"), "none")
    assert [name.replace("\n", " ") for name in own.header][1:3] == ["A auc ↑", " paper"]
    assert [row[2] for row in own.rows] == ["0.7000", "0.7500", "0.8000"]
    assert "its own data" not in own.note


def test_the_hero_is_best_and_surely_better(stood_in, tmp_path):
    found = board().judge(stood_in)
    assert found.outcome == "reproduced"
    assert "best other UW" in found.evidence
    second = {**SCORES, "uw": (0.7, 0.7)}
    assert board().judge(material(tmp_path / "a", "small", second)).outcome == "partly"
    worst = {**SCORES, "adatask": (0.4, 0.4)}
    assert board().judge(material(tmp_path / "b", "small", worst)).outcome == "not reproduced"
