"""How much more a training takes because it is recorded: measured, and held where a share was asked for.

Measured is time as it passes: a step that runs on many cores, or waits for its data, takes no longer than that. What
else the machine does draws out the training and its recording alike, and with them not the share.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

_AT_LEAST = 60.0
"""A run is taken to last so many seconds: a shorter one may spend what such a one may, or it would hold nothing."""
_A_POINT = 0.01
_REMEMBERED = 31
"""So many steps of each kind tell what one costs."""


class _Cost:
    """What a step of one kind costs as a rule."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_REMEMBERED)
        self._typical: float | None = 0.0

    def add(self, seconds: float) -> None:
        self._seen.append(seconds)
        self._typical = None

    def __bool__(self) -> bool:
        return bool(self._seen)

    @property
    def typical(self) -> float:
        if self._typical is None:
            self._typical = median(self._seen)
        return self._typical


class Overhead:
    """The meter of one recording. It reads clocks between the steps and asks no device for anything.

    A recorded step costs the time in calls of ours. A device that works on its own is waited for in them, for what the
    script has given it to do as well: there it costs no more than it is longer than the steps between bursts.

    Args:
        share: of the training's own time, what recording may take; None: as much as the schedule asks for.
        inside: the seconds spent in calls of ours so far.
        clock: gives seconds.
    """

    def __init__(
        self,
        share: float | None,
        inside: Callable[[], float],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.share = share
        self.on_device = False
        """Whether the training runs on a device that works on its own."""
        self.spent = 0.0
        """Seconds, as far as they have been told."""
        self._inside, self._clock = inside, clock
        self._inside_before = inside()
        self._began = self._last = clock()
        self._plain, self._between, self._recorded, self._prepared = _Cost(), _Cost(), _Cost(), _Cost()

    def started(self, seconds: float, *, began: float) -> None:
        """Take in what went before, from the start of the process.

        Args:
            seconds: spent on the recording until now.
            began: when the process began, by the clock.
        """
        self.spent += seconds
        self._began = began

    def step_over(self, *, recorded: bool, prepared: bool) -> None:
        """A training step, and all until the next one, is over."""
        if not recorded and self.share is None and not self.on_device:
            return  # nobody asks what one costs; what was spent is added up with the next
        now, inside = self._clock(), self._inside()
        whole, ours = now - self._last, inside - self._inside_before
        self._last, self._inside_before = now, inside
        if not recorded:
            self._plain.add(whole - ours)
            self._between.add(ours)
        else:
            if self.on_device and self._plain:
                ours = min(ours, max(whole - self._plain.typical, 0.0))
            (self._prepared if prepared else self._recorded).add(ours)
        self.spent += ours

    def affords(self, prepared: int, recorded: int) -> bool:
        """Whether so many steps that prepare a burst, and so many that are recorded, can be taken now."""
        if self.share is None:
            return True
        each = self._recorded.typical
        more = recorded * each + prepared * (self._prepared.typical if self._prepared else each)
        if (short := _AT_LEAST - self._training) > 0 and self._plain:
            # What the steps between bursts will take until then.
            more += short * self._between.typical / max(self._plain.typical, 1e-9)
        return self.spent + more <= self.share * max(self._training, _AT_LEAST)

    @property
    def _training(self) -> float:
        """Seconds that the training has taken by itself."""
        return self._last - self._began - self.spent

    def exceeded(self) -> str | None:
        """What was not held, in words; None where it was, to a point of per cent."""
        took = self.facts()
        if self.share is None or took["share"] <= self.share + _A_POINT:
            return None
        said = f"recording took {took['share']:.0%} of the training's time, {self.share:.0%} were asked for"
        between = self._between.typical / max(self._plain.typical, 1e-9) if self._plain else 0.0
        if between > self.share:
            return f"{said}: what is done around each step takes {between:.0%}, however rarely one is recorded"
        return f"{said}: a run of less than a minute may take what one of a minute may"

    def facts(self) -> dict[str, Any]:
        """For the attributes of a run that ends now: what was asked, and what it was."""
        spent = self.spent + self._inside() - self._inside_before
        training = max(self._clock() - self._began - spent, 1e-9)
        asked = {} if self.share is None else {"asked": self.share}
        return {"seconds": spent, "share": spent / training, **asked}
