"""Lines of ours on a stream of the process, which may be closed, full or a pipe that nobody reads any more."""

from __future__ import annotations

import contextlib
import os
import sys
from io import TextIOWrapper
from typing import TextIO

from dominance.visible import visible


def write_line(text: str, stream: TextIO | None) -> None:
    """One line, where it can be written: a training does not end because nobody can be told of its recording.

    Nothing stays in the buffer of the process's own stderr: what could not be written there would be tried again when
    the interpreter ends, which then exits with 120.
    """
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        if stream is not sys.__stderr__ or not isinstance(stream, TextIOWrapper):
            print(text, file=stream, flush=True)
            return
        stream.flush()
        left = f"{text}\n".encode(stream.encoding, stream.errors or "backslashreplace")
        while left:
            left = left[os.write(stream.fileno(), left) :]


def line(text: str) -> None:
    """Words on the process's own stderr, also when a script has put another in its place.

    What was printed before them comes out first, also when both go into one pipe.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # as the interpreter does when it ends
        sys.stdout.flush()
    write_line("\n".join(map(visible, text.split("\n"))), sys.__stderr__)


def error(text: str) -> None:
    """The same, of what has gone wrong."""
    line(f"dominance: error: {' '.join(text.split())}")


def note(text: str) -> None:
    """The same, of what is to be known."""
    line(f"dominance: {text}")
