"""A PDF's fonts hold the same glyphs without their layout tables."""

from __future__ import annotations

import io
import re
import zlib

import pytest
from fontTools.subset import Options
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from dominance.plots.backends.embedded_fonts import without_layout_tables
from dominance.plots.backends.style import theme

WORDS = "Effective tasks: fluffy offices, AVATAR, 3.14 ± 0.01 ≤ π"


def embedded() -> list[TTFont]:
    """The fonts in a PDF of these words."""
    figure, file = Figure(figsize=(3, 1)), io.BytesIO()
    with theme():
        figure.text(0.1, 0.5, WORDS)
        figure.savefig(file, format="pdf")
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file.getvalue(), re.DOTALL)
    data = [zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"x"]
    return [TTFont(io.BytesIO(one)) for one in data if one[:4] == b"\x00\x01\x00\x00"]


def test_the_same_glyphs_without_layout_tables():
    fonts = embedded()
    with without_layout_tables():
        lean = embedded()
    assert sum(len(font.getGlyphOrder()) for font in lean) > len(set(WORDS))
    assert any({"GSUB", "GPOS"} <= set(font.keys()) for font in fonts)
    for font, ours in zip(fonts, lean, strict=True):
        assert not {"GSUB", "GPOS", "GDEF", "kern"} & set(ours.keys())
        for name in ours.getGlyphOrder():
            assert ours["glyf"][name] == font["glyf"][name]
            assert ours["hmtx"][name] == font["hmtx"][name]


def test_what_others_get_is_as_before():
    before = Options().drop_tables
    with without_layout_tables():
        assert "GSUB" in Options().drop_tables
    with pytest.raises(KeyError), without_layout_tables():
        raise KeyError
    assert Options().drop_tables == before
    assert "GSUB" not in before


def test_a_version_without_that_default(monkeypatch):
    monkeypatch.delattr(Options, "_drop_tables_default")
    with without_layout_tables():
        assert not hasattr(Options, "_drop_tables_default")
