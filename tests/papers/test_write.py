"""An item as files, and the report that collects what became of all claims."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from papers.made import timed, trained

from dominance.errors import BadData, NothingRecorded, RunExists
from dominance.papers.caption import caption
from dominance.papers.item import Claim, Form, Item, Judgement
from dominance.papers.material import Material
from dominance.papers.outcomes import kind
from dominance.papers.reproduction import write_reproduction
from dominance.papers.table import Table
from dominance.papers.write import make, seeds


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("runs")
    return Material([trained(folder / str(seed), seed=seed, settings={"width": 32, "data": "/x"}) for seed in (0, 1)])


def needs_famo(material: Material) -> Judgement:
    material.select(method="famo")
    raise AssertionError("there is none")


CLAIMS = (
    Claim("one", "it is so", "a < b", lambda material: Judgement("reproduced", "1 < 2 | sure")),
    Claim("two", "it is so with FAMO", "c < d", needs_famo),
)


def item(name: str = "small-table1", make=lambda m, b: Table(["x"], [["1"]], "A note.", backend=b), **options) -> Item:
    return Item(name, "Small", "Table 1", "numbers", lambda wish: [], make, claims=CLAIMS, **options)


def test_the_figure_its_words_and_its_record(material, tmp_path):
    made = make(item(), material, tmp_path, missing={"job-3": "the loss is nan"})
    assert [path.name for path in made.files] == [
        "small-table1.pdf", "small-table1.csv", "small-table1.md", "small-table1.json",
    ]  # fmt: skip
    assert all(path.stat().st_size for path in made.files)
    assert [judged.outcome for _, judged in made.judged] == ["reproduced", "cannot be tested"]
    words = (tmp_path / "small-table1.md").read_text()
    for part in ("# Small, Table 1: numbers", "| x |", "A note.", "**reproduced**: it is so", "Criterion: a < b",
                 "Not there: job-3, which failed: the loss is nan", "no run with method famo"):  # fmt: skip
        assert part in words
    record = json.loads((tmp_path / "small-table1.json").read_text())
    assert record["command"] == "dominance reproduce small-table1"
    assert [claim["outcome"] for claim in record["claims"]] == ["reproduced", "cannot be tested"]
    with pytest.raises(RunExists):
        make(item(), material, tmp_path)


def test_a_form_that_is_read_more_easily_stands_beside_the_papers(material, tmp_path):
    form = Form("lines", "the same as lines.", lambda m, b: Table(["y"], [["2"]], "Another note.", backend=b))
    made = make(item(beside=form), material, tmp_path, format="svg")
    names = [path.name for path in made.files]
    assert names[0] == "small-table1.svg"
    assert "small-table1-lines.svg" in names
    words = (tmp_path / "small-table1.md").read_text()
    assert "small-table1.svg has the form of the paper's. small-table1-lines.svg: the same as lines. Another" in words
    with pytest.raises(RunExists):
        make(item(beside=form), material, tmp_path, format="svg")


def test_the_caption_says_what_was_run(material):
    words = caption(item(), material)
    for part in ("Data: small (width=32)", "seeds: 0, 1", "epochs: 1", "steps: 4", "optimizer: adam"):
        assert part in words
    assert "/x" not in words


def test_the_caption_of_a_timing(tmp_path):
    words = caption(item(stands_for="It stands in."), Material([timed(tmp_path / "t", equal_weight=1.0)]))
    assert words.startswith("numbers. It stands in. Timed: small with hps; batch size 4, adam; in turns, 3 laps of 2")
    assert "Data:" not in words
    assert words.endswith(" Versions: python 3 torch 2.")


def test_what_cannot_be_made_says_why(material, tmp_path):
    """Nobody can make it, or the data is missing: two files, and claims that cannot be tested."""
    for number, (one, from_what) in enumerate(
        [(item(make=None, stands_for="An online test."), material), (item(stands_for="Give --data."), Material([]))]
    ):
        made = make(one, from_what, tmp_path / str(number))
        assert [path.suffix for path in made.files] == [".md", ".json"]
        assert {judged.outcome for _, judged in made.judged} == {"cannot be tested"}
        assert one.stands_for in made.files[0].read_text()


def test_where_all_jobs_failed_the_item_is_not_passed_over(tmp_path):
    def make_it(material: Material, backend: object) -> Table:
        material.select(benchmark="small", method="uw")
        raise AssertionError("there is none")

    with pytest.raises(NothingRecorded):
        make(item(make=make_it), Material([]), tmp_path, missing={"job": "it failed"})


def test_the_report_collects_earlier_calls_in_the_order_of_the_catalogue(material, tmp_path):
    order = {name: item(name) for name in ("small-table1", "small-table2", "small-table3")}
    assert write_reproduction(order, tmp_path) is None
    make(item("small-table3"), material, tmp_path, command="dominance reproduce small-table3 --scale full")
    write_reproduction(order, tmp_path)
    make(item("small-table1"), material, tmp_path)
    path = write_reproduction(order, tmp_path)
    assert path == tmp_path / "REPRODUCTION.md"
    judged, waiting = path.read_text().split("## Not run")
    rows = [line for line in judged.splitlines() if line.startswith("| Small")]
    assert [row.split("`")[1] for row in rows] == ["dominance reproduce small-table1"] * 2 + [
        "dominance reproduce small-table3 --scale full"
    ] * 2
    assert "2 claims were not looked at" in waiting
    assert waiting.count("`dominance reproduce small-table2`") == 2
    assert "4 claims: 2 reproduced, 2 cannot be tested." in path.read_text()
    assert rows[0].startswith("| Small, Table 1 | it is so | a < b | 2 | **reproduced** | holds | 1 < 2 \\| sure | ")
    assert " | 2 | **cannot be tested** | – | " in rows[1]
    below = path.read_text().split("## What was run")[1].splitlines()
    assert [line.split("`")[1] for line in below if line.startswith("- **Small, ")] == ["small-table1", "small-table3"]
    assert below[2].endswith("optimizer: adam; learning rate: 0.01.")
    assert "Versions" not in path.read_text()
    for name, versions in (("small-table1", "python 3 torch 2"), ("small-table3", "python 3 torch 2 numpy 1")):
        record = json.loads((tmp_path / f"{name}.json").read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps(record | {"versions": versions}))
    write_reproduction(order, tmp_path)
    assert path.read_text().endswith("\nVersions: python 3 torch 2 numpy 1.\n")
    (tmp_path / "small-table1.json").write_text("{")
    with pytest.raises(BadData, match=r"small-table1\.json cannot be read"):
        write_reproduction(order, tmp_path)


def test_what_an_outcome_says_of_the_claim(material):
    """It holds; or on other data only; or it does not, for a reason that a longer training might take away, or none."""
    own, open_ = item(), item(unstated="the learning rate")
    stands_in, half = item(own=lambda material: False), item(shorter=True, unstated="the learning rate")
    claim, vague = CLAIMS[0], replace(CLAIMS[0], unstated="which point is meant")
    assert kind("reproduced", own, claim, material) == kind("reproduced", half, claim, material, "quick") == "holds"
    assert kind("reproduced", stands_in, claim, material, "long") == "holds on a stand-in"
    assert kind("cannot be tested", stands_in, claim, material) == ""
    for outcome in ("partly", "not reproduced"):
        assert kind(outcome, own, claim, material, "quick") == "does not hold"
        assert kind(outcome, own, vague, material) == kind(outcome, open_, claim, material) == "unstated settings"
        assert kind(outcome, half, claim, material, "long") == "scale"
        assert kind(outcome, half, claim, material, "full") == "unstated settings"
        assert kind(outcome, stands_in, claim, material, "quick") == "scale, stand-in"
        assert (
            kind(outcome, stands_in, claim, material, "full") == kind(outcome, stands_in, claim, material) == "stand-in"
        )


def test_seeds_of_each_training(tmp_path):
    runs = [trained(tmp_path / f"a{seed}", seed=seed) for seed in (0, 1, 2)]
    assert seeds(Material(runs)) == "3"
    runs += [trained(tmp_path / f"b{seed}", seed=seed, lr=0.1) for seed in (0, 1)]
    assert seeds(Material(runs)) == "2 to 3"
    assert seeds(Material([timed(tmp_path / "t", equal_weight=1.0)])) == ""
