"""Where a run goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class RunPlace(NamedTuple):
    """A run directory, and what becomes of what is there."""

    path: Path
    overwrite: bool
    resume: bool
    attrs: Mapping[str, Any] = MappingProxyType({})
    """What the run is to say of where it lies."""
