"""Words of the command line to the person at the terminal: all of them on stderr."""

from __future__ import annotations

from dominance.streams import error, line, note

__all__ = ["error", "line", "note"]
