"""Light recording: of which parameters the tasks' gradients and steps are looked at at the kept coordinates alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.record.recording import Recording
from dominance.record.sharded_models import Piece
from dominance.record.split.attribution import Attributor
from dominance.record.split.packs import SMALL

AVERAGED = "--light leaves trainings of several processes as they are: everything is worked out of every coordinate"


def begin(run: Recording) -> None:
    """A recorded pass begins: choose the parameters, once the run has been laid out and their optimizers are known."""
    if not run.options.light or not run.sink.laid_out:
        return
    if run.ranks > 1 or run.sharing is not None:
        if run.books.remark(AVERAGED):
            run.say(AVERAGED)
        return
    for p in run.table.named:
        if p not in run.sampled and p not in run.by_rows and (index := _index(run, p)) is not None:
            run.ledger.sample(p, index)


def _index(run: Recording, parameter: Tensor) -> Tensor | None:
    """The kept coordinates of a parameter that is large enough, and whose steps can be split at them alone."""
    if parameter.numel() <= SMALL or isinstance(parameter, Piece) or parameter.layout != torch.strided:
        return None
    index = run.sink.kept(parameter)
    if index is None or 2 * len(index) > parameter.numel() or parameter in run.ledger.originals:
        return None
    attributors = [each for each in run.steppers.attributors if isinstance(each, Attributor)]
    if not any(each.can_be_sampled(parameter) for each in attributors):
        return None
    return index.to(parameter.device)
