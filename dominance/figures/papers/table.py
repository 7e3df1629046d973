"""A table of a paper: our values, the published ones beside them, as PDF, PNG, SVG, CSV or Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dominance.errors import BadOption, RunExists
from dominance.plots import backends, sheets
from dominance.plots.labels import fit, wrap

FORMATS = ("pdf", "png", "svg", "csv", "md")
_GAP, _EDGE, _STEP = 0.14, 0.06, 0.15


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

    def draw(self, b: Any) -> Any:
        """One figure, as wide as the cells need, at most two columns of a paper."""
        size = sheets.SMALL
        head = [name.split("\n") for name in self.header]
        columns = list(zip(*(row for row in self.rows if row), strict=True))
        need = [
            max(b.text_width(text, size) * 1.1 for text in (*lines, *column))
            for lines, column in zip(head, columns, strict=True)
        ]
        room = sheets.TWO_COLUMNS - 2 * _EDGE - _GAP * (len(need) - 1)
        need[0] = min(need[0], max(0.6, room - sum(need[1:])))
        shrink = min(1.0, room / sum(need))
        size *= shrink
        widths = [width * shrink for width in need]
        total = max(sum(widths) + _GAP * (len(widths) - 1) + 2 * _EDGE, sheets.ONE_COLUMN)
        deep = max(map(len, head))
        note = [line for line in wrap(self.note, total - 2 * _EDGE, b, sheets.SMALL) if line]
        rules = sum(1 for row in self.rows if not row)
        body = _STEP * (len(self.rows) - rules) + 0.08 * rules
        height = 2 * _EDGE + deep * 0.13 + 0.1 + body + 0.1 + len(note) * sheets.LINE
        figure = b.figure(total, height)
        lefts = [_EDGE + sum(widths[:i]) + _GAP * i for i in range(len(widths))]

        def put(text: str, column: int, y: float, bold: bool = False) -> None:
            flush = column > 0
            x = lefts[column] + (widths[column] if flush else 0.0)
            b.text(figure, x, y, text, size=size, bold=bold, horizontal="right" if flush else "left")

        y = height - _EDGE
        for line in range(deep):
            y -= 0.13
            for column, lines in enumerate(head):
                place = line - (deep - len(lines))
                if place >= 0:
                    put(lines[place], column, y + 0.03)
        y -= 0.04
        b.rule(figure, _EDGE, total - _EDGE, y, width=0.7)
        names = iter(fit([row[0] for row in self.rows if row], widths[0], b, size))
        for number, row in enumerate(self.rows):
            if not row:
                y -= 0.08
                b.rule(figure, _EDGE, total - _EDGE, y + 0.02, width=0.3)
                continue
            y -= _STEP
            for column, cell in enumerate(row):
                put(next(names) if column == 0 else cell, column, y + 0.04, (number, column) in self.bold)
        y -= 0.03
        b.rule(figure, _EDGE, total - _EDGE, y, width=0.7)
        if note:
            b.text(figure, _EDGE, y - 0.05, "\n".join(note), size=sheets.SMALL, vertical="top")
        return figure
