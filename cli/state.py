"""Whether a run is still being recorded, has ended, or was killed."""

from __future__ import annotations

import time
from typing import Any

_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_LONG = 300.0
"""Seconds without a write after which a run that is not complete is probably not being recorded any more."""


def idle(run: str, tree: Any) -> float | None:
    """Seconds since something was written; where the run is not a local one, since its last step; None without one."""
    from dominance.store.files import LocalFiles, files_of

    files, steps = files_of(run), tree["time"].to_numpy()
    if isinstance(files, LocalFiles):
        return max(0.0, time.time() - files.written())
    return max(0.0, time.time() - float(steps[-1])) if len(steps) else None


def state(run: str, tree: Any) -> str:
    """The run's status, and of one that says that it is being recorded whether that is so."""
    from dominance.store.ended import written
    from dominance.store.files import LocalFiles, files_of

    status = str(tree.attrs.get("status"))
    seconds = idle(run, tree) if status == "recording" else None
    if seconds is None:
        return status
    unit, length = next(pair for pair in _UNITS if seconds >= 2 * pair[1] or pair[1] == 1)
    text = f"{status}, last written {seconds / length:.0f} {unit} ago"
    files = files_of(run)
    writing = written(files.root, tree.attrs) if isinstance(files, LocalFiles) else None
    if writing is False:
        return f"{text}: killed"
    return text + (": killed, or waiting" if writing is None and seconds > _LONG else "")
