"""Text tables read fast, and every mistake in them named by file, row and column. A column is never evaluated."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.io.parsers import TextFileReader

from dominance.errors import BadData


class HowToRead(TypedDict, total=False):
    """What is known of a table before it is read."""

    names: Sequence[str] | None
    """The columns of a file without a header; None: the first row names them."""
    sep: str
    text: Sequence[str]
    """Columns kept as text; the others become numbers if all of their values are."""
    columns: Sequence[str] | None
    """Of a file with a header, the columns to read; None: all."""
    encoding: str
    quoted: bool
    """Whether text in double quotes may hold the separator."""
    rows: int | None
    """Read no more than the first of them."""


def read_table(path: Path, **how: Unpack[HowToRead]) -> pd.DataFrame:
    """A csv file (or .gz) as a frame whose index is the row number in the file, from 1, the header counted.

    Raises:
        BadData: it cannot be read, has no rows, lacks a column, or a row has more columns than it should.
    """
    (frame,) = _frames(path, None, **how)
    return frame


_NOTICES_LONG_ROWS = tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
"""Whether pandas notices that the first row of a piece has a column too many; else a file is read whole, then cut."""


def read_pieces(path: Path, *, size: int = 50_000, **how: Unpack[HowToRead]) -> Iterator[pd.DataFrame]:
    """The same in pieces of so many rows, for files that are too large to be read at once. Row numbers go on.

    A column may be numbers in one piece and text in another, if the piece has a value that is no number.

    Raises:
        BadData: as ``read_table``.
    """
    if not _NOTICES_LONG_ROWS:
        for frame in _frames(path, None, **how):
            yield from (frame.iloc[first : first + size] for first in range(0, len(frame), size))
        return
    yield from _frames(path, size, **how)


def _frames(
    path: Path,
    size: int | None,
    *,
    names: Sequence[str] | None = None,
    sep: str = ",",
    text: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoted: bool = True,
    rows: int | None = None,
) -> Iterator[pd.DataFrame]:
    """All of it in one piece if there is no size."""
    if columns is not None and names is None:
        require(read_table(path, sep=sep, encoding=encoding, quoted=quoted, rows=1), columns, path)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    first = 2 if names is None else 1
    with (
        _told(path, encoding),
        pd.read_csv(
            path,
            sep=sep,
            names=None if names is None else list(names),
            header=0 if names is None else None,
            dtype=dict.fromkeys(text, str),
            encoding=encoding,
            index_col=False,
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
            low_memory=False,
            usecols=None if columns is None else list(columns),
            nrows=rows,
            quoting=quoting,
            iterator=True,
        ) as reader,
    ):
        while (frame := _next(reader, size, rows)) is not None:
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            yield frame
            if not size:
                return
    if first == (2 if names is None else 1):
        raise BadData(f"{path}: has no rows", fix=_FIX)


def _next(reader: TextFileReader, size: int | None, rows: int | None) -> pd.DataFrame | None:
    """The next rows, all up to ``rows`` if there is no size; None if there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = reader.get_chunk(size) if size else reader.read(rows)
        except StopIteration:
            return None
    return frame if len(frame) else None


@contextmanager
def _told(path: Path, encoding: str) -> Iterator[None]:
    """What pandas finds wrong, in our words."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: is not {encoding} ({error.reason})", fix="save it in that encoding") from None
    except pd.errors.ParserWarning:
        raise BadData(f"{path}: row 1 and others have more columns than expected", fix=_FIX) from None
    except pd.errors.EmptyDataError:
        raise BadData(f"{path}: is empty", fix=_FIX) from None
    except (pd.errors.ParserError, gzip.BadGzipFile) as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        what = f"row {found[2]}: {found[3]} columns, expected {found[1]}" if found else f"no table ({error})"
        raise BadData(f"{path}: {what}", fix=_FIX) from None


_FIX = "mend the file, or get it again"


def numbers(frame: pd.DataFrame, column: str, path: Path) -> npt.NDArray[np.float64]:
    """A column as float64.

    Raises:
        BadData: a value is missing, no number, or not finite.
    """
    values = frame[column]
    parsed = values if values.dtype.kind in "iuf" else pd.to_numeric(values.astype(str), errors="coerce")
    found = parsed.to_numpy(np.float64)
    _refuse(~np.isfinite(found), values, path, "no number")
    return found


def whole_numbers(frame: pd.DataFrame, column: str, path: Path) -> npt.NDArray[np.int64]:
    """A column as int64.

    Raises:
        BadData: a value is missing or no whole number.
    """
    values = frame[column]
    if values.dtype.kind in "iu":
        return values.to_numpy(np.int64)
    found = numbers(frame, column, path)
    _refuse(found != np.round(found), values, path, "no whole number")
    return found.astype(np.int64)


def _refuse(wrong: npt.NDArray[np.bool_], values: pd.Series[Any], path: Path, what: str) -> None:
    if wrong.any():
        place = int(np.argmax(wrong))
        value = values.iloc[place]
        shown = repr(value) if isinstance(value, str) else str(value)
        seen = "missing" if value != value or value == "" else f"{shown}, {what}"
        raise BadData(f"{path}: row {values.index[place]}: {values.name} is {seen}", fix=_FIX)


def refuse(wrong: npt.NDArray[np.bool_], frame: pd.DataFrame, path: Path, what: str) -> None:
    """
    Raises:
        BadData: a row is wrong: the first of them, and what is wrong with it.
    """
    if wrong.any():
        raise BadData(f"{path}: row {frame.index[int(np.argmax(wrong))]}: {what}", fix="mend or leave out the row")


def yes_or_no(frame: pd.DataFrame, column: str, path: Path) -> npt.NDArray[np.int64]:
    """A column of 0 and 1 as int64.

    Raises:
        BadData: a value is missing, or neither.
    """
    found = whole_numbers(frame, column, path)
    refuse((found != 0) & (found != 1), frame, path, f"{column} is neither 0 nor 1")
    return found


def require(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """
    Raises:
        BadData: a column is not there.
    """
    gone = [column for column in columns if column not in frame.columns]
    if gone:
        raise BadData(f"{path}: row 1: there is no column {', '.join(gone)}", fix="see the benchmark's file format")
