"""Earlier runs that a training is compared with: looked at before it begins."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from dominance.errors import BadOption
from dominance_cli import stderr

if TYPE_CHECKING:
    from dominance.benchmarks.train.plan import Plan
    from dominance.benchmarks.train.trainer import TrainResult


def comparable(made: Plan, baselines: list[TrainResult], *, quiet: bool) -> list[TrainResult]:
    """The baselines, if they have what this training will be compared by; says how else they differ from it.

    Raises:
        BadOption: one is of another benchmark, lacks a task, or is not over.
    """
    for each in baselines:
        theirs = each.plan
        if theirs.options.benchmark != made.options.benchmark:
            raise BadOption(
                f"the baseline {each.path} was trained on {theirs.options.benchmark}, this is {made.options.benchmark}",
                fix="give a baseline of the same benchmark",
            )
        if missing := [name for name in made.names if name not in theirs.names]:
            raise BadOption(
                f"the baseline {each.path} was not trained on {', '.join(missing)}",
                fix=f"give one that was, or --tasks {','.join(theirs.names)} here",
            )
        if not each.done:
            path = shlex.quote(str(each.path))
            raise BadOption(f"the baseline {each.path} is not over", fix=f"see `dominance train --resume {path}`")
        if (differs := _differs(made, theirs)) and not quiet:
            stderr.note(f"the baseline {each.path} was trained otherwise: {', '.join(differs)}")
    return baselines


_HOW = (
    "optimizer",
    "architecture",
    "epochs",
    "batch_size",
    "lr",
    "weight_decay",
    "milestones",
    "decay",
    "lr_power",
    "warmup",
    "patience",
    "last",
)


def _differs(made: Plan, theirs: Plan) -> list[str]:
    """In what the two trainings differ besides method, seed and tasks, in words."""
    ours, other = made.resolved.to_plain(), theirs.resolved.to_plain()
    pairs = [(name.replace("_", "-"), ours[name], other[name]) for name in _HOW]
    pairs += [(name, value, theirs.settings.get(name)) for name, value in made.settings.items()]
    return [f"{name} {_short(their)} instead of {_short(our)}" for name, our, their in pairs if our != their]


def _short(value: Any) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)
