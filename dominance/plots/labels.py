"""Names on plots: shortened in the middle to the room there is, and still different from one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Labeller = Mapping[str, str] | Callable[[str], str]
"""How a task or layer is called on a plot: a mapping (names it lacks stay as they are) or a function of the name."""

_HEADS = (0.5, 0.3, 0.7, 0.15, 0.85, 0.0, 1.0)


def relabel(names: Sequence[str], labeller: Labeller | None) -> list[str]:
    """The names as the user wants them on the plot."""
    if labeller is None:
        return [str(name) for name in names]
    if isinstance(labeller, Mapping):
        return [str(labeller.get(str(name), str(name))) for name in names]
    return [str(labeller(str(name))) for name in names]


def common_module(names: Sequence[str]) -> str:
    """The modules that all names lie in, with a dot at the end; "" where leaving them out would save little.

    >>> common_module(["model.encoder.0", "model.encoder.10.query"]), common_module(["trunk.0", "trunk.2"])
    ('model.encoder.', '')
    """
    parts = [name.split(".")[:-1] for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    prefix = "".join(f"{part}." for part in shared)
    return prefix if len(names) > 1 and len(prefix) >= 8 else ""


def shorten(text: str, width: float, measure: Callable[[str], float], head: float = 0.5) -> str:
    """``text`` if it is no wider than ``width``, else with "…" for its middle; ``head`` of what stays is its beginning.

    >>> shorten("encoder.layers.10.query", 12, len)
    'encode…query'
    """
    if measure(text) <= width:
        return text
    low, high = 0, len(text) - 1
    while low < high:  # the most characters that fit
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure(_cut(text, kept, head)) <= width else (low, kept - 1)
    return _cut(text, low, head)


def _cut(text: str, kept: int, head: float) -> str:
    front = -int(-kept * head // 1)
    back = kept - front
    return text[:front] + "…" + (text[len(text) - back :] if back else "")


def fit(names: Sequence[str], width: float, backend: Any, size: float) -> list[str]:
    """All names shortened to ``width`` inches, cut where they stay different; numbered as a last resort."""

    def measure(text: str) -> float:
        return float(backend.text_width(text, size))

    short: list[str] = []
    for head in _HEADS:
        short = [shorten(name, width, measure, head) for name in names]
        if len(set(short)) == len(set(names)):
            return short
    room = width - measure(f" #{len(names)}")
    return [
        text if short.count(text) == 1 else f"{shorten(name, room, measure)} #{number}"
        for number, (name, text) in enumerate(zip(names, short, strict=True), start=1)
    ]


def wrap(text: str, width: float, backend: Any, size: float) -> list[str]:
    """Break at spaces into lines no wider than ``width`` inches; a longer word is shortened."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        current = ""
        for word in paragraph.split(" "):
            longer = f"{current} {word}" if current else word
            if backend.text_width(longer, size) <= width:
                current = longer
                continue
            if current:
                lines.append(current)
            current = shorten(word, width, lambda part: float(backend.text_width(part, size)))
        lines.append(current)
    return lines
