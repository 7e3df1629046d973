"""Passes through a model that FSDP2 has sharded: each process keeps its piece of the means of the tasks' gradients.

Gradients are taken of the whole parameters, for the batch of this process, and averaged as of a model in
DistributedDataParallel. Of the means each process keeps what belongs to its pieces, and splits the steps of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch.distributed as dist
from torch import Tensor

from dominance.record.group import Group
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.parallel import Ranks
from dominance.record.guest.sharded import cannot_gather
from dominance.record.ranks import exchange
from dominance.record.recording import Recording
from dominance.record.sharded_models import Piece, cut, leaf_of
from dominance.record.split.passes import Pass

ALONE = (
    "the model is sharded over several processes, of which not all are recorded: "
    "torchrun --nproc-per-node N -m dominance record SCRIPT records them all"
)
IN_PART = (
    "FSDP2 reduces the gradients of some modules in this pass, and keeps those of others (set_requires_gradient_sync)"
)


@dataclass
class Sharded:
    """The sharded model that the pass in progress goes through."""

    groups: Sequence[Any]
    """Of parameters that FSDP2 gathers together."""
    group: Group | None
    """The processes; None of a model sharded over one."""
    shares: Group | None
    """Those of them that have one copy of the model between them; None where this one has a whole copy."""


@dataclass
class Shards:
    """What passes have left that FSDP2 has not put into ``.grad`` yet, as where gradients are accumulated."""

    step: int = -1
    kept: list[Pass] = field(default_factory=list)

    def begin(self, ranks: Ranks, groups: Sequence[Any]) -> Sharded:
        """A pass is about to be made through these.

        Raises:
            CannotLook: of which nothing can be recorded.
        """
        if (reason := cannot_gather(groups)) is not None:
            raise CannotLook(reason)
        part = next(held.mesh_info.shard_process_group for group in groups for held in group.fsdp_params)
        every: Any = part if part.size() == dist.get_world_size() else dist.group.WORLD
        found = [None if each.size() == 1 else ranks.together(each) for each in (every, part)]
        if any(group is None and each.size() > 1 for group, each in zip(found, (every, part), strict=True)):
            raise CannotLook(ALONE)
        return Sharded(groups, *found)

    def over(self, run: Recording, model: Sharded, made: Pass | None) -> Pass | None:
        """The pass is over: what it gives the pieces, from what this process has made of its batch.

        None where it gives them nothing yet. What was kept of earlier passes is entered before it.

        Raises:
            Lost: another process is gone, or is at another step.
        """
        pieces = [p for p in run.table.named if isinstance(p, Piece)]
        whole = _of(made, {p: leaf_of(p) for p in pieces})
        if model.group is not None:
            whole = exchange.average(run, model.group, [leaf_of(p) for p in pieces], whole)
            run.sharing = model.shares
        back = {leaf_of(p): p for p in pieces}
        if whole is not None:
            for name, part in whole.gradients.items():
                for leaf, gradient in part.items():
                    # Whether it is zero is asked of the whole: the same tasks share a parameter in every process.
                    run.ledger.reaches(whole.part(name), back.get(leaf, leaf), gradient)
        mine = _of(whole, back)
        self.kept = self.kept if self.step == run.step.number else []
        self.step = run.step.number
        reduces = {group.reduce_grads and (group.all_reduce_grads or not _copied(group)) for group in model.groups}
        if len(reduces) > 1:
            run.step.spoiled = IN_PART
        elif not reduces.pop():
            self.kept += [] if mine is None else [mine]
            return None
        for earlier in self.kept:
            run.ledger.enter(earlier, run.table.named, averaged=True)
        self.kept = []
        return mine


def _copied(group: Any) -> bool:
    """Whether several processes have each piece: then gradients are reduced in two steps."""
    return hasattr(group.mesh_info, "replicate_mesh_size")


def _of(made: Pass | None, tensors: Mapping[Tensor, Tensor]) -> Pass | None:
    """A pass with these tensors' gradients under the names of those, and what belongs to them."""
    if made is None:
        return None
    gradients, beside = (
        {name: {tensors.get(p, p): cut(tensors.get(p, p), gradient) for p, gradient in of.items()} for name, of in each}
        for each in (made.gradients.items(), made.beside.items())
    )
    return replace(made, gradients=gradients, beside=beside)
