"""What a verdict is made of, and how it reads: as text, as a table, as plain values and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from textwrap import fill
from typing import Any

import pandas as pd
import xarray as xr

from dominance.analyse.books import RunBooks
from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.rules import certainty

_KEPT = "\0"
"""In the place of a space at which a line must not end."""

KINDS = {
    "diverged": "gradients, updates or weights are not finite",
    "unexplained": "part of the gradient is no task's and no regulariser's that has a name",
    "not closed": "the parts of the updates do not add up to what the parameters did",
    "not finite": "a task's gradient is not finite while the training is",
    "unattributed": "much of the updates is momentum of gradients that nobody saw",
    "outside": "much of what the parameters do is outside the optimizer's step",
    "state": "solo updates do not follow the tasks' gradients",
    "unrecorded": "steps that should have been recorded are not there",
    "cannot say": "whether a task dominates, this run cannot say",
    "too short": "too few steps to judge",
    "harm": "a task is worse off than it could be",
    "dominance": "a task owns shared parameters",
    "unheard": "a task hardly moves the shared parameters",
    "noisy": "a group of examples learns next to nothing",
    "conflict": "two tasks' gradients undo each other",
    "no harm": "the tasks are as well off as alone",
    "harm unknown": "whether it hurts, this run cannot say",
    "leaning": "two tasks' gradients lean against each other, slightly",
    "balanced": "nothing is wrong",
}
"""What a finding can be, in the order in which findings are told."""


BY_HAND = "The weight in the script's own lines", "The method in the script's own lines"
"""What stands before ``patch`` and ``method_patch``."""


@dataclass(frozen=True)
class Finding:
    """One thing that a run shows.

    Attributes:
        kind: one of ``KINDS``.
        text: what was found, in a sentence.
        tasks: whom it is about: the owner; the pair in conflict; who is harmed.
        where: layers, or "all shared".
        since: the training step since when; None where that means nothing.
        strength: a number, and ``meaning`` what it measures.
        probability: that it is so, given how the numbers vary along the run; NaN where that cannot be told.
        causes: of dominance: weight, scale, frequency, noise (of groups of examples also their number, or that they are
            learned), the strongest first; empty where none stands out.
        why: the causes in words.
        evidence: the numbers behind it.
        advice: what to try, one sentence each, with the command or the line of code.
        patch: the loss weight among it as a unified diff against the script; "" where it is not certain where it goes.
        method_patch: the same of the method among it.
        alarm: whether it claims harm, or a conflict that costs.
        only: of which steps it is said, where that is the start of the training alone, see ``verdict.scope``; "" else.
        doubt: why it cannot be trusted: what does not add up in the run, see ``verdict.doubts``; "" where all does.
    """

    kind: str
    text: str
    tasks: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    since: int | None = None
    strength: float = math.nan
    meaning: str = ""
    probability: float = math.nan
    causes: tuple[Cause, ...] = ()
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    patch: str = ""
    method_patch: str = ""
    alarm: bool = False
    only: str = ""
    doubt: str = ""

    @property
    def certainty(self) -> str:
        """ "sure", "likely" or "weak", by the probability; "" without one."""
        return certainty(self.probability)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON knows them, but for NaN."""
        return {
            "kind": self.kind,
            "text": self.text,
            "tasks": list(self.tasks),
            "where": list(self.where),
            "since": self.since,
            "strength": self.strength,
            "meaning": self.meaning,
            "probability": self.probability,
            "certainty": self.certainty,
            "causes": [
                {"name": c.name, "factor": c.factor, "probability": c.probability, **c.evidence} for c in self.causes
            ],
            "why": self.why,
            "evidence": dict(self.evidence),
            "advice": list(self.advice),
            "patch": self.patch,
            "method_patch": self.method_patch,
            "alarm": self.alarm,
            "only": self.only,
            "doubt": self.doubt,
        }

    def diffs(self) -> list[tuple[str, str]]:
        """(what it is, unified diff) of those that are known."""
        return [each for each in zip(BY_HAND, (self.patch, self.method_patch), strict=True) if each[1]]

    def lines(self) -> list[tuple[str, str]]:
        """(word before it, sentence): what was found, why, how sure, what to try."""
        said = [("", self.text)]
        if self.why:
            said.append(("Why", self.why))
        if self.doubt:
            said.append(("How sure", f"not to be trusted, because {self.doubt}"))
        elif self.certainty:
            since = f", since {self.only}" if self.only else ""
            said.append(("How sure", f"{self.certainty} (probability {_probability(self.probability)}){since}"))
        return said + [("Try", advice) for advice in self.advice]


