"""What the name of a scalar says that a script logs: which task it is of, on which data, and what it measures."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_BETWEEN = re.compile(r"(?:[\s/_\-:|]|(?<!\d)\.|\.(?!\d))+")
"""What stands between the words of a name; not the dot of a number, as in ``f1@0.5``."""
EVALUATED = {"val": "val", "valid": "val", "validation": "val", "eval": "val", "test": "test"}
"""Words that say that something is evaluated, and on which split, in names of scalars and of what a script has."""
_SPLITS: dict[str, str | None] = {**EVALUATED, "train": None, "training": None}
"""Words of a name that say what the scalar was measured on -> the split; None: it is left alone."""


class Meaning(NamedTuple):
    """What a scalar's name says."""

    task: str
    split: str
    metric: str


def meaning(tag: str, tasks: Sequence[str]) -> Meaning | None:
    """Task, split and metric of a scalar by its name; None: it names not one of each.

    The words of a task's name, or those without a "loss" at its start or end, stand in it next to each other, in any
    case of letters; of places inside of one another the longest counts. One more word says the split. What is left is
    the metric's name, and where nothing is, "loss" where the task's name held it, else "value".

    Args:
        tag: as the script gives it to its logger.
        tasks: names of the run's tasks.

    >>> meaning("val/price_auc", ["price_loss", "stars_loss"])
    Meaning(task='price_loss', split='val', metric='auc')
    >>> meaning("test_loss/price", ["price_loss", "stars_loss"])
    Meaning(task='price_loss', split='test', metric='loss')
    >>> meaning("train/price_auc", ["price_loss", "stars_loss"])
    """
    words = _words(tag)
    small = [word.lower() for word in words]
    found = list(_places(small, tasks))
    longest = [
        (at, task)
        for at, own, task in found
        if not any(_goes_before(one, own_one, at, own) for one, own_one, _ in found)
    ]
    named = {task for _, task in longest}
    taken = {i for at, _ in longest for i in at}
    splits = {_SPLITS[word] for i, word in enumerate(small) if i not in taken and word in _SPLITS}
    split = splits.pop() if len(splits) == 1 else None
    if split is None or len(named) != 1:
        return None
    left = [word for i, word in enumerate(words) if i not in taken and small[i] not in _SPLITS]
    without = "loss" if any(small[i] == "loss" for i in taken) else "value"
    return Meaning(named.pop(), split, "_".join(left) or without)


def _words(name: str) -> list[str]:
    return [word for word in _BETWEEN.split(name) if word]


def _places(words: Sequence[str], tasks: Sequence[str]) -> Iterator[tuple[range, bool, str]]:
    """Where tasks are named: the words' places, whether it is the whole name, the task."""
    for task in tasks:
        whole = _words(task.lower())
        for form in (whole, whole[1:] if whole[:1] == ["loss"] else whole[:-1] if whole[-1:] == ["loss"] else []):
            for start in range(len(words) - len(form) + 1) if form else ():
                if list(words[start : start + len(form)]) == form:
                    yield range(start, start + len(form)), form is whole, task


def _goes_before(one: range, whole: bool, other: range, other_whole: bool) -> bool:
    if one == other:
        return whole and not other_whole
    return one.start <= other.start and other.stop <= one.stop


@functools.lru_cache(maxsize=4096)
def may_count(tag: str) -> bool:
    """Whether the name has a word of a split of evaluation: most scalars of a training have none."""
    return any(word in EVALUATED for word in _words(tag.lower()))
