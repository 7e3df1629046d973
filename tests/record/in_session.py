"""A training in this process, recorded as ``dominance record`` records a script."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from dominance.config import RecordOptions
from dominance.record.script.session import ScriptSession
from dominance.store.reader import open_run


@contextmanager
def in_session(
    path: Path, options: RecordOptions, argv: Sequence[str] = ("train.py",), *, force: bool = False
) -> Iterator[ScriptSession]:
    """As of a script: nobody says which model or which optimizers. What goes on inside is recorded."""
    session = ScriptSession(path, options, script="train.py", argv=list(argv), force=force, resume=False)
    session.check_output()
    session.start()
    try:
        yield session
    finally:
        session.finish("complete")


def recorded(path: Path, program: Callable[[], object], groups: str = "lang", *, strict: bool = False) -> xr.DataTree:
    """The run of a program, by ``--groups``."""
    gc.collect()  # a model of another test that only a cycle holds would be one of this program's
    with in_session(path, RecordOptions(every=1, groups=groups, exact=True, strict=strict)):
        program()
    return open_run(path)
