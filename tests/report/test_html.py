"""The report for a browser: one file that needs nothing else, and says what report.pdf says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance.errors import RunExists
from dominance.plots.palette import TASKS
from dominance.report.figures import ReportData
from dominance.report.html import html
from dominance.report.write import write_report

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Its text, its rows, and whether every tag that opens is closed."""

    def __init__(self, source):
        super().__init__()
        self.open: list[str] = []
        self.rows: list[Any] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.rows and {"td", "th"} & set(self.open) and "title" not in self.open:
            self.rows[-1][-1] += data


def test_one_file_that_needs_nothing_else(tmp_path):
    written = write_report(planted_run(steps=60), tmp_path / "report", format="html")
    assert [path.name for path in written] == ["report.html"]
    source = written[0].read_text(encoding="utf-8")
    page = Page(source)
    assert page.links == []
    assert not re.search(r"https?://|@import|url\(", source)
    assert "prefers-color-scheme:dark" in source
    assert all(finding.text in page.text for finding in written.verdict)
    assert "`" not in page.text.split("(function")[0]
    with pytest.raises(RunExists):
        write_report(planted_run(steps=60), tmp_path / "report", format="html")


def test_a_row_for_each_layer_with_owner_and_conflict():
    updates = np.array([[[1.0, 1.0, 1.0, 1.0], [0.1, 0.1, -1.0, -1.0]]] * 30)
    source = html(ReportData(make_run(updates, layers={"one": 2, "two": 2})))
    rows = {row[0]: row[2:] for row in Page(source).rows}
    assert rows["one"] == ["a 100 %", "1.06 of 2", "a × b 0.00"]
    assert rows["two"] == ["nobody", "2.00 of 2", "a × b 2.00"]
    (strip,) = re.findall(r'<tr data-order="1">.*?<svg[^>]*>(.*?)</svg>', source)
    assert f'fill="{TASKS[0]}" fill-opacity="1.00"' in strip
    assert strip.count("<rect") == 30  # each says its step


def test_large_models_begin_with_the_worst_layer_and_stay_small():
    layers = {f"encoder.layers.{i}.attention": 3 for i in range(200)}
    run = planted_run(steps=30, tasks=[f"task_{i}" for i in range(12)], layers=layers)
    source = html(ReportData(run))
    assert len(source) < 3_000_000
    rows = Page(source).rows[2:]
    assert len(rows) == 200
    effective = [float(row[3].split()[0]) for row in rows]
    assert effective == sorted(effective)


def test_names_are_no_markup():
    run = planted_run(steps=24, tasks=["<b>", "a&b"], layers={"x<script>": 4})
    source = html(ReportData(run))
    assert "<b>" not in source
    assert source.count("<script>") == 1
    assert "<b>" in Page(source).text


def test_a_run_that_cannot_be_measured_says_why(tmp_path):
    written = write_report(planted_run(steps=4, tasks=["only"]), tmp_path, format="html")
    assert written.verdict is None
    assert "Nothing could be measured" in Page(written[0].read_text()).text
