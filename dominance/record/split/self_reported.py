"""Steps whose parts the optimizer itself makes known: AdaTask and PUB step task by task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.linear import full
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.pool import Pool
from dominance.record.split.given import hyper_parameters
from dominance.record.split.splits import GradientSplit, StepSplit, closure_of


def announces(optimizer: Optimizer) -> bool:
    """Whether the optimizer says itself which part of its step is whose."""
    return bool(getattr(type(optimizer), "announces_updates", False))


class AnnouncedAttributor(OfOptimizer):
    """Takes the parts of a step as the optimizer tells them. Has the methods of an ``Attributor``.

    Args:
        optimizer: one that announces.
        attribution: "additive", "solo" or "both". Where each task has a state of its own, its solo update is its part
            of the step; elsewhere it is not known, and NaN.
        keep: keep the optimizer alive.
    """

    def __init__(self, optimizer: Optimizer, attribution: str = "additive", *, keep: bool = True) -> None:
        super().__init__(optimizer, keep=keep)
        self.given = hyper_parameters(optimizer)
        self.additive = True
        self.has_momentum = False
        """Momentum is kept task by task: nothing of it is unattributed."""
        self.step_skipped = False
        self._attribution = attribution
        self._solo = bool(getattr(optimizer, "announced_are_solo", False))
        self._theta: dict[Tensor, Tensor] = {}
        self._parts: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def note(self) -> str:
        """One sentence: how the steps of this optimizer are split."""
        name = type(self.optimizer).__name__
        unknown = "" if self._solo or self._attribution == "additive" else "; no solo update"
        return f"{name}: each task's part of the step as the optimizer computes it{unknown}"

    def begin_burst(self) -> None:
        """Nothing is kept from step to step."""

    @torch.no_grad()
    def before_step(self, parameters: Iterable[Tensor], theta: Mapping[Tensor, Tensor] | None = None) -> None:
        """Keep what the step will overwrite; ``theta`` are copies that the caller has made already."""
        mine = {p for group in self.optimizer.param_groups for p in group["params"]}
        stepped = [p for p in parameters if p in mine and not p.is_complex()]
        copies = theta or {}
        self._theta = {p: copies[p] if p in copies else p.detach().clone() for p in stepped}
        self._parts = {}

    @torch.no_grad()
    def take(self, task: str, parts: Mapping[Tensor, Tensor]) -> None:
        """One task's part of the step that is going on."""
        for p, part in parts.items():
            if p in self._theta:
                self._parts.setdefault(p, {})[task] = full(part.detach()).clone()

    def follow(self, gradients: Mapping[Tensor, GradientSplit]) -> None:
        """Nothing is wanted of the step just taken."""
        self._theta, self._parts = {}, {}

    @torch.no_grad()
    def splits(
        self, gradients: Mapping[Tensor, GradientSplit], *, in_tiles: bool = False
    ) -> Iterator[tuple[Tensor, StepSplit]]:
        """Split the step just taken, one parameter at a time. Coupled weight decay is in the tasks' own parts.

        Args:
            gradients: not needed: the optimizer has told.
            in_tiles: of no account: all parts are there.
        """
        groups = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        for p, before in self._theta.items():
            parts = self._parts.get(p, {})
            if not parts and torch.equal(p, before):
                continue
            theta = full(before)
            split = StepSplit(full(p.detach()) - theta, tasks=parts)
            if groups[p].get("decoupled_weight_decay", False) and groups[p]["weight_decay"]:
                split.decay = theta * -(float(groups[p]["lr"]) * float(groups[p]["weight_decay"]))
            split.closure, split.rounding = closure_of(split, theta, torch.finfo(p.dtype).eps, Pool())
            if self._attribution != "additive":
                split.solo = split.tasks if self._solo else {k: torch.full_like(u, torch.nan) for k, u in parts.items()}
            yield p, split
        self._theta, self._parts = {}, {}
