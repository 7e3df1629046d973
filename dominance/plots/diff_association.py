"""Average score against Diff over pairs of trainings, as a table of counts (PUB, Fig. 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import BadOption
from dominance.plots import backends, cell_pages, inputs, sheets
from dominance.plots.inputs import joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import SEQUENTIAL
from dominance.plots.result import Plot

_ROWS = ("lower average score", "higher average score")
_COLUMNS = ("lower Diff", "higher Diff")


@backends.themed
def plot_diff_association(
    run_or_result: xr.Dataset,
    *,
    tasks: None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """The confusion matrix of the first training of each pair against the second, with the tests in the note.

    Args:
        run_or_result: the result of ``diff_association``.
        tasks, layers: there are none here; only None is possible.
        ax: axes to draw into.
        backend: "matplotlib" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of rows and columns to what stands on the plot.

    Raises:
        BadOption: an unknown backend, or another result.
    """
    b = backends.get(backend)
    if not isinstance(run_or_result, xr.Dataset) or "confusion" not in run_or_result:
        raise BadOption("cannot plot this: it holds no confusion matrix", fix="give diff_association(study)")
    data = run_or_result
    counts = data["confusion"].transpose("score", "diff").to_numpy()
    total = int(counts.sum())
    texts = [[f"{count} ({100 * count / total:.0f} %)" if total else "0" for count in row] for row in counts.tolist()]
    p = {str(name): float(data["p_permutation"].sel(exchange=name)) for name in data["exchange"].values}
    tested = ", ".join(f"{_p(value)} ({name})" for name, value in p.items())
    reverse = 100 * float(data["reverse_share"])
    note = joined(
        f"{total} pairs of trainings; {reverse:.0f} % have the better score with the lower Diff.",
        f"χ²(1) = {float(data['chi2']):.2f}, {_p(float(data['p_chi2']))}, as if pairs were independent;"
        if np.isfinite(data["chi2"])
        else "No χ²: a row or a column is empty.",
        f"exchanging the scores: {tested}.",
    )
    rows, columns = relabel(_ROWS, labeller), relabel(_COLUMNS, labeller)
    options: dict[str, Any] = {"colours": SEQUENTIAL, "low": 0.0, "high": max(float(counts.max()), 1.0)}
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        b.cells(axes, counts.astype(float), **options, texts=texts)
        b.axis(axes, "x", ticks=[0.5, 1.5], labels=columns, marks=False)
        b.axis(axes, "y", ticks=[0.5, 1.5], labels=rows, marks=False)
        return Plot.on(axes, data, note, b)
    around = sheets.Around((), note)
    (page,) = cell_pages.heat(b, rows, columns, around, cell_height=(0.4, 0.4), cell_width=(0.9, 0.9), bar_space=0.0)
    b.cells(page.axes, counts.astype(float), **options, texts=texts)
    cell_pages.names_on_sides(b, page)
    return Plot([page.figure], np.array([page.axes], dtype=object), data, note, b)


def _p(p: float) -> str:
    """A p in words.

    >>> _p(0.0312), _p(0.00001), _p(float("nan"))
    ('p = 0.031', 'p < 0.001', 'p unknown')
    """
    if not np.isfinite(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
