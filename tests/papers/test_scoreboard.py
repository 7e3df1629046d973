"""Tables of methods on real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from papers.made import trained, trainings

from dominance.errors import NothingRecorded
from dominance.papers.item import Wish
from dominance.papers.material import Material
from dominance.papers.presets import Preset, StandIn
from dominance.papers.scoreboard import Board, Row, faster
from dominance.papers.values import AVERAGE, WEIGHTED

ROWS = (
    Row("EW", {"method": "equal-weight"}, None, (0.7, 0.0)),
    Row("UW", {"method": "uw"}, "EW", (0.75, 2.0)),
    Row("Ours", {"method": "adatask"}, "EW", (0.8, 9.0)),
)
SCORES = {"equal-weight": (0.5, 0.5), "uw": (0.55, 0.5), "adatask": (0.6, 0.55)}


OWN = Preset("AdaTask", "own", 2, 3, {"settings": {"deep": 1}, "lr": 0.01, "epochs": 7}, {})
SMALL = StandIn("small", 2, "small", lr=0.01, scales={"quick": {"epochs": 2}})


def board(**options) -> Board:
    defaults = {
        "name": "adatask-table1", "paper": "AdaTask", "place": "Table 1", "title": "t", "rows": ROWS, "kind": "adatask",
        "preset": OWN, "stand_in": SMALL, "stands_for": "small", "columns": (("A", "auc"),), "hero": "Ours",
        "says": "so",
    }  # fmt: skip
    return Board(**{**defaults, **options})


def material(folder: Path, benchmark: str, scores=SCORES) -> Material:
    return Material([
        trained(folder / f"{method}-{seed}", benchmark, method, seed=seed, higher=True,
                scores={"A": {"auc": a + 0.001 * seed}, "B": {"auc": b - 0.001 * seed}})
        for method, (a, b) in scores.items() for seed in range(5)
    ])  # fmt: skip


@pytest.fixture(scope="module")
def stood_in(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return material(tmp_path_factory.mktemp("runs"), "small")


def test_what_is_trained():
    jobs = trainings(board(), Wish())
    assert [(job.method, job.seed) for job in jobs] == [(m, s) for m in SCORES for s in range(5)]
    assert all(job.benchmark == "small" and job.epochs == 2 and job.lr == 0.01 for job in jobs)
    own = trainings(board(), Wish(data={"own": Path("/d")}))
    assert all(job.benchmark == "own" and job.settings == {"data": "/d", "deep": 1} and job.epochs == 7 for job in own)
    assert board(stand_in=None).needs(Wish()) == []
    many = trainings(board(preset=replace(OWN, seeds=10)), Wish(data={"own": Path("/d")}))
    assert {job.seed for job in many} == set(range(10))


def test_scores_delta_and_on_the_papers_data_its_numbers(stood_in, tmp_path):
    made = board().table(stood_in, "none")
    assert [name.replace("\n", " ") for name in made.header] == [
        "method", "A auc ↑", "B auc ↑", "Δp (%) ↑ ours", "Δp (%) paper",
    ]  # fmt: skip
    assert made.rows[1][0] == "UW"
    assert made.rows[1][1] == "0.5520 ± 0.0020"
    assert made.rows[1][3].startswith("+4.98 (")  # mean of +9.98 % on A and 0 on B
    assert [row[-1] for row in made.rows] == ["0.00", "2.00", "9.00"]
    assert {(2, 1), (2, 2)} == made.bold
    assert "its own data" in made.note

    own = board().table(material(tmp_path, "own"), "none")
    assert [name.replace("\n", " ") for name in own.header][1:3] == ["A auc ↑", " paper"]
    assert [row[2] for row in own.rows] == ["0.7000", "0.7500", "0.8000"]
    assert "its own data" not in own.note


def test_rows_that_are_not_always_trained(stood_in, tmp_path):
    """At full scale, on the paper's data, where a row has other fields; left out where they were not trained."""
    rows = (
        *ROWS,
        Row("Full", {"method": "dwa"}, "EW", (), {"epochs": 9}, "full"),
        Row("Own", {"method": "si"}, when="own"),
    )
    several = board(name="several", rows=rows)
    assert {job.method for job in trainings(several, Wish())} == set(SCORES)
    assert {job.method for job in trainings(several, Wish("full"))} == {*SCORES, "dwa"}
    own = trainings(several, Wish(data={"own": Path("/d")}))
    assert {job.method for job in own} == {*SCORES, "dwa", "si"}
    assert {job.epochs for job in own if job.method == "dwa"} == {9}
    assert {job.epochs for job in trainings(several, Wish("full")) if job.method == "dwa"} == {None}
    made = several.table(stood_in, "none")
    assert [row[0] for row in made.rows] == ["EW", "UW", "Ours"]
    assert several.judge(stood_in).evidence.endswith("2 of the table's rows were not trained")
    with pytest.raises(NothingRecorded):
        board(name="full", rows=(*ROWS, Row("Full", {"method": "dwa"}, "EW"))).table(stood_in, "none")


def test_rows_told_apart_by_what_they_have_on_the_papers_data(tmp_path):
    rows = (
        Row("deep", {"method": "uw"}, None, (), {"architecture": "mtan"}),
        Row("flat", {"method": "uw"}, "deep", (), {"architecture": "hps"}, "own"),
    )
    runs = Material([
        trained(tmp_path / name, "own", "uw", architecture=name, higher=True, scores={"A": {"auc": auc}})
        for name, auc in (("mtan", 0.5), ("hps", 0.6))
    ])  # fmt: skip
    found = board(rows=rows, hero="").table(runs, "none")
    assert [row[1] for row in found.rows] == ["0.5000", "0.6000"]


