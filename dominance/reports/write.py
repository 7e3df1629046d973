"""The report of a run: one file a figure, and all of it in words and figures as ``report.pdf``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from dominance.analyse.study.single import Single
from dominance.analyse.verdict.finding import Verdict
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded, RunExists
from dominance.plots.backends.style import theme
from dominance.plots.result import FORMATS, Plot
from dominance.reports import facts
from dominance.reports.figures import FigureSpec, ReportData, select
from dominance.reports.front_page import Front
from dominance.reports.html import html
from dominance.reports.pdf_pages import Pages
from dominance.reports.several import several

REPORT, HTML = "report.pdf", "html"
FIRST = "overview"
"""The figure of the first page."""


class Report(list[Path]):
    """The files written, ``report.pdf`` last.

    Attributes:
        verdict: what was found; None where nothing could be measured.
        missing: why figures could not be drawn from this run, by their names.
    """

    def __init__(self, paths: list[Path], verdict: Verdict | None, missing: dict[str, str]) -> None:
        super().__init__(paths)
        self.verdict, self.missing = verdict, missing


def write_report(
    run: xr.DataTree,
    folder: str | Path,
    *,
    format: str = "pdf",
    figures: str = "*",
    overwrite: bool = False,
    single: Single | None = None,
    higher_is_better: Directions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Draw the figures of a run into ``folder``, one file each, and the combined ``report.pdf``.

    The combined report is a PDF whatever ``format`` says. Its first page tells it all, the verdict in words and the
    run in one picture; the second what to try, what was recorded, a table of the layers, and the words that are used.
    Of models with many layers the worst are shown, so that the pages are not many more. A figure that this run cannot
    fill has no file; the report says why, once for each reason. The same run gives the same bytes.

    Args:
        run: an open run.
        folder: where the files go; made if need be.
        format: of the single figures: "pdf", "png" or "svg". A figure that takes several pages becomes one PDF, or
            numbered files (``name.png``, ``name-2.png``). "html": instead of all that one file, ``report.html``, for
            a browser, which needs no network.
        figures: a glob over the names in ``dominance.reports.figures.FIGURES``.
        overwrite: replace files that are there.
        single, higher_is_better: single-task runs that the verdict compares with, see ``verdict``.
        progress: is told how many of how many parts of the report are done.

    Returns:
        the paths, with ``verdict`` and ``missing``.

    Raises:
        BadOption: an unknown format, no figure of that name, or a folder that cannot be one.
        NothingRecorded: the run holds no step; or ``single`` or the run lacks what ``tci`` needs.
        RunExists: a file is there, and ``overwrite`` is False. Nothing is written then.
    """
    if format not in (*FORMATS, HTML):
        raise BadOption(f"report format {format!r} is unknown", fix=f"choose from {', '.join((*FORMATS, HTML))}")
    chosen = select(figures, run)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadOption(f"{folder}: is a file", fix="name a folder for the report")
    if not overwrite:
        names = [f"report.{HTML}"] if format == HTML else [REPORT, *(f"{spec.name}.{format}" for spec in chosen)]
        _refuse([folder / name for name in names])
    if run.sizes.get("step", 0) == 0:
        where = run.attrs.get("path", "run")
        raise NothingRecorded(f"{where}: no step was recorded", fix="let the training take at least one step")

    material, tell = ReportData(run, single, higher_is_better), progress or (lambda done, total: None)
    if format == HTML:
        return _write_html(material, folder, tell)
    with theme():
        return _write(material, folder, format, chosen, overwrite, tell)


def _write_html(material: ReportData, folder: Path, progress: Callable[[int, int], None]) -> Report:
    progress(0, 1)
    page = html(material)
    _make(folder)
    path = folder / f"report.{HTML}"
    path.write_text(page, encoding="utf-8")
    progress(1, 1)
    try:
        return Report([path], material.verdict, {})
    except NothingRecorded:
        return Report([path], None, {})


def write_side_by_side(
    runs: Sequence[xr.DataTree],
    folder: str | Path,
    *,
    overwrite: bool = False,
    single: Single | None = None,
    higher_is_better: Directions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write several runs side by side into one file for a browser, ``report.html`` in ``folder``; returns its path.

    Args and raises: as :func:`write_report`.
    """
    folder = Path(folder)
    path = folder / f"report.{HTML}"
    if not overwrite:
        _refuse([path])
    tell = progress or (lambda done, total: None)
    materials = []
    for done, run in enumerate(runs):
        tell(done, len(runs))
        materials.append(ReportData(run, single, higher_is_better))
    text = several(materials)
    _make(folder)
    path.write_text(text, encoding="utf-8")
    tell(len(runs), len(runs))
    return path


def _write(
    material: ReportData,
    folder: Path,
    format: str,
    chosen: list[FigureSpec],
    overwrite: bool,
    progress: Callable[[int, int], None],
) -> Report:
    run, pages, total = material.run, Pages(), len(chosen) + 2
    progress(0, total)
    front = Front(pages, material)
    plots: dict[str, Plot] = {}
    missing: dict[str, str] = {}
    for done, spec in enumerate(
        sorted(chosen, key=lambda spec: spec.name != FIRST), start=1
    ):  # on the first page, below the words
        if spec.name != FIRST and not front.finished:
            front.finish()
        progress(done, total)
        try:
            plots[spec.name] = _draw(
                spec, material, pages, named=spec.name != FIRST, measured=front.verdict is not None
            )
        except NothingRecorded as error:
            missing[spec.name] = str(error)
            pages.heading()
    if not front.finished:
        front.finish()
    _not_drawn(pages, {spec.title: missing[spec.name] for spec in chosen if spec.name in missing}, front.reason)
    progress(total - 1, total)
    pages.number(f"dominance report: {facts.name_of(run)}")

    targets = {spec.name: folder / f"{spec.name}.{format}" for spec in chosen if spec.name in plots}
    if not overwrite and format != "pdf":
        _refuse([path.with_name(f"{path.stem}-2{path.suffix}") for path in targets.values()])
    _make(folder)
    written = [
        path
        for spec in chosen
        if spec.name in plots
        for path in (
            plots[spec.name].savefig(targets[spec.name])
            if spec.alone
            else pages.save_parts(plots[spec.name].figures, targets[spec.name], format)
        )
    ]
    pages.save(folder / REPORT, title=f"dominance report: {facts.name_of(run)}")
    progress(total, total)
    return Report([*written, folder / REPORT], front.verdict, missing)


def _draw(spec: FigureSpec, material: ReportData, pages: Pages, *, named: bool, measured: bool) -> Plot:
    """On the pages, under its heading if it is ``named``; or as a figure of its own."""
    if spec.alone:
        return spec.draw(material, "matplotlib")
    said = spec.shows
    if measured:
        said = " ".join(filter(None, [said, material.chosen(spec.layers, spec.tasks)]))
    if named:
        pages.heading(spec.title, said)
    return spec.draw(material, pages)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOption(f"{folder}: cannot be made ({error.strerror})", fix="name another folder") from None


def _refuse(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise RunExists(f"{path}: is already there", fix="pass --force (overwrite=True), or name another folder")


def _not_drawn(pages: Pages, missing: dict[str, str], told: str) -> None:
    """Each reason once, with the titles of the figures; ``told`` is the one that the first page gives."""
    if missing:
        pages.words("Not drawn", size=10, bold=True, before=0.25)
    for reason in dict.fromkeys(missing.values()):
        titles = "; ".join(title for title, why in missing.items() if why == reason)
        pages.words(f"{titles}: {'see the first page' if reason == told else reason}.", before=0.05)
