"""The optimizers of a run, and how each one's steps are split."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from dominance.record.announced import AnnouncedAttributor, announces
from dominance.record.attribution import Attributor

Splits = Attributor | AnnouncedAttributor


class Steppers:
    """One attributor for each optimizer that steps, and whether its last step was recorded.

    Args:
        attribution: "additive", "solo" or "both", as asked.
        only: record these optimizers; None for every one.
    """

    def __init__(self, attribution: str, only: Sequence[Optimizer] | None) -> None:
        self._asked = attribution
        self._only = None if only is None else {id(optimizer) for optimizer in only}
        self._attributors: dict[int, Splits] = {}
        self._unseen: set[int] = set()
        self.known: list[Optimizer] = list(only or [])
        """Optimizers that are there, whether they have stepped yet or not."""

    def ours(self, optimizer: Optimizer) -> bool:
        """Whether the steps of this optimizer are recorded."""
        return self._only is None or id(optimizer) in self._only

    def get(self, optimizer: Optimizer) -> Splits | None:
        """Its attributor; None before its first recorded step."""
        return self._attributors.get(id(optimizer))

    def begin(self, optimizer: Optimizer) -> Splits:
        """Its attributor, at the start of a recorded step: a burst begins where its step before was not recorded."""
        attributor = self._attributors.get(id(optimizer))
        if attributor is None:
            self.known = [known for known in self.known if known is not optimizer] + [optimizer]
            # "both" beside an optimizer whose step is not linear, so that the solo updates can be compared.
            asked = "both" if self._asked == "additive" and not self.linear else self._asked
            attributor = self._attributors[id(optimizer)] = _attributor(optimizer, asked)
            attributor.begin_burst()
        if id(optimizer) in self._unseen:
            attributor.begin_burst()
        # Until the step has been split: it may turn out to have no gradients that anybody knows.
        self._unseen.add(id(optimizer))
        return attributor

    def drop(self, optimizer: Optimizer) -> None:
        """Another optimizer takes its steps for it."""
        self._attributors.pop(id(optimizer), None)

    def recorded(self, optimizer: Optimizer) -> None:
        """The step that it began was split: the next one goes on from there."""
        self._unseen.discard(id(optimizer))

    def missed(self, optimizer: Optimizer) -> None:
        """It takes a step that is not recorded."""
        self._unseen.add(id(optimizer))

    @property
    def attributors(self) -> list[Splits]:
        """All that have stepped."""
        return list(self._attributors.values())

    @property
    def linear(self) -> bool:
        """Whether every optimizer of the run takes steps that are linear in its gradients."""
        return all(_attributor(optimizer).additive for optimizer in self.known if self.ours(optimizer))


def _attributor(optimizer: Optimizer, attribution: str = "additive") -> Splits:
    return AnnouncedAttributor(optimizer, attribution) if announces(optimizer) else Attributor(optimizer, attribution)
