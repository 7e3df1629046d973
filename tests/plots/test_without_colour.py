"""No two lines of a panel are told apart by colour alone: in grey they differ by dash, point, width or lightness."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from papers.plots import test_noise_sweeps
from plots import samples
from plots.shares import buckets
from plots.test_palette import lab, linear
from runs import make_run, planted_run

from dominance.papers.plots.noise_sweeps import plot_noise_sweeps
from dominance.papers.plots.owned import plot_owned
from dominance.plots.alignment import plot_alignment
from dominance.plots.geometry import plot_geometry
from dominance.plots.losses import plot_losses
from dominance.plots.lr_dominance import plot_lr_dominance
from dominance.plots.noise_scale import plot_noise_scale
from dominance.plots.tci_gcd import plot_tci_gcd

TASKS = ("a", "b", "c")
ENOUGH = 15.0
"""Of CIE L*: as between the nearest two rAU buckets."""


def run() -> Any:
    """Three tasks, each with parameters of its own."""
    g = np.random.default_rng(0).standard_normal((30, 3, 16))
    for task in range(3):
        g[:, [k for k in range(3) if k != task], 4 + 4 * task : 8 + 4 * task] = 0
    layers = {"trunk": 4, "x": 4, "y": 4, "z": 4}
    made = make_run(-np.cbrt(g), g, tasks=list(TASKS), layers=layers, private=dict(zip("xyz", TASKS, strict=True)))
    made.attrs["optimizers"] = [{"class": "Adam", "groups": [{}], "note": ""}]
    return made


DRAWN = {
    "alignment": lambda: plot_alignment(run(), tasks=list(TASKS), backend="none"),
    "geometry": lambda: plot_geometry(planted_run(steps=10, tasks=TASKS), backend="none"),
    "losses": lambda: plot_losses(planted_run(steps=60, tasks=TASKS), backend="none"),
    "lr_dominance": lambda: plot_lr_dominance(run(), backend="none"),
    "noise_scale": lambda: plot_noise_scale(planted_run(steps=40, tasks=TASKS), backend="none"),
    "noise_sweeps": lambda: plot_noise_sweeps(test_noise_sweeps.result(), owner="B", backend="none"),
    "owned": lambda: plot_owned(buckets("abcdef"), backend="none"),
    "tci_gcd": lambda: plot_tci_gcd(samples.conflict_of_tasks(), backend="none"),
}


def alike(axes: Any) -> list[tuple[str, str]]:
    """Pairs of colours that only colour tells apart."""
    looks: dict[str, set[tuple[Any, ...]]] = {}
    for call in axes.called("line"):
        looks.setdefault(call["colour"], set()).add((call["dashes"], call["marker"], call["width"]))
    greys = {colour: lab(linear(colour))[0] for colour in looks}
    return [pair for pair in combinations(looks, 2)
            if looks[pair[0]] == looks[pair[1]] and abs(greys[pair[0]] - greys[pair[1]]) < ENOUGH]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_lines_differ_in_more_than_colour(name: str):
    plot = DRAWN[name]()
    assert any(axes.called("line") for axes in np.ravel(plot.axes))
    assert [alike(axes) for axes in np.ravel(plot.axes)] == [[]] * plot.axes.size


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dominance.plots.palette.DASHES", ("-",))
    assert any(alike(axes) for axes in plot_owned(buckets("abcdef"), backend="none").axes)
