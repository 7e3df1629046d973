"""``torch.compile``: backward passes that can be gone through more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch import config as functorch_config

_TAG = "dominance"


def keeping_buffers() -> Callable[[], None]:
    """From now on, compiled backward passes keep their buffers; returns what ends that.

    Those that give them away ("donated") can run once only. Inductor keeps compiled programs on disk, by a key that
    does not know of this setting: a script that ran before without us would get the program that gives them away. So
    programs that are compiled for us have a key of their own, and programs of earlier runs are not taken.
    """
    undo: list[Callable[[], None]] = []
    if hasattr(functorch_config, "donated_buffer"):
        undo.append(_set(functorch_config, "donated_buffer", False))
    tags: Any = getattr(getattr(torch, "compiler", None), "config", None)
    if hasattr(tags, "cache_key_tag"):
        undo.append(_set(tags, "cache_key_tag", f"{tags.cache_key_tag}{_TAG}"))

    def end() -> None:
        while undo:
            undo.pop()()

    return end


def _set(config: Any, name: str, value: Any) -> Callable[[], None]:
    before = getattr(config, name)
    setattr(config, name, value)

    def undo() -> None:
        # Set by the script since: that stays.
        if getattr(config, name) == value:
            setattr(config, name, before)

    return undo