def test_the_mean_of_the_tasks_has_a_column(stood_in, tmp_path):
    averaged = board(
        name="averaged",
        columns=(("A", "auc"), (AVERAGE, "auc")),
        rows=(Row("EW", {"method": "equal-weight"}, None, (0.7, 0.65)),),
    )
    found = averaged.table(stood_in, "none")
    assert [name.replace("\n", " ") for name in found.header][1:4] == ["A auc ↑", "B auc ↑", "Average auc ↑"]
    assert found.rows[0][3] == "0.5000 ± 0.0000"
    own = averaged.table(material(tmp_path, "own", {"equal-weight": (0.5, 0.7)}), "none")
    assert [name.replace("\n", " ") for name in own.header][4:6] == ["Average auc ↑", " paper"]
    assert own.rows[0][4:6] == ["0.6000 ± 0.0000", "0.6500"]


def test_data_in_the_form_of_the_papers_is_its_own_where_it_is_given(tmp_path):
    same = board(preset=replace(OWN, benchmark="small"), rows=ROWS[:1], hero="")
    scores = {"A": {"auc": 0.5}, "B": {"auc": 0.5}}
    for name, settings, own in (("stand-in", {}, False), ("given", {"data": "/d"}, True)):
        runs = Material([trained(tmp_path / name, "small", scores=scores, higher=True, settings=settings)])
        assert same.on_its_data(runs) is own
        assert ("\npaper" in same.table(runs, "none").header) is own
    given = trainings(same, Wish(data={"small": Path("/d")}))
    assert all(job.epochs == 7 and job.settings == {"data": "/d", "deep": 1} for job in given)  # as the paper says


def test_data_that_comes_with_a_package(monkeypatch):
    shipped = board(preset=replace(OWN, benchmark="small"), package="no_such_package")
    assert shipped.needs(Wish()) == []
    assert shipped.needs(Wish(data={"small": Path("/d")}))
    monkeypatch.setattr("dominance.papers.scoreboard.find_spec", lambda name: name == "no_such_package")
    assert {job.epochs for job in trainings(shipped, Wish())} == {2}


def test_the_hero_is_best_and_surely_better(stood_in, tmp_path):
    found = board().judge(stood_in)
    assert found.outcome == "reproduced"
    assert "best other UW" in found.evidence
    assert "5 seeds) better" in found.evidence
    few = Material([path for path in stood_in.paths if not path.name.endswith("-4")])
    assert board().judge(few).outcome == "partly"  # four seeds are not enough
    second = {**SCORES, "uw": (0.7, 0.7)}
    assert board().judge(material(tmp_path / "a", "small", second)).outcome == "not reproduced"
    worst = {**SCORES, "adatask": (0.4, 0.4)}
    assert board().judge(material(tmp_path / "b", "small", worst)).outcome == "not reproduced"


def faster_board(**options) -> Board:
    return board(rows=(*ROWS, faster("EW x 2", "EW")), **options)


def test_our_control_has_k_times_the_learning_rate_and_a_claim_of_its_own(tmp_path):
    """It is no rival: the claim that a method is the best is the paper's."""
    one = faster_board(name="controlled")
    assert {job.lr for job in trainings(one, Wish()) if job.method == "equal-weight"} == {0.01, 0.02}
    runs = material(tmp_path / "a", "small")
    fast = [
        trained(tmp_path / f"fast-{seed}", "small", seed=seed, lr=0.02, higher=True,
                scores={"A": {"auc": 0.9}, "B": {"auc": 0.9 + 0.001 * seed}})
        for seed in range(5)
    ]  # fmt: skip
    found = Material([*runs.paths, *fast])
    best, control = one.item().claims
    assert (best.ours, control.ours) == (False, True)
    assert best.judge(found).outcome == "reproduced"
    assert control.judge(found).outcome == "not reproduced"
    assert [row[0] for row in one.table(found, "none").rows] == ["EW", "UW", "Ours", "EW x 2"]


def test_of_a_grid_the_best_counts(tmp_path):
    grid = tuple(({"options": {"weights": w}}, {"options": {"weights": f"own {w}"}}) for w in ("1", "2"))
    one = board(name="grid", rows=(*ROWS, Row("Grid", {"method": "grid-search"}, "EW", grid=grid)))
    jobs = [job for job in trainings(one, Wish()) if job.method == "grid-search"]
    assert len(jobs) == 2 * 5
    searched = [
        trained(tmp_path / f"{w}-{seed}", "small", "grid-search", seed=seed, higher=True, options={"weights": w},
                scores={"A": {"auc": auc}, "B": {"auc": 0.5}})
        for w, auc in (("1", 0.4), ("2", 0.52)) for seed in range(5)
    ]  # fmt: skip
    found = Material([*material(tmp_path / "a", "small").paths, *searched])
    assert one.table(found, "none").rows[-1][1] == "0.5200 ± 0.0000"


def test_what_the_same_runs_decide_elsewhere_is_not_decided_again(stood_in, tmp_path):
    (best,) = board(name="again", decided_by="adatask-table3").item().claims
    found = best.judge(stood_in)
    assert (found.outcome, "adatask-table3" in found.evidence) == ("cannot be tested", True)
    assert best.judge(material(tmp_path, "own")).outcome == "reproduced"


def test_a_weighted_mean_has_a_column_where_all_its_tasks_are(stood_in):
    columns = (("A", "auc"), (WEIGHTED, "auc"))
    one = board(name="weighted", columns=columns, weights={"A": 3.0, "B": 1.0}, rows=ROWS[:1], hero="")
    assert one.table(stood_in, "none").rows[0][3] == "0.5010 ± 0.0010"
    other = board(name="elsewhere", columns=columns, weights={"A": 3.0, "C": 1.0}, rows=ROWS[:1], hero="")
    assert len(other.table(stood_in, "none").header) == 5
