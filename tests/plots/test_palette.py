"""The palette in numbers: lightness in grey, and what is left of it for colour-blind readers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from dominance.plots import palette
from dominance.plots.palette import DIVERGING, SEQUENTIAL, TASKS, TIME, diverging, lines_of, of_tasks, points_of

# Viénot, Brettel and Mollon (1999): linear RGB as a dichromat sees it.
PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
# Machado, Oliveira and Fernandes (2009), severity 1: the same for tritanopes, and two more opinions.
MACHADO = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SEEN = {"trichromat": None, "protan": PROTAN, "deutan": DEUTAN} | {
    f"{name}, Machado": np.array(matrix) for name, matrix in MACHADO.items()
}
eyes = pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = np.clip(to_xyz @ rgb, 0, None) / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, seen=None):
    points = [lab(linear(colour) if seen is None else np.clip(seen @ linear(colour), 0, 1)) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(points, 2))


def test_every_bucket_has_its_own_grey():
    lightness = [lab(linear(colour))[0] for colour in DIVERGING]
    assert min(abs(a - b) for a, b in combinations(lightness, 2)) >= 15


def test_lightness_falls_away_from_the_middle_on_both_sides():
    lightness = np.array([lab(linear(colour))[0] for colour in DIVERGING])
    assert (np.diff(lightness)[:2] > 0).all()
    assert (np.diff(lightness)[2:] < 0).all()


@eyes
def test_buckets_stay_far_apart(seen):
    assert nearest(DIVERGING, seen) >= 20


@eyes
def test_tasks_stay_apart(seen):
    assert nearest(TASKS, seen) >= 15
    assert nearest(TASKS[:2], seen) >= 40


def test_the_check_can_fail():
    assert nearest(["#d73027", "#1a9850"], DEUTAN) < nearest(["#d73027", "#1a9850"]) / 2  # red against green
    assert nearest(["#a83a0c", "#4f6a10"], DEUTAN) < 20


def test_the_first_tasks_have_greys_of_their_own():
    lightness = [lab(linear(colour))[0] for colour in TASKS[: palette.PLAIN]]
    assert min(abs(a - b) for a, b in combinations(lightness, 2)) >= 10
    assert max(lab(linear(colour))[0] for colour in TASKS) < 75  # seen as a thin line on white


def test_areas_lines_and_points_of_tasks_differ_in_more_than_colour():
    colours, hatches = of_tasks(7)
    for (one, its), (other, others) in combinations(zip(colours, hatches, strict=True), 2):
        assert its != others or abs(lab(linear(one))[0] - lab(linear(other))[0]) >= 6
    for looks, channel in ((lines_of(4), palette.DASHES), (points_of(4), palette.MARKS)):
        assert [second for _, second in looks] == list(channel)
    assert len(set(lines_of(28))) == len(set(points_of(28))) == 28


def test_time_darkens_step_by_step():
    lightness = [lab(linear(colour))[0] for colour in TIME]
    assert (np.diff(lightness) < -8).all()


def test_the_neutral_bucket_is_not_the_paper():
    assert lab(linear(DIVERGING[2]))[0] < 93


def test_one_colour_after_the_other_darkens():
    lightness = [lab(linear(colour))[0] for colour in SEQUENTIAL]
    assert (np.diff(lightness) < -10).all()


def test_any_number_of_buckets():
    assert diverging(5) == list(DIVERGING)
    assert diverging(3) == [DIVERGING[0], DIVERGING[2], DIVERGING[4]]
    assert diverging(1) == [DIVERGING[4]]
    assert len(set(diverging(11))) == 11


def test_many_tasks_differ_by_hatch():
    colours, hatches = of_tasks(20)
    assert len(set(zip(colours, hatches, strict=True))) == 20
