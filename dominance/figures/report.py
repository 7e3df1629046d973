"""The report of a run: one file a figure, and all of it in words and figures as ``report.pdf``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from dominance.analyse.study.single import Single
from dominance.analyse.verdict.doubts import accounts
from dominance.analyse.verdict.finding import Verdict
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded, RunExists
from dominance.figures import facts
from dominance.figures.pages import Pages
from dominance.figures.registry import FigureSpec, Material, select
from dominance.plots.backends.style import theme
from dominance.plots.result import FORMATS, Plot

REPORT = "report.pdf"


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

    The combined report is a PDF whatever ``format`` says: its first pages hold the verdict with what to try, what was
    recorded, and a table of the layers. A figure that this run cannot fill has no file; the report says why, once for
    each reason. The same run gives the same bytes.

    Args:
        run: an open run.
        folder: where the files go; made if need be.
        format: of the single figures: "pdf", "png" or "svg". A figure that takes several pages becomes one PDF, or
            numbered files (``name.png``, ``name-2.png``).
        figures: a glob over the names in ``dominance.figures.registry.FIGURES``.
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
    if format not in FORMATS:
        raise BadOption(f"report format {format!r} is unknown", fix=f"choose from {', '.join(FORMATS)}")
    chosen = select(figures, run)
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadOption(f"{folder}: is a file", fix="name a folder for the report")
    if not overwrite:
        _refuse([folder / REPORT, *(folder / f"{spec.name}.{format}" for spec in chosen)])
    if run.sizes.get("step", 0) == 0:
        where = run.attrs.get("path", "run")
        raise NothingRecorded(f"{where}: no step was recorded", fix="let the training take at least one step")

    with theme():
        return _write(
            Material(run, single, higher_is_better),
            folder,
            format,
            chosen,
            overwrite,
            progress or (lambda done, total: None),
        )


def _write(
    material: Material,
    folder: Path,
    format: str,
    chosen: list[FigureSpec],
    overwrite: bool,
    progress: Callable[[int, int], None],
) -> Report:
    run, pages, total = material.run, Pages(), len(chosen) + 2
    progress(0, total)
    found, reason = _front(pages, material)
    plots: dict[str, Plot] = {}
    missing: dict[str, str] = {}
    pages.new()
    for number, spec in enumerate(chosen, start=1):
        progress(number, total)
        pages.heading(spec.title, spec.shows)
        try:
            plots[spec.name] = spec.draw(material, pages)
        except NothingRecorded as error:
            missing[spec.name] = str(error)
            pages.heading()
    _not_drawn(pages, {spec.title: missing[spec.name] for spec in chosen if spec.name in missing}, reason)
    progress(total - 1, total)
    pages.number(f"dominance report: {facts.name_of(run)}")

    targets = {name: folder / f"{name}.{format}" for name in plots}
    if not overwrite and format != "pdf":
        _refuse([path.with_name(f"{path.stem}-2{path.suffix}") for path in targets.values()])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOption(f"{folder}: cannot be made ({error.strerror})", fix="name another folder") from None
    written = [path for name, plot in plots.items() for path in pages.save_parts(plot.figures, targets[name], format)]
    pages.save(folder / REPORT, title=f"dominance report: {facts.name_of(run)}")
    progress(total, total)
    return Report([*written, folder / REPORT], found, missing)


def _refuse(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise RunExists(f"{path}: is already there", fix="pass --force (overwrite=True), or name another folder")


def _front(pages: Pages, material: Material) -> tuple[Verdict | None, str]:
    """The first pages, in words; returns the verdict, or None and why there is none."""
    run = material.run
    pages.words("Who trains the shared parameters?", size=16, bold=True)
    pages.words(facts.name_of(run), size=10, before=0.04)
    pages.words("What was found", size=10, bold=True, before=0.25)
    try:
        material.seen  # noqa: B018  measured here, so that what is wrong with single-task runs is not taken for it
    except NothingRecorded as error:
        pages.words(f"Nothing could be measured: {error}.", before=0.05)
        _remarks(pages, accounts(run))
        _recorded(pages, run)
        return None, str(error)
    found = material.verdict
    _remarks(pages, found.remarks)
    for finding in found:
        for word, sentence in finding.lines():
            bullet, text = ("•", sentence) if not word else ("", f"{word}: {sentence}")
            pages.words(text, before=0.02 if word else 0.07, indent=0.15 if not word else 0.3, mark=bullet)
    for note in found.notes:
        pages.words(f"Note: {note}.", size=7.0, before=0.05, indent=0.15)
    _recorded(pages, run)
    pages.words("By layer", size=10, bold=True, before=0.25)
    step = int(material.seen.trunk["step"].values[-1])
    pages.words(
        f"Owner, effective tasks and untouched share at step {step:,}; gradient energy and GCD over all recorded "
        "steps. Only shared layers.",
        before=0.03,
    )
    pages.space(0.08)
    pages.table(facts.HEADER, facts.table(run, material.seen), facts.WIDTHS, facts.RIGHT)
    return found, ""


def _remarks(pages: Pages, said: Sequence[str]) -> None:
    for remark in said:
        pages.words(remark, before=0.07, indent=0.15, mark="•")


def _recorded(pages: Pages, run: xr.DataTree) -> None:
    pages.words("What was recorded", size=10, bold=True, before=0.25)
    for name, words in facts.facts(run):
        pages.words(words, before=0.03, indent=0.9, mark=name)


def _not_drawn(pages: Pages, missing: dict[str, str], told: str) -> None:
    """Each reason once, with the titles of the figures; ``told`` is the one that the first page gives."""
    if missing:
        pages.words("Not drawn", size=10, bold=True, before=0.25)
    for reason in dict.fromkeys(missing.values()):
        titles = "; ".join(title for title, why in missing.items() if why == reason)
        pages.words(f"{titles}: {'see the first page' if reason == told else reason}.", before=0.05)
