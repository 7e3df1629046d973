"""Tasks of one loss that the source calls alike are told apart by the heads that each alone has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dominance.record.tasks.graph import head as nearest
from dominance.record.tasks.graph import private_parameters
from dominance.record.tasks.labels import distinct
from dominance.record.tasks.naming import Names
from dominance.record.tasks.splitting import Term

_Named = list[tuple[str, list[int]]]
"""Name, and the positions of its terms."""
Ids = frozenset[int]
"""Ids of parameters."""


class Heads:
    """What tasks of one name are called, in every step of a run alike."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Ids, str]]] = {}

    def told_apart(self, found: _Named, terms: Sequence[Term], names: Names, made_at: Sequence[object] = ()) -> _Named:
        """Give each of the groups that share a name one of its own: its head's, or a number.

        One that is alone today, of those that shared a name before, keeps the one that it had then.

        Args:
            found: the groups of terms.
            terms: those of one backward() call.
            names: the modules around the call.
            made_at: for each term the place in the script that made it, where it has no name but its function's.
        """
        found = self._of_one_line(found, terms, names, made_at)
        listed = [name for name, _ in found]
        renamed = list(found)
        repeats: dict[str, tuple[list[int], list[Ids]]] = {}
        for name in dict.fromkeys(listed):
            places = [i for i, other in enumerate(listed) if other == name]
            if len(places) > 1:
                each = [[terms[i] for i in found[place][1]] for place in places]
                own = _own(each)
                repeats[name] = (places, own)
                # A place in the source (train.py:12) says nothing beside the head.
                bare = len(set(listed)) == 1 or ".py:" in name
                for place, head in zip(places, _told(each, own, names) or (), strict=False):
                    renamed[place] = (head if bare else f"{name}.{head}", found[place][1])
            elif name in self._known:
                known = self._same(name, [terms[i] for i in found[places[0]][1]])
                renamed[places[0]] = (known or name, found[places[0]][1])
        renamed = distinct(renamed)
        for name, (places, own) in repeats.items():
            held = [(ids, renamed[place][0]) for place, ids in zip(places, own, strict=True)]
            self._known.setdefault(name, held)
        return renamed

    def _of_one_line(self, found: _Named, terms: Sequence[Term], names: Names, made_at: Sequence[object]) -> _Named:
        """Call groups that one line made by different functions after their heads, where all have one."""
        renamed = list(found)
        made = [{made_at[i] for i in members} if made_at else {None} for _, members in found]
        for place in dict.fromkeys(next(iter(each)) for each in made if len(each) == 1):
            here = [i for i, each in enumerate(made) if each == {place}]
            if place is None or len({found[i][0] for i in here}) < 2:
                continue
            grouped = [[terms[k] for k in found[i][1]] for i in here]
            own = _own(grouped)
            held: dict[str, list[tuple[Ids, str]]] = {}
            for i, ids, head in zip(here, own, _told(grouped, own, names) or (), strict=False):
                held.setdefault(found[i][0], []).append((ids, head))
                renamed[i] = (head, found[i][1])
            self._known = held | self._known
        return renamed

    def _same(self, name: str, terms: Sequence[Term]) -> str | None:
        (reached,) = _own([terms])
        known = self._known[name]
        met = [called for ids, called in known if ids and ids <= reached]
        return met[0] if len(met) == 1 and sum(1 for ids, _ in known if ids & reached) == 1 else None


def _own(groups: Sequence[Sequence[Term]]) -> list[Ids]:
    """The parameters that each group of terms reaches and no other does."""
    nodes = [(i, term.node) for i, terms in enumerate(groups) for term in terms]
    reached: list[Ids] = [frozenset()] * len(groups)
    for (i, _), private in zip(nodes, private_parameters([node for _, node in nodes]), strict=True):
        reached[i] |= private
    return [ids - frozenset().union(*(reached[:i] + reached[i + 1 :])) for i, ids in enumerate(reached)]


def _told(groups: Sequence[Sequence[Term]], own: Sequence[Ids], names: Names) -> list[str] | None:
    """What the parts of the modules around are called that hold each of these parameters and no other's of them.

    Of several parts of one task it is the one nearest to its loss. None unless each has one, and all are different.
    """
    if not all(own):
        return None
    told = []
    for terms, ids in zip(groups, own, strict=True):
        near = frozenset().union(*(nearest(term.node, ids) for term in terms)) & ids
        told.append(_holder(near or ids, frozenset().union(*(other for other in own if other is not ids)), names))
    found = [name for name in told if name is not None]
    return found if len(found) == len(own) == len(set(found)) else None


def _holder(mine: Ids, others: Ids, names: Names) -> str | None:
    variable = None
    for module in names.modules:
        part = _part_of(module, mine, others)
        if part is None:
            continue
        path, held = part
        last = path.rpartition(".")[2]
        if last and not last.isdigit():
            return last
        variable = variable or names.called.get(id(held))
    return variable


def _part_of(module: nn.Module, mine: Ids, others: Ids) -> tuple[str, nn.Module] | None:
    """The largest part of a module that holds some of these parameters and none of the others."""
    for path, part in module.named_modules():
        held = {id(parameter) for parameter in part.parameters()}
        if held & mine and not held & others:
            return path, part
    return None
