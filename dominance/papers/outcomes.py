"""From what holds to the word for it."""

from __future__ import annotations

from collections.abc import Iterable

from dominance.papers.item import Outcome


def three(all_of_it: bool, some: bool) -> Outcome:
    """
    >>> three(True, True), three(False, True), three(False, False)
    ('reproduced', 'partly', 'not reproduced')
    """
    return "reproduced" if all_of_it else "partly" if some else "not reproduced"


def of_parts(holds: Iterable[bool], least: float = 0.5) -> Outcome:
    """All of them: reproduced; at least this share: partly.

    >>> of_parts([True, True]), of_parts([True, False]), of_parts([True, False, False])
    ('reproduced', 'partly', 'not reproduced')
    """
    parts = list(holds)
    return three(all(parts), sum(parts) >= least * len(parts))
