"""What a person may expect of a damaged run: it is read, or refused in one line with exit code 2."""

from __future__ import annotations

import contextlib
import io
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unicodedata import category

from dominance.errors import DominanceError
from dominance.store.reader import open_run
from dominance_cli.main import main

COMMANDS = (("info",), ("info", "--json"), ("info", "--verify"), ("summary",), ("summary", "--json"))
"""What is run on each, beside ``open_run``."""

SLOW = 20.0
"""Seconds after which a command has not ended in good time."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: the exit code, or what is wrong with how it ended."""

    code: int
    wrong: str


def judge(path: Path) -> dict[str, Outcome]:
    """Open the run, and run every command on it; by what was done."""
    found = {"open_run": _judged(lambda: _open(path))}
    for words in COMMANDS:
        found[" ".join(words)] = _judged(partial(main, [words[0], str(path), *words[1:]]))
    return found


def _open(path: Path) -> None:
    try:
        run = open_run(path)
        for array in ("loss/loss", "update/update", "layer/gram"):
            run[array].load()
    except DominanceError as error:
        if "\n" in str(error) or not error.fix:
            raise ValueError("the message is not one line with a fix") from error


def _judged(work: Callable[[], None]) -> Outcome:
    out, errors = io.StringIO(), io.StringIO()
    start, code = time.monotonic(), 0
    import sys

    before = sys.__stderr__
    sys.__stderr__ = errors  # type: ignore[misc,assignment]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            work()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(1, f"{type(error).__name__}: {str(error)[:120]} ({Path(last.filename).name}:{last.lineno})")
    finally:
        sys.__stderr__ = before  # type: ignore[misc]
    return Outcome(code, _wrong(code, out.getvalue(), errors.getvalue(), time.monotonic() - start))


def _wrong(code: int, out: str, errors: str, seconds: float) -> str:
    if seconds > SLOW:
        return f"took {seconds:.0f} s"
    if raw := {char for char in out + errors if char != "\n" and category(char) in ("Cc", "Cs", "Zl", "Zp")}:
        return f"control characters on the terminal: {sorted(raw)}"
    if "\u202e" in out + errors:
        return "text that runs backwards on the terminal"
    if code == 2 and (out.startswith("{") or len(errors.splitlines()) != 1):
        return f"not one line: {out[:100]!r} {errors[:200]!r}"
    return "" if code in (0, 1, 2) else f"exit code {code}"
