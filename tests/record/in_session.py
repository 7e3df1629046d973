"""A training in this process, recorded as ``dominance record --groups`` records a script."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from dominance.config import RecordOptions
from dominance.record.script.session import ScriptSession
from dominance.store.reader import open_run


def recorded(path: Path, program: Callable[[], object], groups: str = "lang", *, strict: bool = False) -> xr.DataTree:
    gc.collect()  # a model of another test that only a cycle holds would be one of this program's
    options = RecordOptions(every=1, groups=groups, exact=True, strict=strict)
    session = ScriptSession(path, options, script="train.py", argv=["train.py"], force=False, resume=False)
    session.check_output()
    session.start()
    try:
        program()
    finally:
        session.finish("complete")
    return open_run(path)
