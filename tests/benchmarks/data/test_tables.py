"""Tables: what is read, and how a mistake is named by its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.tables import numbers, read_pieces, read_table, refuse, require, whole_numbers, yes_or_no
from dominance.errors import BadData, MissingData


def table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_with_and_without_a_header(tmp_path: Path) -> None:
    frame = read_table(table(tmp_path, "a,b\n1,2.5\n3,4\n"))
    assert list(frame.index) == [2, 3]
    assert numbers(frame, "b", tmp_path).tolist() == [2.5, 4.0]
    frame = read_table(table(tmp_path, "1|x\n3|NA\n"), names=["a", "b"], sep="|", text=["b"])
    assert list(frame.index) == [1, 2]
    assert whole_numbers(frame, "a", tmp_path).tolist() == [1, 3]
    assert frame["b"].tolist() == ["x", "NA"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", "row 3: b is 'x', no number"),
        ("a,b\n1,2\n3,\n", "row 3: b is missing"),
        ("a,b\n1,2\n3\n", "row 3: b is missing"),
        ("a,b\n1,2\n3,inf\n", "row 3: b is inf, no number"),
        ("a,b\n1,2\n\n3,4\n", "row 3: b is missing"),
        ("a,b\n1,2\n3,4,5\n", "row 3: 3 columns, expected 2"),
        ("a,b\n1,2,9\n3,4,5\n", "more columns"),
        ("a,b\n", "no rows"),
        ("", "empty"),
        ("a,b\n1,2\n1,__import__('os')\n", "row 3: b is .*no number"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(BadData, match=message) as caught:
        numbers(read_table(path), "b", path)
    assert str(path) in str(caught.value)


def test_no_whole_number(tmp_path: Path) -> None:
    path = table(tmp_path, "a\n1\n2.5\n")
    with pytest.raises(BadData, match=r"row 3: a is .*2\.5.*no whole number"):
        whole_numbers(read_table(path), "a", path)


def test_encoding(tmp_path: Path) -> None:
    path = table(tmp_path, "a\né\n", "latin-1")
    assert read_table(path, text=["a"], encoding="latin-1")["a"].tolist() == ["é"]
    with pytest.raises(BadData, match="utf-8"):
        read_table(path, text=["a"])


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = table(tmp_path, "a\n1\n")
    with pytest.raises(BadData, match="no column b, c"):
        require(read_table(path), ["a", "b", "c"], path)


def test_packaged() -> None:
    assert packaged("torch", "version.py", "pip install torch").is_file()
    with pytest.raises(MissingData, match=r"no_such_package is not installed.*pip install it"):
        packaged("no_such_package", "x", "pip install it")
    with pytest.raises(MissingData, match=r"has no no\.csv"):
        packaged("torch", "no.csv", "pip install torch")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_in_pieces(tmp_path: Path, size: int) -> None:
    path = table(tmp_path, "a,b\n1,x\n2,y\n3,z\n4,x\n5,y\n")
    pieces = list(read_pieces(path, columns=["a"], size=size))
    assert [len(piece) for piece in pieces] == [min(size, 5 - done) for done in range(0, 5, size)]
    assert [row for piece in pieces for row in piece.index] == [2, 3, 4, 5, 6]
    assert [value for piece in pieces for value in piece["a"]] == [1, 2, 3, 4, 5]
    assert sum(len(piece) for piece in read_pieces(path, rows=3, size=2)) == 3


def read_through(path: Path, size: int) -> None:
    for piece in read_pieces(path, names=["a", "b"], sep=" ", size=size):
        refuse(whole_numbers(piece, "a", path) < 0, piece, path, "a is below 0")
        yes_or_no(piece, "b", path)


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1\n3 0\n5 1 7\n", "row 3: 3 columns, expected 2"),
        ("1 1 3\n4 0 6\n", "more columns than expected"),
        ("", "empty"),
        ("1 1\n3 0\n5\n", "row 3: b is missing"),
        ("1 1\n3 0\n5 x\n", "row 3: b is 'x', no number"),
        ("1 1\n3 0\n5 2\n", "row 3: b is neither 0 nor 1"),
        ("1 1\n3 0\n-5 1\n", "row 3: a is below 0"),
    ],
)
def test_mistakes_in_pieces(tmp_path: Path, text: str, message: str, size: int) -> None:
    """However small the pieces are, the row is that of the file."""
    with pytest.raises(BadData, match=message):
        read_through(table(tmp_path, text), size)


def test_no_more_rows_than_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, "a\n1\n2\n3\nx\n")
    assert read_table(path, rows=2)["a"].tolist() == [1, 2]
    assert [len(piece) for piece in read_pieces(path, rows=3, size=2)] == [2, 1]


def test_a_header_alone(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no rows"):
        list(read_pieces(table(tmp_path, "a,b\n")))
