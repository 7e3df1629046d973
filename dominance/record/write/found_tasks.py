"""What the user is told of the tasks that were found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dominance.words import weighted


def found_tasks(
    tasks: Sequence[str],
    weights: Mapping[str, float | None],
    residual: Sequence[str],
    separate: Sequence[str],
    columns: tuple[int, str | None] | None,
    wanted: Sequence[str] | None,
    attrs: Mapping[str, Any],
) -> list[str]:
    """A line: which they are, or that they are too few or not those asked for, and what to do then.

    Args:
        tasks: their names.
        weights: of each in the loss, where it is known.
        residual, separate: terms that belong to no task, and those that share no parameter.
        columns: how many columns the one output has that the only loss is computed of, and the path of the module that
            puts it out, where that is known.
        wanted: the tasks that the user asks for.
        attrs: of the run: what records it, and the script with its arguments.
    """
    found = f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}" + (f": {weighted(weights)}" if tasks else "")
    found += f"; residual: {', '.join(residual)}" if residual else ""
    found += f"; sharing no parameter: {', '.join(separate)}" if separate else ""
    fix = 'name them before backward(): dominance.observe({"task_a": loss_a, "task_b": loss_b})'
    if columns is not None and columns[1] is not None and attrs.get("recorded_by") == "dominance record":
        line = shlex.join(["dominance", "record", "--columns", columns[1], *attrs["argv"]])
        fix += f", or take the {columns[0]} columns of its output: {line}"
    elif columns is not None:
        fix += f", or the {columns[0]} columns of its output:"
        fix += f" dominance.observe(columns=(OUTPUT, [{columns[0]} NAMES]))"
    if wanted is not None and not set(wanted) <= set(tasks):
        return [f"--tasks asks for {', '.join(wanted)}, found {found}; {fix}"]
    return [found] if len(tasks) >= 2 or wanted is not None else [f"found {found}; dominance needs two or more; {fix}"]
