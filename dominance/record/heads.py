"""Tasks of one loss that the source calls alike are told apart by the heads that each alone has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dominance.record.graph import private_parameters
from dominance.record.labels import distinct
from dominance.record.naming import Names
from dominance.record.splitting import Term

Groups = list[tuple[str, list[int]]]
"""Name, and the positions of its terms."""
Ids = frozenset[int]
"""Ids of parameters."""


class Heads:
    """What tasks of one name are called, in every step of a run alike."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Ids, str]]] = {}

    def told_apart(self, found: Groups, terms: Sequence[Term], names: Names) -> Groups:
        """Give each of the groups that share a name one of its own: its head's, or a number.

        One that is alone today, of those that shared a name before, keeps the one that it had then.

        Args:
            found: the groups of terms.
            terms: those of one backward() call.
            names: the modules around the call.
        """
        listed = [name for name, _ in found]
        renamed = list(found)
        repeats: dict[str, tuple[list[int], list[Ids]]] = {}
        for name in dict.fromkeys(listed):
            places = [i for i, other in enumerate(listed) if other == name]
            if len(places) > 1:
                own = _own([[terms[i] for i in found[place][1]] for place in places])
                repeats[name] = (places, own)
                # A place in the source (train.py:12) says nothing beside the head.
                bare = len(set(listed)) == 1 or ".py:" in name
                for place, head in zip(places, _told(own, names) or (), strict=False):
                    renamed[place] = (head if bare else f"{name}.{head}", found[place][1])
            elif name in self._known:
                known = self._same(name, [terms[i] for i in found[places[0]][1]])
                renamed[places[0]] = (known or name, found[places[0]][1])
        renamed = distinct(renamed)
        for name, (places, own) in repeats.items():
            held = [(ids, renamed[place][0]) for place, ids in zip(places, own, strict=True)]
            self._known.setdefault(name, held)
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


def _told(own: Sequence[Ids], names: Names) -> list[str] | None:
    """What the parts of the modules around are called that hold each of these parameters and no other's of them.

    None unless each has one, and all are different.
    """
    if not all(own):
        return None
    told = [_holder(ids, frozenset().union(*(other for other in own if other is not ids)), names) for ids in own]
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
