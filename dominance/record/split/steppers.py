"""The optimizers of a run, and how each one's steps are split."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer

from dominance.record.split.attribution import Attributor
from dominance.record.split.self_reported import AnnouncedAttributor, announces

Splits = Attributor | AnnouncedAttributor


class Steppers:
    """One attributor for each optimizer that steps, and whether its last step was recorded.

    Optimizers are not kept alive: what is known of one goes with it.

    Args:
        attribution: "additive", "solo" or "both", as asked.
        only: record these optimizers; None for every one.
    """

    def __init__(self, attribution: str, only: Sequence[Optimizer] | None) -> None:
        self._asked = attribution
        self._only = None if only is None else [weakref.ref(optimizer) for optimizer in only]
        # By id, each with the optimizer that it stands for: an id is given anew to another one.
        self._attributors: dict[int, tuple[weakref.ref[Optimizer], Splits]] = {}
        self._unseen: dict[int, weakref.ref[Optimizer]] = {}
        self._known: list[weakref.ref[Optimizer]] = [] if only is None else list(self._only or [])

    @property
    def known(self) -> list[Optimizer]:
        """Optimizers that are there, whether they have stepped yet or not."""
        return [optimizer for reference in self._known if (optimizer := reference()) is not None]

    @known.setter
    def known(self, optimizers: Sequence[Optimizer]) -> None:
        self._known = [weakref.ref(optimizer) for optimizer in optimizers]

    def ours(self, optimizer: Optimizer) -> bool:
        """Whether the steps of this optimizer are recorded."""
        return self._only is None or any(reference() is optimizer for reference in self._only)

    def get(self, optimizer: Optimizer) -> Splits | None:
        """Its attributor; None before its first recorded step."""
        reference, attributor = self._attributors.get(id(optimizer), (None, None))
        return attributor if reference is not None and reference() is optimizer else None

    def begin(self, optimizer: Optimizer) -> Splits:
        """Its attributor, at the start of a recorded step: a burst begins where its step before was not recorded."""
        self._let_go()
        attributor = self.get(optimizer)
        if attributor is None:
            self.known = [known for known in self.known if known is not optimizer] + [optimizer]
            # "both" beside an optimizer whose step is not linear, so that the solo updates can be compared.
            attributor = _attributor(optimizer)
            self._attributors[id(optimizer)] = (weakref.ref(optimizer), attributor)
            asked = "both" if self._asked == "additive" and not self.linear else self._asked
            if asked != "additive":
                attributor = _attributor(optimizer, asked)
                self._attributors[id(optimizer)] = (weakref.ref(optimizer), attributor)
            attributor.begin_burst()
        if self._is_unseen(optimizer):
            attributor.begin_burst()
        # Until the step has been split: it may turn out to have no gradients that anybody knows.
        self._unseen[id(optimizer)] = weakref.ref(optimizer)
        return attributor

    def drop(self, optimizer: Optimizer) -> None:
        """Another optimizer takes its steps for it, or it takes none of its own."""
        if self.get(optimizer) is not None:
            del self._attributors[id(optimizer)]
        self._known = [reference for reference in self._known if reference() is not optimizer]

    def recorded(self, optimizer: Optimizer) -> None:
        """The step that it began was split: the next one goes on from there."""
        if self._is_unseen(optimizer):
            del self._unseen[id(optimizer)]

    def missed(self, optimizer: Optimizer) -> None:
        """It takes a step that is not recorded."""
        if not self._is_unseen(optimizer):
            self._unseen[id(optimizer)] = weakref.ref(optimizer)

    @property
    def attributors(self) -> list[Splits]:
        """All that have stepped, and are still there."""
        return [attributor for reference, attributor in self._attributors.values() if reference() is not None]

    @property
    def linear(self) -> bool:
        """Whether the optimizers of the run take steps that are linear in their gradients.

        Those that have stepped say so. Of the others count those that hold a parameter of their own and can be run on a
        copy: a wrapper around an optimizer, or one that rescales gradients for another, takes no step itself.
        """
        stepped = [attributor for attributor in self.attributors if self.ours(attributor.optimizer)]
        if not all(attributor.additive for attributor in stepped):
            return False
        held = {id(p) for attributor in stepped for p in _parameters(attributor.optimizer)}
        return all(
            _may_be_linear(optimizer)
            for optimizer in self.known
            if self.get(optimizer) is None and self.ours(optimizer)
            if not all(id(p) in held for p in _parameters(optimizer))
        )

    def _is_unseen(self, optimizer: Optimizer) -> bool:
        reference = self._unseen.get(id(optimizer))
        return reference is not None and reference() is optimizer

    def _let_go(self) -> None:
        """Forget what belongs to optimizers that are no more."""
        self._attributors = {key: each for key, each in self._attributors.items() if each[0]() is not None}
        self._unseen = {key: reference for key, reference in self._unseen.items() if reference() is not None}
        self._known = [reference for reference in self._known if reference() is not None]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """What it holds; nothing where its class was never initialised."""
    return [p for group in getattr(optimizer, "param_groups", []) for p in group["params"]]


def _may_be_linear(optimizer: Optimizer) -> bool:
    attributor = _attributor(optimizer)
    return attributor.additive or (isinstance(attributor, Attributor) and attributor.cannot_be_tried)


def _attributor(optimizer: Optimizer, attribution: str = "additive") -> Splits:
    kind = AnnouncedAttributor if announces(optimizer) else Attributor
    return kind(optimizer, attribution, keep=False)
