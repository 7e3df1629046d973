"""``%%dominance``: what trains in a cell is recorded, as ``dominance record`` records a script."""

from __future__ import annotations

import argparse
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from IPython import display as shown_by
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, magics_class

from dominance.analyse.verdict.verdict import verdict
from dominance.config import record_options
from dominance.errors import DominanceError, NothingRecorded
from dominance.record.script.session import ScriptSession
from dominance.store.reader import open_run

if TYPE_CHECKING:
    import xarray as xr

display: Any = shown_by.display
EVERY = 0.5
"""Seconds between two looks at how far the cell is."""


class _Arguments(argparse.ArgumentParser):
    """Of the magic; a mistake is an error of the cell, and not the end of the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%dominance: {message}\n{self.format_usage()}")


def _arguments() -> _Arguments:
    known = _Arguments("%%dominance", add_help=False, allow_abbrev=False)
    known.add_argument("-o", "--output", metavar="DIR")
    known.add_argument("--name", default="run", help="the variable that the open run becomes")
    for flag in ("--tasks", "--groups", "--every", "--burst", "--params", "--budget", "--attribution", "--to"):
        known.add_argument(flag)
    known.add_argument("--columns", action="append")
    known.add_argument("--exact", action="store_true", default=None)
    known.add_argument("--force", action="store_true")
    known.add_argument("--resume", action="store_true")
    known.add_argument("-q", "--quiet", action="store_true", default=None)
    return known


@magics_class
class DominanceMagics(Magics):
    """The cell magic."""

    @cell_magic
    def dominance(self, line: str, cell: str) -> None:
        """Record what trains in this cell, show the verdict, and leave the open run in the variable ``run``.

        %%dominance [-o DIR] [--name NAME] [--force | --resume] [-q] and the options of `dominance record`:
        [--tasks A,B] [--every N] [--burst B] [--params GLOB] [--budget SIZE] [--columns MODULE[=A,B]] [--groups KEY]
        [--exact] [--attribution KIND] [--to SINK]
        """
        given = vars(_arguments().parse_args(shlex.split(line)))
        output, name, force, resume = (given.pop(key) for key in ("output", "name", "force", "resume"))
        if not name.isidentifier():
            raise UsageError(f"%%dominance: --name {name!r} is no name of a variable")
        path = Path(output or f"runs/cell-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}").absolute()
        if force and resume:
            raise UsageError("%%dominance: --force and --resume exclude each other")
        try:
            options = record_options(given)
            told = {"recorded_by": "%%dominance"}
            session = ScriptSession(
                path, options, script="notebook", argv=["notebook"], force=force, resume=resume, attrs=told
            )
            session.check_output()
        except DominanceError as error:
            raise UsageError(f"%%dominance: {error}") from None
        result = self._run(session, cell, quiet=options.quiet)
        shell: Any = self.shell
        for recorded in result:
            try:
                run = open_run(recorded)
                shell.push({name: run})
                display(_Recorded(run, recorded, name))
            except NothingRecorded as error:
                print(f"dominance: {error}")

    def _run(self, session: ScriptSession, cell: str, *, quiet: bool) -> list[Path]:
        """The runs that the cell left; its error is shown as that of any cell."""
        shell: Any = self.shell
        outcome: Any = None
        session.listen()
        try:
            session.start()
            with _counting(session, quiet=quiet):
                outcome = shell.run_cell(cell, store_history=False)
        finally:
            failed = outcome is None or not outcome.success
            interrupted = outcome is not None and isinstance(outcome.error_in_exec, KeyboardInterrupt)
            done = session.finish("interrupted" if interrupted else "failed" if failed else "complete")
        if done.message and not quiet:
            print(f"dominance: {done.message}")
        elif not done.steps and not quiet:
            print("dominance: nothing was recorded: no training step was seen")
        return list(done.steps)


class _Recorded:
    """What stands below the cell: where the run is, and its verdict."""

    def __init__(self, run: xr.DataTree, path: Path, name: str) -> None:
        self._said = f"{run.sizes['step']} steps recorded in {path}; it is open as {name}"
        try:
            self._verdict: Any = verdict(run)
        except NothingRecorded as error:
            self._verdict, self._said = None, f"{self._said}. Nothing could be measured: {error}"

    def __repr__(self) -> str:
        return self._said if self._verdict is None else f"{self._said}\n\n{self._verdict}"

    def _repr_html_(self) -> str:
        from html import escape

        said = f"<p><small>{escape(self._said)}</small></p>"
        return said if self._verdict is None else f"{said}{self._verdict._repr_html_()}"


@contextmanager
def _counting(session: ScriptSession, *, quiet: bool) -> Iterator[None]:
    """How many steps were recorded, below the cell while it runs; gone when it has ended."""
    if quiet:
        yield
        return
    over, began = threading.Event(), time.monotonic()

    def count() -> None:
        shown: Any = None
        while not over.wait(EVERY):
            taken, recorded = session.so_far()
            said = f"dominance: {recorded:,} of {taken:,} training steps recorded, {time.monotonic() - began:.0f} s"
            bar = {"text/plain": said}
            if shown is None:
                shown = display(bar, raw=True, display_id=True)
            else:
                shown.update(bar, raw=True)
        if shown is not None:
            shown.update({"text/plain": ""}, raw=True)

    thread = threading.Thread(target=count, name="dominance-count", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
