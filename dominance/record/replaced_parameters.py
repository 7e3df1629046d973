"""Parameters in whose place the script puts others in mid-run, as where it makes a layer anew."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from dominance.record.parameters import ParameterTable, named_parameters
from dominance.record.recording import Recording

REPLACED = "parameter tensors are in the place of others, of the same names: they are recorded from the next step on"


def follow(run: Recording, held: Iterable[Tensor]) -> str | None:
    """Record what the model has in the place of parameters that it had when the run was laid out.

    Args:
        run: the recording.
        held: what an optimizer is about to step.

    Returns:
        Why the step in progress, whose passes knew nothing of them, is no row; None where there are none.
    """
    strange = frozenset(id(p) for p in held if p.requires_grad and p not in run.table.named)
    if not run.sink.laid_out or not strange or strange == run.strange:
        return None
    run.strange = strange
    pairs = {old: new for old, new in _pairs(run.table).items() if id(new) in strange}
    for old, new in pairs.items():
        run.table.put(old, new)
        run.sink.put(old, new)
        for held_of in (run.ledger.accounts, run.ledger.reached, run.theta.start):
            held_of.pop(old, None)
    return f"{len(pairs)} {REPLACED}" if pairs else None


def _pairs(table: ParameterTable) -> dict[Tensor, Tensor]:
    """What is no longer in its model -> what is there now under its name, in its shape."""
    pairs: dict[Tensor, Tensor] = {}
    for module in table.modules:
        now = list(named_parameters(module))
        there = {id(each.tensor) for each in now}
        gone = [each for each in table.owned_by(module) if id(each.tensor) not in there]
        for new in (each for each in now if each.tensor not in table.named):
            for old in gone:
                if f".{old.name}".endswith(f".{new.name}") and old.tensor.shape == new.tensor.shape:
                    pairs[old.tensor] = new.tensor
    return pairs
