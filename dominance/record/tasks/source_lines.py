"""Source lines of autograd nodes, kept until the first step so that every loss can be named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled

from dominance.record.tasks.positions import Positions


class SourceLines:
    """Switches autograd's anomaly mode, without its check for NaN, on and off for us, beside the script's own switch.

    In that mode every node keeps the traceback of the line that made it. It is on from the start to the first step,
    and off inside backward passes, where it would print. Meanwhile the script sees the mode as it has set it itself,
    and what it sets is in force in its own passes; anyone who switches the mode off does not cost us the lines.
    """

    def __init__(self) -> None:
        self._ours = False
        self._over = False
        self._positions = Positions()

    @property
    def over(self) -> bool:
        """Whether they are kept no longer."""
        return self._over

    def on(self) -> None:
        """Keep source lines from here, unless the first step is over."""
        if not self._over and not self._ours:
            self._ours = True
            _SWITCH.want()
            self._positions.on()

    def off(self) -> None:
        """Keep them no longer: the mode is the script's alone."""
        if self._ours:
            self._ours = False
            _SWITCH.want_no_more()
            self._positions.off()

    def end(self) -> None:
        """The first step has come: they are not needed again, as a rule."""
        self._over = True
        self.off()

    def ask(self, wanted: bool) -> None:
        """Whether the forward that comes next is to keep them after all."""
        self._over = not wanted
        if wanted:
            self.on()
        else:
            self.off()


class _Switch:
    """The mode that is in force: the script's, and lines for whoever wants them. One for the process, as in torch."""

    def __init__(self) -> None:
        self._wanting = 0
        self._script = (False, True)
        """What the script has set: the mode, and whether to check for NaN."""
        self._applied = (False, True)
        self._patches = (_Patch("is_anomaly_enabled"), _Patch("is_anomaly_check_nan_enabled"), _Patch(_SET))

    def want(self) -> None:
        self._wanting += 1
        if self._wanting == 1:
            self._script = _mode()
            ours: tuple[Callable[..., Any], ...] = (self._is_on, self._checks_nan, self._set)
            for patch, instead in zip(self._patches, ours, strict=True):
                patch.put(instead)
            self._apply()

    def want_no_more(self) -> None:
        self._wanting -= 1
        if self._wanting == 0:
            for patch in self._patches:
                patch.take_away()
            if _mode() == self._applied:
                set_anomaly_enabled(*self._script)

    def _apply(self) -> None:
        mode, check_nan = self._script
        set_anomaly_enabled(True, mode and check_nan)
        self._applied = _mode()

    def _is_on(self) -> bool:
        return self._script[0] if self._wanting else is_anomaly_enabled()

    def _checks_nan(self) -> bool:
        return self._script[1] if self._wanting else is_anomaly_check_nan_enabled()

    def _set(self, enabled: bool, check_nan: bool = True) -> None:
        if self._wanting:
            self._script = (bool(enabled), bool(check_nan))
            self._apply()
        else:
            set_anomaly_enabled(enabled, check_nan)


_SET = "set_anomaly_enabled"


class _Patch:
    """One name of torch that leads to us for a while; a later patch by someone else stays, and works."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._original: Any = None
        self._ours: Any = None

    def put(self, ours: Callable[..., Any]) -> None:
        if getattr(torch, self._name) is not self._ours or self._ours is None:
            self._original, self._ours = getattr(torch, self._name), ours
            setattr(torch, self._name, ours)

    def take_away(self) -> None:
        if getattr(torch, self._name) is self._ours:
            setattr(torch, self._name, self._original)
            self._ours = None


def _mode() -> tuple[bool, bool]:
    return is_anomaly_enabled(), is_anomaly_check_nan_enabled()


_SWITCH = _Switch()
