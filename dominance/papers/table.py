"""A table of a paper: our values, the published ones beside them, as PDF, PNG, SVG, CSV or Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from dominance.errors import BadOption, RunExists
from dominance.plots import backends, sheets
from dominance.plots.backends import Backend
from dominance.plots.labels import fit, wrap

FORMATS = ("pdf", "png", "svg", "csv", "md")
SMALLEST = 6.0
"""Points of type: where a table needs smaller, its columns are broken into blocks."""
_GAP, _EDGE, _STEP, _HEAD = 0.14, 0.06, 0.15, 0.13
_NAME = 1.9  # inches of the first column at most, beside blocks


@dataclass
class Table:
    """Cells of text, the first column naming the rows; ``savefig`` writes it.

    Args:
        header: of each column; "\\n" breaks a line.
        rows: cells; an empty row draws a rule.
        note: what stands below.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    bold: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    """(row, column) of cells that stand out."""
    backend: Any = "matplotlib"

    def markdown(self) -> str:
        """As a table of GitHub's Markdown."""
        head = [name.replace("\n", " ") for name in self.header]
        lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
        for i, row in enumerate(self.rows):
            if row:
                cells = [f"**{cell}**" if (i, j) in self.bold and cell else cell for j, cell in enumerate(row)]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines)

    def csv(self) -> str:
        """The cells, separated by commas."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([name.replace("\n", " ") for name in self.header])
        writer.writerows(row for row in self.rows if row)
        return text.getvalue()

    def savefig(self, path: str | Path, *, overwrite: bool = True) -> list[Path]:
        """Write to ``path``; its ending chooses the format. The same table gives the same bytes.

        Raises:
            BadOption: another ending than those in ``FORMATS``.
            RunExists: the file is there and ``overwrite`` is False.
        """
        path = Path(path)
        format = path.suffix.lower().removeprefix(".")
        if format not in FORMATS:
            raise BadOption(f"{path}: no table format {path.suffix!r}", fix=f"end it in .{', .'.join(FORMATS)}")
        if path.exists() and not overwrite:
            raise RunExists(f"{path}: is already there", fix="choose another name or pass overwrite=True")
        if format in ("csv", "md"):
            text = self.csv() if format == "csv" else f"{self.markdown()}\n\n{self.note}\n"
            path.write_text(text, encoding="utf-8")
            return [path]
        b = backends.get(self.backend)
        written: list[Path] = b.save([self.draw(b)], path, format)
        return written

    def draw(self, b: Backend) -> Any:
        """One figure, as wide as one or two columns of a paper; columns that do not fit stand in a block below."""
        total, size, blocks = self._blocks(b)
        rules = sum(1 for row in self.rows if not row)
        deep = max(len(name.split("\n")) for name in self.header)
        block = deep * _HEAD + 0.1 + _STEP * (len(self.rows) - rules) + 0.08 * rules
        note = [line for line in wrap(self.note, total - 2 * _EDGE, b, sheets.SMALL) if line]
        height = 2 * _EDGE + len(blocks) * block + 0.12 * (len(blocks) - 1) + 0.04 + len(note) * sheets.LINE
        figure = b.figure(total, height)
        y = height - _EDGE
        for columns in blocks:
            self._block(b, figure, columns, size, total, y)
            y -= block + 0.12
        if note:
            b.text(figure, _EDGE, y + 0.1, "\n".join(note), size=sheets.SMALL, vertical="top")
        return figure

    def _widths(self, b: Backend, size: float) -> list[float]:
        """Inches that each column needs at a size of type; bold is a tenth wider."""
        cells = [list(column) for column in zip(*(row for row in self.rows if row), strict=True)] or [[]] * len(
            self.header
        )
        return [
            max(b.text_width(text, size) * 1.1 for text in (*name.split("\n"), *column))
            for name, column in zip(self.header, cells, strict=True)
        ]

    def _blocks(self, b: Backend) -> tuple[float, float, list[list[int]]]:
        """Width of the figure, size of the type, and the columns of each block, after the first column."""
        need = self._widths(b, sheets.SMALL)
        everything = list(range(1, len(need)))
        for total in (sheets.ONE_COLUMN, sheets.TWO_COLUMNS):
            share = (total - 2 * _EDGE - _GAP * len(everything)) / sum(need)
            if share >= SMALLEST / sheets.SMALL:
                return total, sheets.SMALL * min(1.0, share), [everything]
        # Columns under one heading stay together.
        groups: list[list[int]] = []
        for column in everything:
            same = groups and self.header[column].split("\n")[0] == self.header[groups[-1][0]].split("\n")[0]
            if same:
                groups[-1].append(column)
            else:
                groups.append([column])
        room = sheets.TWO_COLUMNS - 2 * _EDGE - min(need[0], _NAME)
        for parts in range(2, len(groups) + 1):
            bounds = [round(len(groups) * part / parts) for part in range(parts + 1)]
            blocks = [list(chain.from_iterable(groups[low:high])) for low, high in pairwise(bounds)]
            if all(sum(need[column] + _GAP for column in block) <= room for block in blocks):
                return sheets.TWO_COLUMNS, sheets.SMALL, blocks
        return sheets.TWO_COLUMNS, SMALLEST, [[column] for column in everything]

    def _block(self, b: Backend, figure: Any, columns: Sequence[int], size: float, total: float, y: float) -> None:
        """The first column and some others, from ``y`` inches downwards, spread over the width."""
        shown = [0, *columns]
        need = self._widths(b, size)
        others = sum(need[column] for column in columns) + _GAP * len(columns)
        name = min(need[0], max(total - 2 * _EDGE - others, 0.6))
        rights = [_EDGE + name]
        gap = (total - 2 * _EDGE - name - others) / max(len(columns), 1) + _GAP
        for column in columns:
            rights.append(rights[-1] + gap + need[column])

        def put(text: str, place: int, y: float, bold: bool = False) -> None:
            x = rights[place] if place else _EDGE
            b.text(figure, x, y, text, size=size, bold=bold, horizontal="right" if place else "left")

        heads = [self.header[column].split("\n") for column in shown]
        deep = max(len(head.split("\n")) for head in self.header)
        for place, lines in enumerate(heads):
            for number, line in enumerate(lines):
                put(line, place, y - _HEAD * (deep - len(lines) + number + 1) + 0.03)
        y -= deep * _HEAD + 0.04
        b.rule(figure, _EDGE, total - _EDGE, y, width=0.7)
        names = iter(fit([row[0] for row in self.rows if row], name, b, size))
        for number, row in enumerate(self.rows):
            if not row:
                y -= 0.08
                b.rule(figure, _EDGE, total - _EDGE, y + 0.02, width=0.3)
                continue
            y -= _STEP
            for place, column in enumerate(shown):
                put(row[column] if place else next(names), place, y + 0.04, (number, column) in self.bold)
        b.rule(figure, _EDGE, total - _EDGE, y - 0.03, width=0.7)
