"""The report for a browser: one file that needs nothing else, and says what report.pdf says."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from reports.browser import CHROMIUM, browser
from runs import make_run, planted_run

from dominance.errors import RunExists
from dominance.plots.palette import TASKS
from dominance.reports.figures import ReportData
from dominance.reports.html import html
from dominance.reports.moving import installed
from dominance.reports.write import write_report, write_side_by_side

VOID = {"meta", "input", "br"}
DRAWN = "!!document.documentElement?.dataset.drawn"
moves = pytest.mark.skipif(CHROMIUM is None or not installed(), reason="needs Chromium and Plotly")


def large(tasks, steps=30, seed=0, name="memory"):
    """200 layers."""
    layers = {f"encoder.layers.{i}.attention": 3 for i in range(200)}
    run = planted_run(seed=seed, steps=steps, tasks=[f"task_{i}" for i in range(tasks)], layers=layers)
    run.attrs["path"] = name
    return run


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
    assert ("DecompressionStream" in source) == installed()
    assert "prefers-color-scheme:dark" in source
    assert all(finding.text in page.text for finding in written.verdict)
    assert "`" not in page.text.split("(function")[0].split("H4sI")[0]
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
    source = html(ReportData(large(40)))
    assert len(source) < 3_000_000
    rows = Page(source).rows[2:]
    assert len(rows) == 200
    effective = [float(row[3].split()[0]) for row in rows]
    assert effective == sorted(effective)


def test_runs_side_by_side_in_one_file(tmp_path):
    runs = [planted_run(seed=i, steps=24, layers={"one": 40, "two": 40}) for i in range(3)]
    for run, name in zip(runs, ("plain", "adatask", "<uw>"), strict=True):
        run.attrs["path"] = f"runs/{name}"
    runs.append(planted_run(steps=4, tasks=["only"]))
    page = Page(write_side_by_side(runs, tmp_path).read_text(encoding="utf-8"))
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["layer"] == ["plain", "adatask", "<uw>"]
    assert all(text.startswith("price ") for text in rows["one"])
    assert [len(rows[name]) for name in ("plain", "adatask", "<uw>")] == [5, 5, 5]
    assert "no parameter is reached by two tasks" in rows["memory"][0]
    assert page.text.count("all that was found") == 3
    with pytest.raises(RunExists):
        write_side_by_side(runs, tmp_path)


def test_twelve_large_runs_are_one_small_file(tmp_path):
    path = write_side_by_side([large(6, seed=i, name=f"run-{i}") for i in range(12)], tmp_path)
    assert path.stat().st_size < 3_000_000


@moves
def test_in_a_browser_all_is_drawn_soon_and_can_be_used(tmp_path):
    (path,) = write_report(large(40), tmp_path / "report", format="html")
    with browser(tmp_path / "profile") as page:
        assert page.open(path, "document.readyState === 'complete'") < 2.0  # it can be read, sorted and filtered
        page.open(path, DRAWN)
        assert page.ask("[...document.querySelectorAll('[role=img]')].every(e => e.ariaLabel.length > 20)")
        assert page.ask("document.getElementById('layers').querySelectorAll('.heatmaplayer image').length") == 1
        assert page.ask("document.querySelectorAll('.scatterlayer').length") >= 4
        # The menu shows what a task owns; a heading sorts by the keyboard; the filter hides rows.
        assert page.ask("Plotly.restyle('layers', {visible: [false, true]}) && layers.data[1].name === undefined")
        page.ask("document.querySelector('#map th:nth-child(3) button').focus()")
        for kind in ("keyDown", "keyUp"):
            page.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
            )
        assert page.ask("document.querySelector('#map th:nth-child(3)').getAttribute('aria-sort')") == "ascending"
        page.ask("filter.value = 'layers.7.'; filter.dispatchEvent(new Event('input'))")
        assert page.ask("[...map.tBodies[0].rows].filter(row => !row.hidden).length") == 2
        light = page.ask("getComputedStyle(document.querySelector('#layers .xtick text')).fill")
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        end = time.monotonic() + 60
        while page.ask("getComputedStyle(document.querySelector('#layers .xtick text')).fill") == light:
            assert time.monotonic() < end, "the drawings stay light in the dark"
        assert page.call("Page.printToPDF")["data"]


def test_names_are_no_markup():
    run = planted_run(steps=24, tasks=["<b>", "a&b"], layers={"x<script>": 4})
    source = html(ReportData(run))
    assert "<b>" not in source
    assert source.count("x<script>") == 0
    assert "<b>" in Page(source).text


def test_a_run_that_cannot_be_measured_says_why(tmp_path):
    written = write_report(planted_run(steps=4, tasks=["only"]), tmp_path, format="html")
    assert written.verdict is None
    assert "Nothing could be measured" in Page(written[0].read_text()).text
