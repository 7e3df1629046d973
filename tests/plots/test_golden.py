"""A few figures look as they did when somebody looked at them; those lie in ``golden/``.

After a wanted change: ``RENEW_GOLDEN=1 python -m pytest tests/plots/test_golden.py -n 0``, then look at each that git
says has changed. Pictures are compared by the mean colour of small tiles, with letters as they are in the font (not
hinted): those that another FreeType draws a little lighter or a fraction of a pixel further pass; another line, word,
point or colour does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image
from plots.samples import SAMPLES, conflicts, scores, shares, table, ways

from dominance.papers.plots.trajectories import plot_trajectories
from dominance.plots.backends import matplotlib_, style
from dominance.plots.gcd import plot_gcd
from dominance.plots.palette import TASKS
from dominance.plots.rau_buckets import plot_rau_buckets
from dominance.plots.scores import plot_scores

GOLDEN = Path(__file__).parent / "golden"
TILE, LIMIT = 12, 12.0
"""Pixels of 1/100 inch; the largest ``difference``, of 255. Matplotlib 3.9 and 3.10 beside 3.11, whose FreeType, text
layout and rounding are others: up to 10. A way that begins 0.05 from where it did: 15; the others below: 26 or
more."""


def picture(made: Any, path: Path, hinting: str = "none") -> np.ndarray:
    """(height, width, 3) from 0 to 255, and the file at ``path``."""
    figures = made.figures if hasattr(made, "figures") else [made.draw(matplotlib_)]
    with patch.dict(style.THEME, {"text.hinting": hinting}):
        matplotlib_.save(figures, path, "png", dpi=100)
    return read(path)


def read(path: Path) -> np.ndarray:
    return 255 * imread(path)[..., :3].astype(float)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """How far the tile that differs most is from the other picture's, at best shifted by a pixel: root mean square over
    the colours of the difference of means. Infinite where a size differs by more than a pixel."""
    if max(abs(one - other) for one, other in zip(a.shape, b.shape, strict=True)) > 1:
        return float("inf")
    high, wide = (min(pair) for pair in zip(a.shape[:2], b.shape[:2], strict=True))
    inside = a[1 : high - 1, 1 : wide - 1]
    tiles = np.inf
    for down, right in product((0, 1, 2), repeat=2):
        change = inside - b[down : high - 2 + down, right : wide - 2 + right]
        tiles = np.minimum(tiles, np.sqrt((means(change) ** 2).mean(axis=-1)))
    return float(np.max(tiles))


def means(change: np.ndarray) -> np.ndarray:
    """Of tiles; those at the right and lower edge are as if continued by nothing."""
    high, wide = change.shape[:2]
    padded = np.pad(change, ((0, -high % TILE), (0, -wide % TILE), (0, 0)))
    return padded.reshape(-(-high // TILE), TILE, -(-wide // TILE), TILE, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("name", SAMPLES)
def test_it_looks_as_it_did(name: str, tmp_path: Path):
    golden = GOLDEN / f"{name}.png"
    if os.environ.get("RENEW_GOLDEN"):
        picture(SAMPLES[name](), golden)
        Image.open(golden).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(golden, optimize=True)
    found = difference(picture(SAMPLES[name](), tmp_path / golden.name), read(golden))
    assert found < LIMIT, f"{name} is another picture ({found:.1f}): see {tmp_path / golden.name}, beside {golden}"


def changed() -> Iterator[tuple[str, Any]]:
    """(name of the sample, a drawing that is not the same)."""
    data = shares()
    data["share"].values[15:] = data["share"].values[14]
    yield "rau_buckets", plot_rau_buckets(data, tasks="B")
    data = ways()
    data["first"].values[0, 0] += 0.05
    yield "trajectories", plot_trajectories(data)
    data = scores()
    data["value"].values[0, 0] += 0.02
    yield "scores", plot_scores(data)
    data = conflicts()
    data["gcd"].values[40:45, 0, 0, 1] += 0.4
    yield "gcd", plot_gcd(data)
    yield "table", replace(table(), bold=frozenset({(2, 1)}))
    yield "table", replace(table(), rows=[[*row[:3], "", *row[4:]] if row else row for row in table().rows])


def test_a_changed_figure_is_another_picture(tmp_path: Path):
    for name, made in changed():
        assert difference(picture(made, tmp_path / "x.png"), read(GOLDEN / f"{name}.png")) > LIMIT, name


def test_another_colour_is_another_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dominance.plots.dots.TASKS", TASKS[1:])
    assert difference(picture(plot_scores(scores()), tmp_path / "x.png"), read(GOLDEN / "scores.png")) > LIMIT


def test_letters_drawn_otherwise_are_no_other_picture(tmp_path: Path):
    for name in ("table", "tci_gcd"):
        found = picture(SAMPLES[name](), tmp_path / "x.png", hinting="default")
        assert 0 < difference(found, read(GOLDEN / f"{name}.png")) < LIMIT, name


def test_another_size_is_another_picture():
    assert difference(np.zeros((30, 30, 3)), np.zeros((30, 33, 3))) == float("inf")
