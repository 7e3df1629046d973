"""Words as lines of runs: prose, and code between backticks in a font of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dominance.plots.backends import matplotlib_
from dominance.plots.labels import shorten

Run = tuple[str, bool]
"""Some words, and whether they are code."""


def width_of(text: str, size: float, *, mono: bool, bold: bool = False) -> float:
    """In inches; code is set a little smaller."""
    width: float = matplotlib_.text_width(text, code_size(size) if mono else size, mono=mono)
    return width * (1.12 if bold else 1.0)


def code_size(size: float) -> float:
    """Points of code among words of ``size``: its letters are larger."""
    return 0.93 * size


def runs(text: str) -> list[Run]:
    """Prose and code in turn; a lone backtick stands as it is.

    >>> runs("try `a b`, then c")
    [('try ', False), ('a b', True), (', then c', False)]
    """
    if text.count("`") % 2:
        return [(text, False)]
    return [(part, i % 2 == 1) for i, part in enumerate(text.split("`")) if part]


def lines_of(text: str, width: float, size: float, *, bold: bool = False) -> list[list[Run]]:
    """Lines of at most ``width`` inches, broken at spaces, also those in code; a longer word is shortened."""
    lines: list[list[Run]] = []
    for paragraph in text.split("\n"):
        lines.append([])
        used = 0.0
        for word in _words(paragraph):
            need = sum(width_of(part, size, mono=mono, bold=bold) for part, mono in word)
            space = width_of(" ", size, mono=False) if lines[-1] else 0.0
            if lines[-1] and used + space + need > width:
                lines.append([])
                used = space = 0.0
            if need > width:
                word = [(_cut("".join(part for part, _ in word), width, size, mono=word[0][1]), word[0][1])]
            if space:
                both = lines[-1][-1][1] and word[0][1]
                lines[-1].append((" ", both))
            lines[-1] += word
            used += space + need
    return [_joined(line) for line in lines]


def _cut(word: str, width: float, size: float, *, mono: bool) -> str:
    return shorten(word, width, lambda part: width_of(part, size, mono=mono))


def _words(text: str) -> list[list[Run]]:
    """What must not be broken: between spaces, with punctuation that touches code."""
    words: list[list[Run]] = []
    fresh = True
    for part, mono in runs(text):
        for number, piece in enumerate(part.split(" ")):
            if number:
                fresh = True
            if not piece:
                continue
            if fresh:
                words.append([])
            words[-1].append((piece, mono))
            fresh = False
    return words


def words_of(line: Sequence[Run]) -> list[Run]:
    """The line word by word: drawn so, what a printer makes wider or narrower than it was measured does not add up.

    >>> words_of([("try ", False), ("a b", True)])
    [('try ', False), ('a ', True), ('b', True)]
    """
    return [(word, mono) for part, mono in line for word in re.findall(r" *[^ ]+ ?| +", part)]


def _joined(line: list[Run]) -> list[Run]:
    """Neighbours of one font as one run."""
    out: list[Run] = []
    for part, mono in line:
        if out and out[-1][1] == mono:
            out[-1] = (out[-1][0] + part, mono)
        else:
            out.append((part, mono))
    return out
