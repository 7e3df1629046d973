"""What every plot function returns."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import BadOption, RunExists
from dominance.plots import backends
from dominance.plots.backends import Backend

FORMATS = ("pdf", "png", "svg")


@dataclass
class Plot:
    """A finished plot: its figures (several when it takes several pages), its axes and the numbers it shows."""

    figures: list[Any]
    axes: np.ndarray
    """Object array of axes: one entry a panel; (layer, task) where the panels form a table."""
    data: xr.Dataset
    """The numbers drawn, at every recorded step, before any thinning or smoothing."""
    note: str = ""
    """What a caption must say: steps and names left out, sampling error, thinning."""
    backend: Any = "matplotlib"

    @classmethod
    def on(cls, axes: Any, data: xr.Dataset, note: str, b: Backend) -> Plot:
        """Of one panel, in axes that were given."""
        return cls([b.figure_of(axes)], _flat([axes]), data, note, b)

    @classmethod
    def of_pages(cls, pages: Sequence[Any], data: xr.Dataset, note: str, b: Backend) -> Plot:
        """Of the pages of a table, which have a figure and axes each."""
        return cls([page.figure for page in pages], _flat([page.axes for page in pages]), data, note, b)

    @property
    def figure(self) -> Any:
        """The figure, the first one when there are several pages."""
        return self.figures[0]

    def savefig(self, path: str | Path, *, overwrite: bool = True, **options: Any) -> list[Path]:
        """Write to ``path``; its ending chooses the format. The same plot gives the same bytes.

        Several pages become one PDF, or numbered files (``name.png``, ``name-2.png``). Further options
        go to matplotlib.

        Returns:
            the files written.

        Raises:
            BadOption: an ending other than pdf, png or svg, or a backend that draws nothing.
            RunExists: the file is there and ``overwrite`` is False.
        """
        path = Path(path)
        format = path.suffix.lower().removeprefix(".")
        if format not in FORMATS:
            raise BadOption(f"{path}: no figure format {path.suffix!r}", fix=f"end it in .{', .'.join(FORMATS)}")
        if path.exists() and not overwrite:
            raise RunExists(f"{path}: is already there", fix="choose another name or pass overwrite=True")
        written: list[Path] = backends.get(self.backend).save(self.figures, path, format, **options)
        return written

    def __repr__(self) -> str:
        pages = f"{len(self.figures)} pages, " if len(self.figures) > 1 else ""
        return f"<Plot of {', '.join(map(str, self.data))}: {pages}{self.axes.size} axes>"

    def _repr_html_(self) -> str:
        """The pages as inline PNG, for notebooks."""
        draw = backends.get(self.backend)
        images = [b64encode(draw.png(figure)).decode() for figure in self.figures]
        style = "max-width:100%;height:auto"
        return "".join(f'<img alt="plot" style="{style}" src="data:image/png;base64,{image}"/>' for image in images)


def _flat(axes: list[Any]) -> np.ndarray:
    found = np.empty(len(axes), dtype=object)
    found[:] = axes
    return found
