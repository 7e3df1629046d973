"""Text of a stranger as a terminal, a figure and a file may have it: what would steer them is written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Control characters; separators of lines; what turns the direction of text; halves of characters.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with an escape for each character that is none to look at.

    >>> print(visible("loss\\n\\x1b[31ma"), visible("größe 大"))
    loss\\n\\x1b[31ma größe 大
    """
    return _STEERING.sub(lambda found: repr(found.group())[1:-1], text)


def all_visible(value: Any) -> Any:
    """The same of every text in lists and objects, their keys included."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): all_visible(item) for key, item in value.items()}
    return [all_visible(item) for item in value] if isinstance(value, list | tuple) else value
