"""Fonts of PDFs, made small quickly: nearly half of what writing a report took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LAYOUT = ("GDEF", "GPOS", "GSUB", "kern")
"""Tables by which glyphs are chosen and moved when text is set. In a PDF it is set: nothing reads them there."""

_DEFAULT = "_drop_tables_default"


@contextmanager
def without_layout_tables() -> Iterator[None]:
    """Leave the layout tables out of the fonts that matplotlib embeds meanwhile.

    matplotlib keeps them, and fontTools then unpacks, prunes and packs them for every font of every file, which takes
    longer than the glyphs. What is dropped can only be said to fontTools, by a default of its own; where a version has
    none of that name, files are the same and take longer.
    """
    from fontTools.subset import Options

    options: Any = Options
    kept = getattr(options, _DEFAULT, None)
    if kept is None:
        yield
        return
    setattr(options, _DEFAULT, [*kept, *_LAYOUT])
    try:
        yield
    finally:
        setattr(options, _DEFAULT, kept)
