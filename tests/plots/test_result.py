"""What a plot function returns."""

from __future__ import annotations

import base64
import re

import pytest
from plots.shares import buckets

from dominance.errors import BadOption, RunExists
from dominance.plots.rau_buckets import plot_rau_buckets


def test_a_notebook_shows_every_page():
    data = buckets("ab", [f"layer{i}" for i in range(36)], 2)
    html = plot_rau_buckets(data, layers="each")._repr_html_()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(images) == 2
    assert base64.b64decode(images[0]).startswith(b"\x89PNG")


def test_the_ending_chooses_the_format(tmp_path):
    plot = plot_rau_buckets(buckets())
    (svg,) = plot.savefig(tmp_path / "plot.SVG")
    assert svg.read_text().startswith("<?xml")
    with pytest.raises(BadOption, match=r"end it in \.pdf, \.png, \.svg"):
        plot.savefig(tmp_path / "plot.docx")


def test_nothing_is_overwritten_when_asked_not_to(tmp_path):
    plot = plot_rau_buckets(buckets())
    path = tmp_path / "plot.png"
    plot.savefig(path, overwrite=False)
    with pytest.raises(RunExists):
        plot.savefig(path, overwrite=False)
    plot.savefig(path)


def test_options_go_to_matplotlib(tmp_path):
    plot = plot_rau_buckets(buckets())
    (small,) = plot.savefig(tmp_path / "small.png", dpi=50)
    (large,) = plot.savefig(tmp_path / "large.png", dpi=300)
    assert large.stat().st_size > small.stat().st_size
