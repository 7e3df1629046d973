"""Words of the command line to the person at the terminal: all of them on stderr."""

from __future__ import annotations

import contextlib
import sys

from dominance.streams import write_line
from dominance.visible import visible


def line(text: str) -> None:
    """One line on the process's own stderr, also when a script has put another in its place.

    What was printed before it comes out first, also when both go into one pipe.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # as the interpreter does when it ends
        sys.stdout.flush()
    write_line("\n".join(map(visible, text.split("\n"))), sys.__stderr__)


def error(text: str) -> None:
    line(f"dominance: error: {' '.join(text.split())}")


def note(text: str) -> None:
    line(f"dominance: {text}")
