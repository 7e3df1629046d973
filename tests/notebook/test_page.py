"""A report as the output of a cell: a page in a frame of its own."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from runs import planted_rows, planted_run, write_run

from dominance import report
from dominance.errors import BadOption, NotARun


def test_a_page_in_a_frame(tmp_path: Path) -> None:
    path = write_run(tmp_path / "<mine>", *planted_rows(steps=12))
    shown = report(path)._repr_html_()
    (page,) = re.findall(r'srcdoc="([^"]*)"', shown)
    page = unescape(page)
    assert page.startswith("<!doctype html>")
    assert "price owns" in page
    assert "plotly" not in page  # a notebook keeps what it shows, and would keep it for each cell
    assert "<mine>" not in shown


def test_runs_side_by_side(tmp_path: Path) -> None:
    one, other = planted_run(steps=12), planted_run(seed=1, steps=12)
    one.attrs["path"], other.attrs["path"] = "runs/one", "runs/other"
    both = report(one, other)
    assert repr(both) == "<Report of one, other: save(folder) writes it>"
    assert "2 runs, side by side" in unescape(both._repr_html_())
    assert "side by side" in both.save(tmp_path).read_text("utf-8")


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no run to report"):
        report()
    with pytest.raises(NotARun):
        report(tmp_path)
