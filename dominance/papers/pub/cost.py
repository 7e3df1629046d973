"""PUB's table of times (V), and that of its online test (VI)."""

from __future__ import annotations

from typing import Any

from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Timing
from dominance.papers.material import Material
from dominance.papers.outcomes import of_parts
from dominance.papers.presets import EXPERTS, PRESETS
from dominance.papers.pub.statistics import PAPER, PAPERS_OWN, STAND_IN
from dominance.papers.speed import at_most, ratio_table
from dominance.papers.table import Table

TIMED = {"equal-weight": "Base", "nash-mtl:every=10": "NashMTL", "pub:every=10": "PUB"}
TABLE5 = {
    "MMOE": {"Base": 558.26, "NashMTL": 702.31, "PUB": 651.36},
    "PLE": {"Base": 844.24, "NashMTL": 1050.65, "PUB": 984.25},
}
"""Seconds of an epoch on AliExpress ES, with batches of 4096 and new weights at every tenth step."""
RATIOS = {model: {name: seconds / times["Base"] for name, seconds in times.items()} for model, times in TABLE5.items()}


def timed(wish: Wish) -> list[Job]:
    """MMOE and PLE, batches of 4096, new weights at every tenth step."""
    benchmark = PAPERS_OWN if PAPERS_OWN in wish.data else STAND_IN
    own = benchmark == PAPERS_OWN
    settings = wish.settings(benchmark, **(PRESETS[PAPER, benchmark].how["settings"] if own else {"weeks": "input"}))
    return [
        Timing(benchmark, tuple(TIMED), architecture=EXPERTS[name] if own else name, settings=settings, batch_size=4096)
        for name in ("mmoe", "ple")
    ]


def _timings(material: Material) -> dict[str, dict[str, Any]]:
    (benchmark,) = {timing["benchmark"] for timing in material.timings}
    found = {timing["architecture"].partition(":")[0]: timing for timing in material.timings}
    if missing := {"mmoe", "ple"} - found.keys():
        material.timing(benchmark, missing.pop())  # says what would make it
    return {"MMOE": found["mmoe"], "PLE": found["ple"]}


def _times(material: Material, backend: Any) -> Table:
    return ratio_table(_timings(material), TIMED, RATIOS, backend)


def _times_hold(material: Material) -> Judgement:
    return at_most(_timings(material), TIMED, RATIOS)


def _faster_than_nash(material: Material) -> Judgement:
    said, holds = [], []
    for model, timing in _timings(material).items():
        nash, pub = (timing["methods"][name]["ratio"][1] for name in ("nash-mtl:every=10", "pub:every=10"))
        said.append(f"{model}: PUB {pub:.2f}, NashMTL {nash:.2f}")
        holds.append(pub < nash)
    return Judgement(of_parts(holds), "; ".join(said))


ITEMS = (
    Item(
        "pub-table5",
        PAPER,
        "Table V",
        "time of a training step",
        needs=timed,
        make=_times,
        stands_for="The paper's data is AliExpress ES (--data aliexpress=DIR); in its place stands KDD Census-Income"
        " with two tasks.",
        own=lambda material: material.given(PAPERS_OWN),
        claims=(
            Claim(
                "pub-time",
                "an epoch takes PUB 1.17 times as long as the backbone (MMOE and PLE), and NashMTL 1.26 and 1.24 times",
                "the ratio of each is at or under the paper's; partly: of two of the four",
                _times_hold,
            ),
            Claim(
                "pub-time-nash",
                "PUB is faster than NashMTL",
                "a step takes it less time with MMOE and with PLE; partly: with one",
                _faster_than_nash,
            ),
        ),
    ),
    Item(
        "pub-table6",
        PAPER,
        "Table VI",
        "online test",
        needs=lambda wish: [],
        make=None,
        stands_for="An A/B test in a commercial platform: nobody outside of it can make it again.",
        claims=(
            Claim(
                "pub-online",
                "eCPM rises by 3.29 to 6.10 % a day, 4.06 % on average, in an online test of a week",
                "none: there is nothing to run",
                lambda material: Judgement("cannot be tested", "an online test"),
            ),
        ),
    ),
)
