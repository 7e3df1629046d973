"""Tables and bars of how much longer a step takes than with equal weighting, the paper's ratios beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dominance.papers.item import Judgement
from dominance.papers.outcomes import of_parts
from dominance.papers.table import Table

NOTE = (
    "Times the step of equal weighting: median over laps, in brackets the quartiles; measured in turns in one process."
    " Ours has no loading of data in it, which the paper's epochs have."
)


def ratio_table(
    timings: Mapping[str, dict[str, Any]],
    called: Mapping[str, str],
    published: Mapping[str, Mapping[str, float]],
    backend: Any,
) -> Table:
    """Methods in rows; for each timing ours and the paper's.

    Args:
        timings: label -> what ``dominance.benchmarks.train.timing`` measured.
        called: method of a timing -> how the paper calls it.
        published: label -> method (as the paper calls it) -> ratio.
    """
    header = ["method"]
    rows = [[name] for name in called.values()]
    for label, timing in timings.items():
        title = f"{label}, " if len(timings) > 1 else ""
        header += [f"{title}ours\nms a step", f"{title}ours\nratio", f"{title}paper\nratio"]
        for row, (method, name) in zip(rows, called.items(), strict=True):
            found = timing["methods"][method]
            low, middle, high = found["ratio"]
            row += [f"{1e3 * found['seconds']:.3g}", f"{middle:.2f} ({low:.2f} to {high:.2f})"]
            row += [f"{published[label][name]:.2f}" if name in published[label] else "–"]
    return Table(header, rows, NOTE, backend=backend)


def at_most(
    timings: Mapping[str, dict[str, Any]],
    called: Mapping[str, str],
    published: Mapping[str, Mapping[str, float]],
) -> Judgement:
    """Whether the median ratio of every published method is at or under the paper's."""
    said, holds = [], []
    for label, timing in timings.items():
        for method, name in called.items():
            if name in published[label] and published[label][name] != 1:
                ours, theirs = timing["methods"][method]["ratio"][1], published[label][name]
                where = f" with {label}" if len(timings) > 1 else ""
                said.append(f"{name}{where} {ours:.2f} (paper {theirs:.2f})")
                holds.append(ours <= theirs)
    return Judgement(of_parts(holds), ", ".join(said))
