"""On paper: every figure and table of the papers is as wide as one column or two, in type that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from papers.made import timed
from plots import overlap
from plots.samples import SAMPLES
from studies import scored

from dominance.papers.catalogue import items
from dominance.papers.item import Item, Wish
from dominance.papers.jobs import Timing, Training
from dominance.papers.material import Material
from dominance.papers.table import SMALLEST, Table
from dominance.plots.backends import matplotlib_, none, style
from dominance.plots.sheets import ONE_COLUMN, PAGE, TWO_COLUMNS

PAPER = SimpleNamespace(**{**vars(none), "text_width": style.text_width, "printable": style.printable})
"""Remembers what is drawn, where matplotlib would draw it."""
SCORES = {
    "digits": {"left": ["accuracy"], "right": ["accuracy"], "reconstruction": ["squared_error"]},
    "census": {"income": ["auc"], "never-married": ["auc"], "weeks": ["rmse"]},
    "adatask-synthetic": {"A": ["normalised_rmse", "rmse"], "B": ["normalised_rmse", "rmse"]},
    "movielens": {f"genre{i}": ["mae", "rmse"] for i in range(9)},
    "qm9": {f"property_{i}": ["mae"] for i in range(11)},
}
FROM_STEPS = {"pub-table1"}  # what it needs are gradients, not scores
FIGURES = ("mocograd-fig5", "mocograd-fig7", "mocograd-fig8", "mocograd-fig9")
MADE = [
    name
    for name, item in items().items()
    if item.make is not None and ("table" in name or name in FIGURES) and name not in FROM_STEPS
]

FIRST = (
    "adatask-table1",
    "adatask-table5",
    "adatask-table6",
    "mocograd-table2",
    "mocograd-table2-qm9",
    "mocograd-fig7",
)
"""One of each kind, the widest among them; the others take longer than they find."""
EACH = [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in MADE]


def material(item: Item, folder: Path) -> Material:
    """The scores of everything that it needs, without steps; and the timings."""
    rng = np.random.default_rng(0)
    runs, timings = [], []
    jobs = item.needs(Wish()) or item.needs(Wish(data={"qm9": Path("/data")}))
    for job in (job for job in jobs if getattr(job, "seed", 0) < 2):
        if isinstance(job, Timing):
            ratios = {method: 1.0 + place for place, method in enumerate(job.methods)}
            timings.append(timed(folder / job.name, job.benchmark, job.architecture or "hps", **ratios))
            continue
        assert isinstance(job, Training)
        tasks = job.tasks or tuple(SCORES[job.benchmark])
        metrics = SCORES[job.benchmark]
        run = scored(
            {task: {metric: 0.5 + 0.1 * rng.random() for metric in metrics[task]} for task in tasks},
            directions=dict.fromkeys(("accuracy", "auc"), True) | dict.fromkeys(LOWER, False),
            benchmark=job.benchmark,
            method=job.method,
            architecture=job.architecture or "hps",
        )
        run.attrs["training"] = {
            "seed": job.seed, "optimizer": job.optimizer or "adam", "settings": dict(job.settings),
            "options": dict(job.options), "lr": job.lr,
        }  # fmt: skip
        runs.append(run)
    found = Material(timings)
    found.__dict__["runs"] = runs
    return found


LOWER = ("mae", "rmse", "normalised_rmse", "squared_error")


def boxes(figure: Any) -> Iterator[tuple[str, float, float, float, float]]:
    """(words, left, right, bottom, top) in inches of every line of text that lies flat on the figure."""
    for call in figure.called("text"):
        if call["rotation"]:
            continue
        high = call["size"] / 72
        for number, words in enumerate(call["string"].split("\n")):
            wide = style.text_width(words, call["size"]) * (1.1 if call["bold"] else 1.0)
            left = call["x"] - {"left": 0.0, "center": 0.5, "right": 1.0}[call["horizontal"]] * wide
            top = call["y"] + (0.0 if call["vertical"] == "top" else high) - 1.25 * number * high
            yield words, left, left + wide, top - high, top


def problems(figure: Any) -> list[str]:
    """What overlaps by more than a hundredth of an inch, or runs off the edge."""
    found = [box for box in boxes(figure) if box[0]]
    says = [
        f"{words!r} is cut off"
        for words, left, right, bottom, top in found
        if left < 0 or right > figure.width + 0.01 or bottom < 0 or top > figure.height + 0.01
    ]
    for (one, left, right, bottom, top), (other, *its) in combinations(found, 2):
        if min(right, its[1]) - max(left, its[0]) > 0.01 and min(top, its[3]) - max(bottom, its[2]) > 0.03:
            says.append(f"{one!r} runs into {other!r}")
    return says


@pytest.mark.parametrize("name", EACH)
def test_it_is_one_or_two_columns_wide_in_type_that_can_be_read(name: str, tmp_path: Path):
    item = items()[name]
    assert item.make is not None
    made: Any = item.make(material(item, tmp_path), PAPER)
    for figure in [made.draw(PAPER)] if isinstance(made, Table) else made.figures:
        assert figure.width in (ONE_COLUMN, TWO_COLUMNS)
        assert figure.height <= PAGE
        texts = [*figure.called("text"), *(call for axes in figure.axes for call in axes.called("axis"))]
        assert min(call["size"] for call in texts) >= SMALLEST
        assert problems(figure) == []


def test_the_check_can_fail():
    figure = none.Drawing(ONE_COLUMN, 1.0)
    none.text(figure, 0.1, 0.5, "one and the same")
    none.text(figure, 0.3, 0.5, "place")
    none.text(figure, 3.4, 0.2, "off the page")
    assert problems(figure) == ["'off the page' is cut off", "'one and the same' runs into 'place'"]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_one_or_two_columns_wide_and_nothing_overlaps(name: str):
    made = SAMPLES[name]()
    for figure in [made.draw(matplotlib_)] if isinstance(made, Table) else made.figures:
        assert figure.get_size_inches()[0] in (ONE_COLUMN, TWO_COLUMNS)
        assert overlap.problems(figure) == []
