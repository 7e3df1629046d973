"""A table as text, as figures, and on paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from dominance.errors import BadOption, RunExists
from dominance.figures.papers.table import Table
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


def test_a_wide_table_is_shrunk_to_two_columns_of_a_paper():
    wide = Table(["method", *(f"column {i}\nours" for i in range(14))], [["x", *["0.1234 ± 0.0123"] * 14]])
    figure = drawn(wide)
    assert figure.width <= sheets.TWO_COLUMNS + 1e-6
    assert max(call["x"] for call in figure.called("text")) <= sheets.TWO_COLUMNS
