"""The first pages of a report in words: what was found, what to try, what was recorded, the layers, and the terms."""

from __future__ import annotations

from collections.abc import Sequence

from dominance.analyse.folding import worst
from dominance.analyse.glance import MOST_ROWS, MOST_WORST
from dominance.analyse.verdict.doubts import accounts
from dominance.analyse.verdict.finding import Finding, Verdict
from dominance.errors import NothingRecorded
from dominance.plots.overview import heights
from dominance.reports import facts
from dominance.reports.figures import SOME, ReportData
from dominance.reports.pdf_pages import Pages

_PICTURE = 2.6
"""Inches of the picture on the first page, beside its rows and the height of its panels."""


class Front:
    """The words of the first page, written at once, and those of the second, once the picture stands between them.

    Attributes:
        verdict: what was found; None where nothing could be measured, and ``reason`` says why.
        finished: the second page is written.
    """

    def __init__(self, pages: Pages, material: ReportData) -> None:
        self.pages, self.material, self.run = pages, material, material.run
        self.verdict: Verdict | None = None
        self.reason = ""
        self.finished = False
        self._later: list[tuple[int, Finding]] = []
        self._advice: list[tuple[int, Finding]] = []
        pages.words("Who trains the shared parameters?", size=16, bold=True)
        pages.words(f"{facts.name_of(self.run)}: {facts.in_one_line(self.run)}", before=0.04)
        try:
            material.seen  # noqa: B018  measured here, so that what is wrong with single-task runs is not taken for it
        except NothingRecorded as error:
            self.reason = str(error)
            pages.words(f"Nothing could be measured: {error}.", before=0.15)
            self._remarks(accounts(self.run))
            return
        self.verdict = material.verdict
        self._remarks(self.verdict.remarks)
        self._found(self.verdict)
        if material.prefix:
            pages.words(_without(material.prefix), size=7.0, before=0.08)
        pages.space(0.12)

    def _found(self, verdict: Verdict) -> None:
        """As much of the verdict as leaves room for the picture."""
        layers = self.material.seen.layers.sizes["layer"]
        rows = 1 + (layers if layers <= MOST_ROWS else MOST_ROWS + MOST_WORST)
        row, panel = heights(rows)
        room = self.pages.left - _PICTURE - row * rows - panel
        numbered = list(enumerate(verdict, start=1))
        whole = sum(self._height(finding, advice=True) for _, finding in numbered)
        advice = whole <= room
        used = 0.0
        for number, finding in numbered:
            used += self._height(finding, advice=advice)
            if used > room and number > 1:
                self._later.append((number, finding))
                continue
            self._finding(number, finding, advice=advice)
            if not advice and finding.advice:
                self._advice.append((number, finding))
        if self._later:
            self.pages.words(f"And {len(self._later)} more, behind the picture.", before=0.05, indent=0.2)
        elif self._advice:
            self.pages.words("What to try: behind the picture.", before=0.05, indent=0.2)

    def _said(self, finding: Finding, *, advice: bool) -> list[str]:
        return [f"{word}: {said}" if word else said for word, said in finding.lines() if advice or word != "Try"]

    def _height(self, finding: Finding, *, advice: bool) -> float:
        said = self._said(finding, advice=advice)
        return sum(self.pages.height_of(text, before=0.02 if i else 0.07, indent=0.3) for i, text in enumerate(said))

    def _finding(self, number: int, finding: Finding, *, advice: bool) -> None:
        for i, text in enumerate(self._said(finding, advice=advice)):
            self.pages.words(text, before=0.02 if i else 0.07, indent=0.3 if i else 0.2, mark="" if i else f"{number}.")

    def _remarks(self, said: Sequence[str]) -> None:
        for remark in said:
            self.pages.words(remark, before=0.07, indent=0.2, mark="•")

    def finish(self) -> None:
        """The page behind the picture."""
        pages, self.finished = self.pages, True
        pages.new()
        pages.first = len(pages.pages) - 1
        for number, finding in self._later:
            self._finding(number, finding, advice=True)
        if self._advice:
            pages.words("What to try", size=10, bold=True)
        for number, finding in self._advice:
            for i, advice in enumerate(finding.advice):
                mark = f"{number}." if not i else ""
                pages.words(advice, before=0.05, indent=0.2, mark=mark)
        pages.words("What was recorded", size=10, bold=True, before=0.2)
        for name, words in facts.facts(self.run):
            pages.words(words, before=0.03, indent=0.9, mark=name)
        for note in self.verdict.notes if self.verdict else ():
            pages.words(f"{note[0].upper()}{note[1:]}.", before=0.03, indent=0.9, mark="note")
        if self.verdict is not None:
            self._layers()
        pages.words("Words", size=10, bold=True, before=0.2)
        for term, meaning in facts.glossary(self.run):
            pages.words(meaning, before=0.03, indent=0.9, mark=term)

    def _layers(self) -> None:
        pages, material, seen = self.pages, self.material, self.material.seen
        pages.words("By layer", size=10, bold=True, before=0.2)
        step, layers = int(seen.trunk["step"].values[-1]), [str(name) for name in seen.layers["layer"].values]
        shown = layers if len(layers) <= SOME else worst(seen.layers, SOME)
        pages.words(
            f"Owner, effective tasks and untouched share at step {step:,}; gradient energy and GCD over all recorded "
            f"steps. Only shared layers. {material.chosen(SOME, False)} {_without(material.prefix)}".strip(),
            before=0.03,
        )
        pages.space(0.08)
        rows = facts.table(self.run, seen, shown, material.name)
        pages.table(facts.HEADER, rows, facts.WIDTHS, facts.RIGHT)


def _without(prefix: str) -> str:
    return f"Names of layers are given from {prefix[:-1]} on." if prefix else ""
