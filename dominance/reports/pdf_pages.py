"""A4 pages that fill from the top: words, tables, and plots in their print size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from dominance.plots.backends import matplotlib_
from dominance.plots.backends.embedded_fonts import without_layout_tables
from dominance.plots.backends.style import theme
from dominance.plots.labels import fit
from dominance.plots.palette import GREY, INK
from dominance.reports.text_flow import Run, code_size, lines_of, width_of, words_of

WIDTH, HEIGHT = 8.27, 11.69
SIDE, TOP, BOTTOM = 0.535, 0.6, 0.65
COLUMN = WIDTH - 2 * SIDE
HALF = 3.5
_LEADING = 1.4


class Pages:
    """Pages in the making; also a plot backend, whose figures become parts of the pages.

    Every function that is not defined here is the matplotlib backend's.
    """

    def __init__(self) -> None:
        self.pages: list[Figure] = []
        self.first = 0
        """The first page with room for plots: they fill what the words and the plots before them have left free."""
        self._ys: list[float] = []  # of each page the lowest inch in use
        self._besides: list[float | None] = []  # and the height from which on its right half is free
        self._at = 0  # the page that is written on
        self._heading: tuple[str, str] | None = None
        self.new()

    def __getattr__(self, name: str) -> Any:
        return getattr(matplotlib_, name)

    def new(self) -> None:
        """Begin a page."""
        self.pages.append(matplotlib_.figure(WIDTH, HEIGHT))
        self._ys.append(HEIGHT - TOP)
        self._besides.append(None)
        self._at = len(self.pages) - 1

    @property
    def _y(self) -> float:
        return self._ys[self._at]

    @_y.setter
    def _y(self, height: float) -> None:
        self._ys[self._at] = height

    def room(self, height: float) -> None:
        """Begin a page unless ``height`` inches are left on this one."""
        if self._y - height < BOTTOM and self._y < HEIGHT - TOP:
            self.new()

    def words(
        self,
        text: str,
        *,
        size: float = 8.0,
        bold: bool = False,
        before: float = 0.0,
        indent: float = 0.0,
        mark: str = "",
    ) -> None:
        """A paragraph; ``mark`` (a bullet, a name) stands at the left edge of its first line."""
        lines = lines_of(text, COLUMN - indent, size, bold=bold)
        step = _LEADING * size / 72
        self._besides[self._at] = None
        self.room(before + step * min(len(lines), 3))
        if self._y < HEIGHT - TOP:
            self._y -= before
        for number, line in enumerate(lines):
            self.room(step)
            if mark and number == 0:
                matplotlib_.text(self.pages[self._at], SIDE, self._y - 0.8 * step, mark, size=size, colour=INK)
            self._line(line, SIDE + indent, size, bold)

    def _line(self, line: Sequence[Run], x: float, size: float, bold: bool) -> None:
        """One line of words at the height that is reached."""
        step = _LEADING * size / 72
        page, y = self.pages[self._at], self._y - 0.8 * step
        for part, mono in words_of(line) if len(line) > 1 else line:
            points = code_size(size) if mono else size
            matplotlib_.text(page, x, y, part.rstrip(), size=points, bold=bold, mono=mono)
            x += width_of(part, size, mono=mono, bold=bold)
        self._y -= step

    @staticmethod
    def height_of(text: str, *, size: float = 8.0, before: float = 0.0, indent: float = 0.0) -> float:
        """The inches that :meth:`words` takes for the same."""
        return before + len(lines_of(text, COLUMN - indent, size)) * _LEADING * size / 72

    @property
    def left(self) -> float:
        """Inches that are left on this page."""
        return self._y - BOTTOM

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float], right: Sequence[bool]
    ) -> None:
        """A table; entries are shortened in the middle to ``widths`` inches. The header is repeated on every page."""
        step, size = 0.15, 7.0
        fitted = [
            fit([row[i] for row in rows], width - 0.1, matplotlib_, size) if i == 0 else
            [fit([row[i]], width - 0.1, matplotlib_, size)[0] for row in rows]
            for i, width in enumerate(widths)
        ]  # fmt: skip
        self.room(step * (len(header[0].split("\n")) + 5))
        self._header(header, widths, right)
        for number in range(len(rows)):
            if self._y - step < BOTTOM:
                self.new()
                self._header(header, widths, right)
            self._row([column[number] for column in fitted], widths, right, self._y - 0.8 * step)
            self._y -= step

    def _header(self, header: Sequence[str], widths: Sequence[float], right: Sequence[bool]) -> None:
        split = [name.split("\n") for name in header]
        most = max(len(lines) for lines in split)
        stacked = [[""] * (most - len(lines)) + lines for lines in split]  # the last line of each stands on the rule
        for line in range(most):
            names = [lines_of[line] for lines_of in stacked]
            self._row(names, widths, right, self._y - 0.11, colour=INK)
            self._y -= 0.13
        self._rule(self._y - 0.025)
        self._y -= 0.05

    def _rule(self, y: float) -> None:
        page = self.pages[self._at]
        with theme():
            line = Line2D(
                [SIDE / WIDTH, 1 - SIDE / WIDTH],
                [y / HEIGHT] * 2,
                linewidth=0.5,
                color=GREY,
                transform=page.transFigure,
            )
            page.add_artist(line)

    def _row(
        self, texts: Sequence[str], widths: Sequence[float], right: Sequence[bool], y: float, colour: str = INK
    ) -> None:
        x = SIDE
        for text, width, flush in zip(texts, widths, right, strict=True):
            side = "right" if flush else "left"
            at = x + (width - 0.1 if flush else 0)
            matplotlib_.text(self.pages[self._at], at, y, text, size=7.0, colour=colour, horizontal=side)
            x += width

    def heading(self, title: str = "", words: str = "") -> None:
        """What stands over the next plot; nothing, without a title."""
        self._heading = (title, words) if title else None

    def figure(self, width: float, height: float) -> SubFigure:
        """Part of a page, for a plot: on the first page with room for it under its heading, else on a new one.

        Two that are half as wide as the page stand beside each other.
        """
        half = width <= HALF
        column = HALF if half else COLUMN
        lines = lines_of(self._heading[1], column, 8.0) if self._heading else []
        titles = lines_of(self._heading[0], column, 10.0, bold=True) if self._heading else []
        head = 0.24 + _LEADING * (len(lines) * 8.0 + len(titles) * 10.0) / 72 if self._heading else 0.0
        if self._heading is not None:
            rooms = range(min(self.first, len(self.pages) - 1), len(self.pages))
            self._at = next((i for i in rooms if self._fits(i, head + height, half=half)), len(self.pages) - 1)
        beside, bottom = self._besides[self._at], self._y
        right = half and beside is not None and beside - head - height >= BOTTOM
        self._besides[self._at] = None
        if right and beside is not None:
            self._y = beside
        else:
            self.room(head + height)
        top = self._y
        x = WIDTH - SIDE - HALF if right else SIDE
        if self._heading is not None:
            self._y -= 0.18 if top < HEIGHT - TOP else 0.0
            for line in titles:
                self._line(line, x, 10.0, bold=True)
            for line in lines:
                self._line(line, x, 8.0, bold=False)
            self._y -= 0.06
            self._heading = None
        left = x + (column - width) / 2
        across, down = [left, width, WIDTH - left - width], [HEIGHT - self._y, height, self._y - height]
        grid = GridSpec(3, 3, width_ratios=across, height_ratios=down)
        with theme():
            part = self.pages[self._at].add_subfigure(grid[1, 1], facecolor="none")
        self._y -= height + 0.1
        if right:
            self._y = min(self._y, bottom)
        elif half:
            self._besides[self._at] = top
        self._at = len(self.pages) - 1
        return part

    def _fits(self, page: int, height: float, *, half: bool) -> bool:
        beside = self._besides[page]
        start = beside if half and beside is not None else self._ys[page]
        return start - height >= BOTTOM

    def space(self, height: float) -> None:
        """Leave so many inches free."""
        self._besides[self._at] = None
        self._y -= height

    def number(self, name: str) -> None:
        """Write the name of the report and the page's number at the foot of every page."""
        short = fit([name], COLUMN - 1.0, matplotlib_, 7.0)[0]
        for index, page in enumerate(self.pages, start=1):
            matplotlib_.text(page, SIDE, 0.36, short, size=7.0, colour="#666666")
            count = f"{index} / {len(self.pages)}"
            matplotlib_.text(page, WIDTH - SIDE, 0.36, count, size=7.0, colour="#666666", horizontal="right")

    def save(self, path: Path, *, title: str) -> None:
        """All pages as one PDF."""
        metadata = {"CreationDate": None, "Title": title}
        with theme(), without_layout_tables(), PdfPages(path, metadata=metadata) as file:
            for page in self.pages:
                file.savefig(page)

    def save_parts(self, parts: Sequence[SubFigure], path: Path, format: str) -> list[Path]:
        """Plots alone, cut from their pages: one PDF with a page each, or one file each. Returns the files."""
        hidden = [artist for page in self.pages for artist in (*page.subfigs, *page.texts, *page.artists)]
        was = [artist.get_visible() for artist in hidden]
        for artist in hidden:
            artist.set_visible(False)
        written = []
        try:
            if format == "pdf":
                with theme(), without_layout_tables(), PdfPages(path, metadata={"CreationDate": None}) as file:
                    for part in parts:
                        self._cut(part, file)
                return [path]
            for number, part in enumerate(parts, start=1):
                target = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
                self._cut(part, target, format)
                written.append(target)
            return written
        finally:
            for artist, visible in zip(hidden, was, strict=True):
                artist.set_visible(visible)

    def _cut(self, part: SubFigure, target: PdfPages | Path, format: str = "pdf") -> None:
        page: Any = part.figure
        box = Bbox(part.bbox.get_points() / page.dpi)
        part.set_visible(True)
        if isinstance(target, PdfPages):
            pages: Any = target
            pages.savefig(page, bbox_inches=box)
        else:
            with theme():
                page.savefig(target, format=format, bbox_inches=box, metadata=matplotlib_.NO_DATE[format])
        part.set_visible(False)
