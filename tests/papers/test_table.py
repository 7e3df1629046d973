"""A table as text, as figures, and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plots.overlap import problems

from dominance.errors import BadOption, RunExists
from dominance.papers.table import SMALLEST, Table
from dominance.plots import sheets

HEADER = ["method", "A ↓\nours", "A ↓\npaper"]
ROWS = [["EqualWeight", "0.5 ± 0.1", "0.2"], [], ["a | b", "0.4", "–"]]


def table(**options) -> Table:
    return Table(HEADER, ROWS, "Mean of 3 seeds.", frozenset({(0, 1)}), **options)


def test_markdown_and_csv():
    assert table().markdown().splitlines() == [
        "| method | A ↓ ours | A ↓ paper |",
        "| --- | --- | --- |",
        "| EqualWeight | **0.5 ± 0.1** | 0.2 |",
        "| a \\| b | 0.4 | – |",
    ]
    assert table().csv().splitlines() == ["method,A ↓ ours,A ↓ paper", "EqualWeight,0.5 ± 0.1,0.2", "a | b,0.4,–"]


@pytest.mark.parametrize("ending", ["pdf", "png", "svg", "csv", "md"])
def test_the_same_table_gives_the_same_bytes(ending: str, tmp_path: Path):
    first, again = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    assert table().savefig(first) == [first]
    table().savefig(again)
    assert first.read_bytes() == again.read_bytes()
    assert len(first.read_bytes()) > 50
    with pytest.raises(RunExists):
        table().savefig(first, overwrite=False)


def test_an_unknown_ending_is_refused(tmp_path: Path):
    with pytest.raises(BadOption, match=r"no table format '\.docx'"):
        table().savefig(tmp_path / "a.docx")


def drawn(made: Table):
    from dominance.plots import backends

    return made.draw(backends.get("none"))


def test_every_cell_stands_on_paper_no_two_on_each_other():
    figure = drawn(table(backend="none"))
    texts = figure.called("text")
    words = [call["string"] for call in texts]
    for cell in ("EqualWeight", "0.5 ± 0.1", "0.2", "a | b", "–", "ours", "paper", "Mean of 3 seeds."):
        assert cell in words
    (bold,) = [call["string"] for call in texts if call["bold"]]
    assert bold == "0.5 ± 0.1"
    places = [(call["x"], call["y"]) for call in texts]
    assert len(set(places)) == len(places)


def test_a_table_is_as_wide_as_one_column_or_two():
    assert drawn(table()).width == sheets.ONE_COLUMN
    figure = drawn(Table(["method", *(f"column {i}" for i in range(7))], [["x", *["0.1234"] * 7]]))
    assert figure.width == sheets.TWO_COLUMNS
    assert max(call["x"] for call in figure.called("text")) == pytest.approx(sheets.TWO_COLUMNS - 0.06)
    assert {call["size"] for call in figure.called("text")} == {sheets.SMALL}


def test_type_shrinks_a_little_then_columns_go_below_with_those_of_their_heading():
    header = ["method", *(f"column {i // 2}\n{who}" for i, who in enumerate(["ours", "paper"] * 7))]
    figure = drawn(
        Table(header, [["the first", *["0.1234 ± 0.0123"] * 14], [], ["the second", *["0.1"] * 14]], "Note.")
    )
    texts = figure.called("text")
    assert figure.width == sheets.TWO_COLUMNS
    assert max(call["x"] for call in texts) <= sheets.TWO_COLUMNS
    assert min(call["size"] for call in texts) >= SMALLEST
    words = [call["string"] for call in texts]
    assert words.count("the first") == words.count("method") == 4
    assert words.count("0.1234 ± 0.0123") == 14
    of_heading: dict[str, Any] = {}
    for call in texts:
        if call["string"].startswith("column"):
            of_heading.setdefault(call["string"], set()).add(call["y"])
    assert len(of_heading) == 7
    assert all(len(heights) == 1 for heights in of_heading.values())
    places = [(call["x"], call["y"]) for call in texts]
    assert len(set(places)) == len(places)
    assert min(call["y"] for call in texts) == next(call["y"] for call in texts if call["string"] == "Note.") > 0


@pytest.mark.parametrize("columns", [2, 7, 14])
def test_nothing_runs_into_another(columns: int):
    from dominance.plots import backends

    header = ["method", *(f"column {i // 2} ↓\nours" for i in range(columns))]
    rows = [["EqualWeight", *["0.1234 ± 0.0123"] * columns], ["a longer name", *["0.1"] * columns]]
    made = Table(header, rows, "A note. " * 30, frozenset((0, i) for i in range(1, columns)))
    assert problems(made.draw(backends.get("matplotlib"))) == []
