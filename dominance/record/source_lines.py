"""Source lines of autograd nodes, kept until the first step so that every loss can be named."""

from __future__ import annotations

import torch

from dominance.record.sources import Positions


class SourceLines:
    """Switches autograd's anomaly mode, without its check for NaN, on and off.

    In that mode every node keeps the traceback of the line that made it. It is on from the start to the first step,
    off inside backward passes, where it would print, and never touched when the script has switched it on itself.
    """

    def __init__(self) -> None:
        self._ours = False
        self._over = False
        self._positions = Positions()

    def on(self) -> None:
        """Keep source lines from here, unless the first step is over."""
        if not self._over and not torch.is_anomaly_enabled():
            self._ours = True
            torch.autograd.set_detect_anomaly(True, check_nan=False)
            self._positions.on()

    def off(self) -> None:
        """Keep them no longer."""
        if self._ours:
            self._ours = False
            torch.autograd.set_detect_anomaly(False)
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
