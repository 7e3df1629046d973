"""Drawing with matplotlib: the user's settings, names as they are, files."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from plots.shares import buckets, degrees

from dominance.plots.backends import Box, matplotlib_, style
from dominance.plots.gcd import plot_gcd
from dominance.plots.rau_buckets import plot_rau_buckets


@pytest.fixture
def odd_settings():
    odd: dict[Any, Any] = {
        "font.size": 30.0,
        "axes.facecolor": "black",
        "text.usetex": True,
        "pdf.fonttype": 3,
        "savefig.bbox": "tight",
    }
    with matplotlib.rc_context(odd):
        yield dict(matplotlib.rcParams.copy())


def test_the_users_settings_change_nothing_and_stay(odd_settings, tmp_path):
    (odd,) = plot_rau_buckets(buckets()).savefig(tmp_path / "odd.pdf")
    assert dict(matplotlib.rcParams.copy()) == odd_settings
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        (plain,) = plot_rau_buckets(buckets()).savefig(tmp_path / "plain.pdf")
    assert odd.read_bytes() == plain.read_bytes()


def test_settings_come_back_after_an_error():
    before = dict(matplotlib.rcParams.copy())

    def fail():
        with style.theme():
            assert matplotlib.rcParams["font.size"] == 7.5
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert dict(matplotlib.rcParams.copy()) == before
    with style.theme():
        assert matplotlib.rcParams["font.size"] == 7.5


def test_the_width_of_words_is_what_matplotlib_draws():
    figure = matplotlib_.figure(8, 1)
    figure.dpi = 600  # on a coarser grid glyphs are widened to whole pixels
    for words in ("reconstruction", "encoder.layers.10", "WWWWiiii", "(80, 100] %"):
        text = figure.text(0, 0, words, fontsize=9, fontfamily="DejaVu Sans")
        drawn = text.get_window_extent(cast(Any, figure.canvas).get_renderer()).width / figure.dpi
        assert matplotlib_.text_width(words, 9.0) == pytest.approx(drawn, rel=0.02, abs=0.01)


def test_the_width_of_words_does_not_hang_on_what_was_drawn_before():
    style._advance.cache_clear()
    before = matplotlib_.text_width("some words", 7.0)
    figure = matplotlib_.figure(2, 1)
    figure.text(0, 0, "larger", fontsize=31)
    figure.canvas.draw()
    style._advance.cache_clear()
    assert matplotlib_.text_width("some words", 7.0) == before


def test_names_with_signs_of_tex_stand_as_they_are(tmp_path):
    tasks = ["$x_1$ & y", r"\frac{a}{", "100 %"]
    plot = plot_rau_buckets(buckets(tasks, ["a$b$", "c_d^e"]), layers="each")
    plot.savefig(tmp_path / "signs.png")
    words = {text.get_text() for text in plot.figure.texts}
    assert {"rAU of $x_1$ & y", r"rAU of \frac{a}{", "a$b$"} <= words
    assert not any(text.get_parse_math() for text in plot.figure.texts)


def test_characters_that_the_font_lacks_are_escaped(tmp_path):
    plot = plot_gcd(degrees(["价格", "naïve Ωß"]))
    plot.savefig(tmp_path / "characters.pdf")  # a missing glyph would be a warning, and warnings are errors here
    assert any("\\u4ef7" in text.get_text() and "Ωß" in text.get_text() for text in plot.figure.texts)


@pytest.mark.parametrize("ending", ["pdf", "png", "svg"])
def test_the_same_plot_gives_the_same_bytes(tmp_path, ending):
    first, second = (
        plot_rau_buckets(buckets(), tasks="left").savefig(tmp_path / f"{name}.{ending}")[0] for name in "ab"
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 1000


def test_fonts_are_embedded_as_truetype(tmp_path):
    (path,) = plot_rau_buckets(buckets()).savefig(tmp_path / "fonts.pdf")
    content = path.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


def test_pages_become_one_pdf_or_numbered_pictures(tmp_path):
    plot = plot_rau_buckets(buckets("ab", [f"layer{i}" for i in range(36)], 2), layers="each")
    assert len(plot.figures) == 2
    (pdf,) = plot.savefig(tmp_path / "layers.pdf")
    assert pdf.read_bytes().count(b"/Type /Page ") == 2
    assert [path.name for path in plot.savefig(tmp_path / "layers.svg")] == ["layers.svg", "layers-2.svg"]


def test_areas_stack_to_the_top_and_cells_carry_their_colours():
    figure = matplotlib_.figure(2, 1)
    axes = matplotlib_.new_axes(figure, Box(0.2, 0.2, 1.6, 0.6))
    matplotlib_.stacked_area(axes, [0, 1], [[30, 0, 70], [100, 0, 0]], colours=["#112233", "#445566", "#778899"])
    (areas,) = axes.collections
    tops = [path.vertices[:, 1].max() for path in areas.get_paths()]
    assert tops == [100, 100]  # the empty one is not drawn
    matplotlib_.cells(axes, [[0.0, np.nan]], colours=["#000000", "#ffffff"], low=0, high=1, texts=[["x", "y"]])
    assert [text.get_text() for text in axes.texts] == ["x"]
    assert axes.texts[0].get_color() == "white"


def test_a_users_axes_are_used(tmp_path):
    figure = Figure(figsize=(6, 3))
    left, right = figure.subplots(1, 2)
    plot = plot_rau_buckets(buckets("abc"), tasks=["a", "b"], ax=[left, right])
    assert plot.figure is figure
    assert left.get_ylabel() == "rAU of a\nparameters (%)"
    assert right.get_ylim() == (0, 100)
    plot.savefig(tmp_path / "mine.png")


def test_no_pyplot_no_torch_no_display(tmp_path):
    program = """
import sys
from runs import planted_run
from dominance.reports.write import write_report
write_report(planted_run(steps=3), sys.argv[1], format="png")
bad = [name for name in ("torch", "matplotlib.pyplot", "seaborn", "tkinter") if name in sys.modules]
assert not bad, bad
"""
    environment = {"PYTHONPATH": "tests", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "report")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
