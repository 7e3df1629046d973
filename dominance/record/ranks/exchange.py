"""After a backward() that averaged the gradients over the processes: the same for the tasks' gradients.

Each process has taken the task gradients of its own batch; those of the averaged loss are their mean, by linearity. So
all parameters of the model that DistributedDataParallel averages are averaged here, task by task, and every inner
product that comes later is of means. That costs, in a recorded step, one message of each process and an all-reduce of
the size of the model for each task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.record.group import Group, Lost
from dominance.record.ranks.local_gradients import Earlier
from dominance.record.ranks.means import Means, reach
from dominance.record.ranks.merging import averaged, told, with_gradients
from dominance.record.recording import Recording
from dominance.record.split.passes import Pass

IDLE: dict[str, Any] = {"idle": True}
"""What a process tells whose pass is not recorded, where others may have run out of inputs."""


def average(
    run: Recording, group: Group, parameters: Sequence[Tensor], made: Pass | None, *, by_all: bool = True
) -> Pass | None:
    """The pass over the means of the losses, from the one that this process has made.

    What lies in the parameters' accounts from passes that were not averaged, as under ``no_sync``, is averaged as well.

    Args:
        run: the recording of this process.
        group: the processes that have made this pass.
        parameters: whose gradients it averaged, in one order in all processes.
        made: with the gradients of this process's batch; None where no task was found in it.
        by_all: the script's own averaging divides by the number of all, also where some have run out of inputs.

    Raises:
        Lost: another process is gone, or is at another step.
    """
    earlier = Earlier(run.ledger, parameters)
    _wait_for_averages(parameters)
    everyone = group.gather(
        {
            "step": run.step.number,
            "spent": run.sink.spent,
            "reason": run.step.spoiled,
            "pass": None if made is None else told(made),
            "tasks": {} if made is None else reach(made.gradients, parameters),
            "beside": {} if made is None else reach(made.beside, parameters),
            "earlier": earlier.told(),
            "counts": (run.step.unit, run.step.counts),
        }
    )
    active = [each for each in everyone if each is not None]
    agree(run, group, active)
    run.step.count_all(each["counts"] for each in active)
    reason = next((each["reason"] for each in active if each["reason"] is not None), None)
    if reason is not None:
        run.step.spoiled = reason
        return None
    means = Means(group, parameters, len(everyone) if by_all else len(active))
    earlier.average(means, [each["earlier"] for each in active])
    whole = averaged([each["pass"] for each in active], means.count)
    if whole is None:
        return None
    tasks = means.of([each["tasks"] for each in active], {} if made is None else made.gradients)
    beside = means.of([each["beside"] for each in active], {} if made is None else made.beside)
    if made is not None:
        # What is in no DistributedDataParallel has the gradients of this process.
        for means_of, mine in ((tasks, made.gradients), (beside, made.beside)):
            for name, gradients in mine.items():
                means_of[name] = {**gradients, **means_of.get(name, {})}
    return with_gradients(whole, tasks, beside)


def _wait_for_averages(parameters: Sequence[Tensor]) -> None:
    """Until the script's own averages are there, and so all processes are here: a GPU makes them after the call."""
    devices = {p.device for p in parameters if p.device.type != "cpu"}
    for device in devices:
        torch.accelerator.synchronize(device)


def shadow(group: Group, parameters: Sequence[Tensor], *, by_all: bool) -> bool:
    """Take part in ``average`` where this process has no inputs left; whether the others record this pass."""
    everyone = group.gather(None)
    active = [each for each in everyone if each is not None]
    if not active or any(each == IDLE or each["reason"] is not None for each in active):
        return False
    means = Means(group, parameters, len(everyone) if by_all else len(active))
    Earlier(None, parameters).average(means, [each["earlier"] for each in active])
    if any(each["pass"] is not None for each in active):
        means.of([each["tasks"] for each in active], {})
        means.of([each["beside"] for each in active], {})
    return True


def idle(group: Group) -> None:
    """Take part where this pass is not recorded, and some may have run out of inputs."""
    if any(each not in (None, IDLE) for each in group.gather(IDLE)):
        raise Lost("the processes of the training do not record the same steps")


def agree(run: Recording, group: Group, active: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that all are at one step, and follow the first in what depends on what is written.

    Args:
        run: the recording of this process.
        group: all processes.
        active: what those that have inputs tell of their step.

    Raises:
        Lost: they are at different steps.
    """
    first = active[0]
    if any(each == IDLE for each in active):
        raise Lost("the processes of the training do not record the same steps")
    if run.ranks == 1:
        # One that goes on with a run that is there begins at a step that only its writer knows.
        run.join(group.size, writes=group.rank == 0, step=first["step"])
    elif any(each["step"] != first["step"] for each in active):
        steps = ", ".join(str(each["step"]) for each in active)
        raise Lost(f"the processes of the training are at different steps: {steps}")
    run.spend(first["spent"])
