"""The report of runs as the output of a cell."""

from __future__ import annotations

from html import escape
from os import PathLike
from pathlib import Path

import xarray as xr

from dominance.errors import BadOption
from dominance.reports import facts
from dominance.reports.figures import ReportData
from dominance.reports.html import html
from dominance.reports.several import several
from dominance.reports.write import write_report, write_side_by_side
from dominance.store.reader import open_run

HEIGHT = 640
"""Pixels of the frame in a cell's output; the page in it scrolls."""


class ShownReport:
    """A report that a notebook shows below the cell; ``save`` writes it, with drawings that can be pointed at."""

    def __init__(self, runs: list[xr.DataTree]) -> None:
        self._runs = runs

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write it as ``report.html`` into a folder, and return its path. Raises RunExists where one is there."""
        if len(self._runs) > 1:
            return write_side_by_side(self._runs, Path(folder), overwrite=overwrite)
        (path,) = write_report(self._runs[0], Path(folder), format="html", overwrite=overwrite)
        return path

    def __repr__(self) -> str:
        return f"<Report of {', '.join(facts.name_of(run) for run in self._runs)}: save(folder) writes it>"

    def _repr_html_(self) -> str:
        """In a frame of its own, so that neither its style nor its names meet those of the notebook."""
        materials = [ReportData(run) for run in self._runs]
        page = several(materials, moves=False) if len(materials) > 1 else html(materials[0], moves=False)
        name = escape(repr(self))
        style = f"width:100%;height:{HEIGHT}px;border:0"
        return f'<iframe title="{name}" style="{style}" srcdoc="{escape(page)}"></iframe>'


def report(*runs: xr.DataTree | str | PathLike[str]) -> ShownReport:
    """The report of a run, or of several side by side, as a notebook shows it.

    Args:
        runs: open runs, or their directories.

    Raises:
        BadOption: no run.
        NotARun: there is none at a path.

    >>> from dominance import report
    >>> report(run)
    <Report of memory: save(folder) writes it>
    """
    if not runs:
        raise BadOption("no run to report", fix="give a run, or its directory")
    return ShownReport([run if isinstance(run, xr.DataTree) else open_run(run) for run in runs])