@dataclass(frozen=True)
class Verdict:
    """What a run says; iterates over its findings, the most important first.

    Attributes:
        findings: at least one.
        notes: what to know about the numbers: steps left out, sampling, parameters that nobody moved.
        remarks: what to know about the run's books: steps that are missing, what the recorder has to say; none where it
            was understood.
        books: the numbers behind that, and behind findings that the verdict cannot be trusted; see ``analyse.books``.
        data: what ``plot_verdict`` draws: owned, held, since (layer, task); mean_gcd, gcd_se, above (layer, pair); all
            as in ``verdict.holdings`` and ``verdict.conflicts``.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    data: xr.Dataset
    books: RunBooks | None = None
    remarks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def alarm(self) -> bool:
        """Whether a finding claims harm, or a conflict that costs."""
        return any(finding.alarm for finding in self.findings)

    def of(self, kind: str) -> list[Finding]:
        """The findings of a kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def text(self, width: int = 80) -> str:
        """Remarks, findings and notes in paragraphs of lines no longer than ``width``, but for code to be copied."""
        paragraphs = []
        if self.remarks:
            paragraphs.append("\n".join(_wrapped(remark, width, "Recording: ") for remark in self.remarks))
        for finding in self.findings:
            lines = []
            for word, sentence in finding.lines():
                before = "- " if not word else f"  {word}: "
                lines.append(_wrapped(sentence, width, before))
            for title, diff in finding.diffs():
                lines += [f"  {title}:", *(f"    {line}" for line in diff.splitlines())]
            paragraphs.append("\n".join(lines))
        if self.notes:
            paragraphs.append("\n".join(_wrapped(note, width, "Note: ") for note in self.notes))
        return "\n\n".join(paragraphs)

    def head(self, width: int = 80) -> str:
        """Remarks and findings, a sentence or two each: without causes, probabilities and advice."""
        said = [_wrapped(remark, width, "Recording: ") for remark in self.remarks]
        trust = (" Not to be trusted." if finding.doubt else "" for finding in self.findings)
        found = [finding.text + tail for finding, tail in zip(self.findings, trust, strict=True)]
        return "\n".join(said + [_wrapped(text, width, "- ") for text in found])

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON knows them, but for NaN."""
        return {
            "alarm": self.alarm,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
            "remarks": list(self.remarks),
            "books": None if self.books is None else self.books.to_dict(),
        }

    def to_dataframe(self) -> pd.DataFrame:
        """One row a finding; lists as text."""
        rows = []
        for finding in self.findings:
            row = finding.to_dict()
            row |= {name: ", ".join(row[name]) for name in ("tasks", "where")}
            row["causes"] = ", ".join(cause.name for cause in finding.causes)
            row["advice"] = " ".join(finding.advice)
            del row["evidence"], row["why"]
            rows.append(row)
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        """For notebooks."""
        items = []
        for finding in self.findings:
            said = [
                f"<b>{escape(sentence)}</b>" if not word else f"<i>{word}:</i> {_code(sentence)}"
                for word, sentence in finding.lines()
            ]
            said += [f"<i>{title}:</i><pre>{escape(diff)}</pre>" for title, diff in finding.diffs()]
            items.append(f"<li>{'<br>'.join(said)}</li>")
        notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in self.notes)
        about = "".join(f"<p>{escape(remark)}</p>" for remark in self.remarks)
        return f"{about}<ul>{''.join(items)}</ul>{notes}"


def _wrapped(text: str, width: int, before: str) -> str:
    """Lines no longer than ``width``, but for code between backticks: that is to be copied, and stays on one line."""
    indent = " " * (len(before) - len(before.lstrip()) + 2)
    parts = text.split("`")
    whole = "`".join(part.replace(" ", _KEPT) if i % 2 else part for i, part in enumerate(parts))
    filled = fill(
        whole,
        width,
        initial_indent=before,
        subsequent_indent="  " if before[0].isalpha() else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(_KEPT, " ")


def _code(sentence: str) -> str:
    parts = escape(sentence).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _probability(value: float) -> str:
    return "over 0.99" if value > 0.99 else f"{int(100 * value + 1e-9) / 100:.2f}"  # down: a likely one is never 0.99
