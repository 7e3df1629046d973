"""What a script cannot take is said before its first step."""

from __future__ import annotations

from dominance.errors import DominanceError


class Refused(DominanceError):
    """The method cannot be used on this script."""
