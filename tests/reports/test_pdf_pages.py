"""Pages that fill from the top."""

from __future__ import annotations

import re

from matplotlib.text import Text
from plots.overlap import problems

from dominance.reports.pdf_pages import BOTTOM, HEIGHT, Pages


def texts(page):
    return [text.get_text() for text in page.findobj(Text) if text.get_text()]


def test_words_and_tables_go_on_over_pages():
    pages = Pages()
    pages.words("A title", size=16, bold=True)
    pages.words("word " * 400)
    rows = [[f"layer{i}.with.a.name.that.is.too.long.for.its.column", str(i)] for i in range(120)]
    pages.table(("the\nlayer", "number"), rows, (1.5, 0.6), (False, True))
    pages.number("report")
    assert len(pages.pages) == 3
    assert all("number" in texts(page) for page in pages.pages)  # the header, again
    shown = [text for page in pages.pages for text in texts(page) if text.isdigit()]
    assert shown == [str(i) for i in range(120)]
    for page in pages.pages:
        assert problems(page) == []


def test_plots_share_a_page_while_they_fit_with_their_headings():
    pages = Pages()
    for title in ("first", "second", "third"):
        pages.heading(title, "what it shows")
        pages.figure(7.2, 4.0)
    assert [len(page.subfigs) for page in pages.pages] == [2, 1]
    assert "third" in texts(pages.pages[1])
    assert "third" not in texts(pages.pages[0])


def test_half_as_wide_plots_stand_beside_each_other():
    pages = Pages()
    parts = []
    for title in ("first", "second", "third"):
        pages.heading(title, "what it shows")
        parts.append(pages.figure(3.5, 4.0))
    left, right, below = (part.bbox.get_points() / pages.pages[0].dpi for part in parts)
    assert left[0, 0] < left[1, 0] < right[0, 0]
    assert abs(left[1, 1] - right[1, 1]) < 1e-9
    assert below[1, 1] < left[0, 1]
    assert problems(pages.pages[0]) == []


def test_plots_fill_what_is_free_on_the_pages_before():
    pages = Pages()
    pages.words("the first page is left alone")
    pages.new()
    pages.first = 1
    for title, height in (("first", 6.0), ("second", 8.0), ("third", 2.0)):
        pages.heading(title, "what it shows")
        pages.figure(7.2, height)
    assert [len(page.subfigs) for page in pages.pages] == [0, 2, 1]
    assert "third" in texts(pages.pages[1])


def test_code_is_set_without_backticks():
    pages = Pages()
    pages.words("try `optimizer.step()`, then go on")
    assert " ".join(texts(pages.pages[0])) == "try optimizer.step() , then go on"
    (code,) = [text for text in pages.pages[0].findobj(Text) if "step" in text.get_text()]
    assert code.get_fontfamily() == ["DejaVu Sans Mono"]


def test_a_part_has_the_size_that_was_asked_for_inside_the_page():
    pages = Pages()
    part = pages.figure(7.2, 9.0)
    box = part.bbox.get_points() / pages.pages[0].dpi
    assert abs(box[1, 0] - box[0, 0] - 7.2) < 1e-9
    assert abs(box[1, 1] - box[0, 1] - 9.0) < 1e-9
    assert box[0, 1] >= BOTTOM - 0.1
    assert box[1, 1] <= HEIGHT


def test_parts_are_cut_out_alone_and_the_page_stays_whole(tmp_path):
    pages = Pages()
    pages.words("words of the page")
    first, second = pages.figure(3.5, 1.0), pages.figure(3.5, 2.0)
    first.text(0.5, 0.5, "first")
    second.text(0.5, 0.5, "second")
    seen = [artist for artist in pages.pages[0].findobj() if artist.get_visible()]
    (svg,) = pages.save_parts([second], tmp_path / "second.svg", "svg")
    assert 'height="144pt"' in svg.read_text()
    assert "<!-- second -->" in svg.read_text()
    assert "<!-- first -->" not in svg.read_text()
    assert "<!-- words of the page -->" not in svg.read_text()
    assert [artist for artist in pages.pages[0].findobj() if artist.get_visible()] == seen
    assert [path.name for path in pages.save_parts([first, second], tmp_path / "both.png", "png")] == [
        "both.png",
        "both-2.png",
    ]
    (pdf,) = pages.save_parts([first, second], tmp_path / "both.pdf", "pdf")
    sizes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
    assert [(float(width), float(height)) for width, height in sizes] == [(252, 72), (252, 144)]
