"""What is said when a script that was recorded has ended; and that no fault of ours reaches it before."""

from __future__ import annotations

import contextlib
import shlex
import traceback
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from dominance.errors import DominanceError
from dominance.streams import error, line

_MOST_LISTED = 4
"""Runs of one process that are named one by one."""


def runs_recorded(runs: Mapping[str, int]) -> Iterator[str]:
    """Where the run lies; where there are several, of models that followed each other, where all of them lie.

    Args:
        runs: where they lie, in order -> the steps that are recorded there.
    """
    for path, steps in list(runs.items())[:_MOST_LISTED]:
        yield f"{steps} step{'s' * (steps != 1)} recorded in {path}"
    if len(runs) > _MOST_LISTED:
        more = list(runs)[_MOST_LISTED:]
        yield f"{len(more)} more models are recorded beside it, the last in {more[-1]}"


def next_command(runs: Mapping[str, int]) -> str:
    """What to type next: of many runs, one table of all."""
    first = next(iter(runs))
    if len(runs) > _MOST_LISTED and "://" not in first:
        return f"dominance study {shlex.quote(str(PurePath(first).parent))}"
    return f"dominance report {shlex.join(runs)}"


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """An error of the recorder inside is said on stderr, and leaves the script and its exit code alone."""
    try:
        yield
    except DominanceError as mistake:
        error(str(mistake))
    except Exception:  # noqa: BLE001  a fault of ours must not end a training that is well: show it, and go on
        error("the recorder failed and left the script alone; please report this:")
        line(traceback.format_exc().rstrip())
