"""Gradients that lie in ``.grad`` from passes that were not averaged, and are averaged with those of a later pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dominance.record.ranks.means import Means, reach
from dominance.record.ranks.merging import averaged, told, with_gradients
from dominance.record.split.ledger import Account, Ledger
from dominance.record.split.passes import GradientOf, Pass

_LEFT = "left"


class Earlier:
    """The accounts of some parameters, as far as they are of this process alone.

    Args:
        ledger: the books; None of a process that has no inputs left.
        parameters: in one order in all processes.
    """

    def __init__(self, ledger: Ledger | None, parameters: Sequence[Tensor]) -> None:
        self._ledger = Ledger() if ledger is None else ledger
        self._parameters = parameters
        self._accounts = {
            p: account
            for p in parameters
            if (account := self._ledger.accounts.get(p)) is not None
            if account.held and not account.held_by <= self._ledger.averaged
        }
        numbers = {n for account in self._accounts.values() for n in account.held_by} - self._ledger.averaged
        self._passes = {n: self._ledger.passes[n] for n in sorted(numbers) if n in self._ledger.passes}

    def told(self) -> dict[str, Any]:
        """What the other processes have to know of them."""
        return {
            "passes": [told(made) for made in self._passes.values()],
            "held": reach(self._held(), self._parameters),
            _LEFT: reach(self._left(), self._parameters),
        }

    @property
    def left(self) -> dict[Tensor, Tensor]:
        """What the gradients were after the last backward()."""
        return self._left().get(_LEFT, {})

    def mean_left(self, means: Means, everyone: Sequence[Mapping[str, Any]]) -> dict[Tensor, Tensor]:
        """The means of that over the processes."""
        return means.of([each[_LEFT] for each in everyone], self._left()).get(_LEFT, {})

    def average(
        self, means: Means, everyone: Sequence[Mapping[str, Any]], left: Mapping[Tensor, Tensor] | None = None
    ) -> None:
        """Put the means over the processes in the place of what this one has.

        Args:
            means: of these parameters.
            everyone: what each process has told, by rank.
            left: ``mean_left``, where it has been asked for already.
        """
        if not any(each["held"] for each in everyone):
            return
        roots = self._average_passes([each["passes"] for each in everyone], means.count)
        held = means.of([_renamed(each["held"], roots) for each in everyone], _renamed(self._held(), roots))
        left = self.mean_left(means, everyone) if left is None else left
        for p in {p: None for of in held.values() for p in of}:
            account = self._ledger.accounts.setdefault(p, Account())
            account.held = {_part(name): of[p] for name, of in held.items() if p in of}
            account.held_by |= set(self._passes)
            account.left, account.known = left.get(p), True
            for part, gradient in account.held.items():
                if not part.beside:
                    self._ledger.tasks.setdefault(part.root, set()).add(part.task)
                    self._ledger.reaches(part, p, gradient)
        self._ledger.averaged |= set(self._passes)

    def _held(self) -> dict[str, dict[Tensor, Tensor]]:
        found: dict[str, dict[Tensor, Tensor]] = {}
        for p, account in self._accounts.items():
            for part, gradient in account.held.items():
                found.setdefault(json.dumps(part), {})[p] = gradient
        return found

    def _left(self) -> dict[str, dict[Tensor, Tensor]]:
        left = {p: account.left for p, account in self._accounts.items() if account.left is not None}
        return {_LEFT: left} if left else {}

    def _average_passes(self, everyone: Sequence[Sequence[Mapping[str, Any]]], count: int) -> dict[str, str]:
        """Average the losses of the passes; what parts are called that go by another loss now."""
        roots: dict[str, str] = {}
        numbers: list[int | None] = list(self._passes)
        numbers += [None] * (max(map(len, everyone)) - len(numbers))
        for place, number in enumerate(numbers):
            there = [passes[place] for passes in everyone if place < len(passes)]
            whole = averaged(there, count)
            assert whole is not None
            for made in there:
                for task in made["weight"]:
                    old = GradientOf(made["losses"].get(task, made["root"]), task)
                    roots[json.dumps(old)] = json.dumps(old._replace(root=whole.root_of(task)))
            if number is not None:
                made_here: Pass = self._passes[number]
                self._ledger.passes[number] = with_gradients(whole, made_here.gradients, made_here.beside)
        return roots


def _renamed(by_name: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in by_name.items()}


def _part(name: str) -> GradientOf:
    root, task, beside = json.loads(name)
    return GradientOf(root, task, beside)
