"""Which task's gradient is what the others leave of the script's own pass, so that no pass of our own is made for it.

What the tasks leave of a gradient tells whether they were told apart rightly. Where one of them is itself what is left,
nothing tells: so a pass is made for each task at first, again in one step of eight, and whenever the loss comes apart
in another way. If anything is left then beyond rounding, a pass is made for each task from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dominance.record.split.fed import Fed
from dominance.record.split.remainders import ROUNDINGS
from dominance.record.tasks.finder import Found
from dominance.record.write.rows import GradientNorms

FIRST = 2
"""Steps with a pass for each task before one is left out."""
EVERY = 8
"""Of so many recorded steps with losses of one structure, one has a pass for each task."""
_OF_ALL = 4
"""Roundings of the gradients of all parameters: what is left in one layer and is below these is of numbers that are
nothing but rounding themselves, like the gradient of a bias before a batch norm."""
_WEAK = 1 / 8
"""The task that is left out is chosen anew where its gradient has become so small beside the largest."""
_MOST = 64
"""Structures that are remembered."""


@dataclass
class _Known:
    """What the passes for each task have shown of losses of one structure."""

    structure: object
    checks: int = 0
    since: int = 0
    """Recorded steps without a pass for one of the tasks since the last check."""
    reach: dict[str, frozenset[Tensor]] = field(default_factory=dict)
    """The parameters of which each task has a gradient."""
    strongest: str | None = None
    """The task of the largest gradient, if that is other than zero for each parameter that the task reaches."""


@dataclass
class _Pass:
    """The only backward() of the step in progress so far."""

    known: _Known
    left_out: str | None = None
    reached: dict[str, set[Tensor]] = field(default_factory=dict)
    """The parameters of which each task's gradient is other than zero."""


class LeftOut:
    """Decides it for one recording."""

    def __init__(self) -> None:
        self.never = False
        """Whether something was left beyond rounding: from then on a pass is made for each task."""
        self._known: dict[int, _Known] = {}
        self._pass: _Pass | None = None

    def begin(self, found: Found, *, possible: bool, prepares: bool) -> tuple[str, frozenset[Tensor]] | None:
        """A backward() is about to be gone through.

        Args:
            found: what it is made of.
            possible: whether ``.grad`` will hold what comes of it alone.
            prepares: whether nothing is kept of the step but what it leaves in the momenta: it is no check.

        Returns:
            The task of which no pass is to be made, and the parameters that it reaches; None where there is none.
        """
        self._pass = None
        if self.never or not possible or found.structure is None or len(found.tasks) < 2:
            return None
        if id(found.structure) not in self._known and len(self._known) >= _MOST:
            self._known.clear()
        known = self._known.setdefault(id(found.structure), _Known(found.structure))
        self._pass = _Pass(known)
        if known.checks < FIRST or known.strongest is None or (known.since >= EVERY - 1 and not prepares):
            return None
        if not all(task.weight for task in found.tasks if task.name == known.strongest):
            return None  # switched off for now: its gradient is zero
        self._pass.left_out = known.strongest
        return known.strongest, known.reach[known.strongest]

    def has(self, taken: Mapping[str, Mapping[Tensor, Tensor]]) -> None:
        """A pass was made for each task, and has given these gradients."""
        if self._pass is not None:
            self._pass.known.reach = {name: frozenset(gradients) for name, gradients in taken.items()}

    def fed(self, found: Fed) -> None:
        """An optimizer has taken a step that is recorded, by these gradients."""
        if self._pass is None or self._pass.left_out is not None:
            return
        for p, tasks in found.reach.items():
            for name in tasks:
                self._pass.reached.setdefault(name, set()).add(p)

    def step_over(self, norms: GradientNorms | None) -> None:
        """The training step is over.

        Args:
            norms: of its gradients; None where it becomes no row.
        """
        made, self._pass = self._pass, None
        if made is None or norms is None or not np.isfinite(norms.total).all():
            return
        known = made.known
        whole = {name: float(np.linalg.norm(each)) for name, each in norms.tasks.items()}
        if made.left_out is None:
            self._check(made, norms, whole)
        else:
            known.since = known.since + 1 if whole.get(made.left_out, 0) > _WEAK * max(whole.values()) else EVERY

    def _check(self, made: _Pass, norms: GradientNorms, whole: Mapping[str, float]) -> None:
        known, strongest = made.known, max(whole, key=whole.__getitem__)
        reach = known.reach.get(strongest, frozenset())
        eps = max((torch.finfo(p.dtype).eps for p in reach), default=0.0)
        of_layer = ROUNDINGS * (norms.total + sum(norms.tasks.values()))
        of_all = _OF_ALL * (float(np.linalg.norm(norms.total)) + sum(whole.values()))
        self.never |= not (norms.unexplained <= eps * np.maximum(of_layer, of_all)).all()
        known.checks, known.since = known.checks + 1, 0
        known.strongest = strongest if reach and made.reached.get(strongest, set()) >= reach else None


def is_plain(parameter: Tensor) -> bool:
    """Whether it is of single or double precision, and nobody has hung a hook on its gradient."""
    hooked = parameter._backward_hooks or parameter._post_accumulate_grad_hooks
    return not hooked and parameter.dtype in (torch.float32, torch.float64) and not parameter.is_sparse
