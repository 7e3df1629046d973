"""Whether anybody still writes to a run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dominance.store.lock import held


def written(root: Path, attrs: Mapping[Any, Any]) -> bool | None:
    """Whether a process writes the run at ``root`` now; None where that is not known: another machine records it.

    The lock of its writer, which the system gives up with the process, is known on the machine that records it.
    """
    return held(root) if attrs.get("host") == platform.node() else None


def ended(attrs: Mapping[Any, Any]) -> bool:
    """Whether nobody will write to an open run any more, as far as is known here.

    Args:
        attrs: of the run, as :func:`dominance.open_run` gives them.
    """
    where = str(attrs["path"])
    if attrs.get("status") != "recording" or "://" in where:
        return attrs.get("status") != "recording"
    return written(Path(where), attrs) is False
