"""Which training steps are recorded: how often, in bursts of how many, and which of them only prepare a burst."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

DEFAULT_BURST = 20
_SHARE_OF_BURST, _LONGEST_BURST = 20, 5
"""A burst that grows is a twentieth of all that came before it, and no more than five times the first one."""
# How many times more rarely bursts come when half of the budget that was left is used.
_STRETCH = 4
_LONGEST_STRETCH = 2**40
EVERY = 10
"""One step in so many is recorded, where nobody says how many, as long as a training is short."""
_THINNING = 0.4
"""Of the square root of a step's number: one step in so many is recorded there, where that is more."""

_FEW, _OFF_BEAT = 8, 4
"""A pause of no fewer steps is longer or shorter than it would be, by up to one in so many of them."""

_LEFT = 0.08
"""Of the square of the momentum before a burst, what is left when it has been prepared: a step in which the momentum of
gradients that nobody saw is more than a tenth of the squares tells nothing about the tasks."""
_LONGER = 2

Affords = Callable[[int, int], bool]
"""Whether so many steps that prepare a burst, and so many that are recorded, can be taken now."""


def warm_up_for(carry: float) -> int:
    """Steps after which hardly anything is left of a momentum that is multiplied by ``carry`` in each.

    >>> warm_up_for(0.9), warm_up_for(0.5), warm_up_for(0.0)
    (12, 2, 0)
    """
    if not 0 < carry < 1:
        return 0
    return math.ceil(math.log(_LEFT) / (2 * math.log(carry)))


class Schedule:
    """Which training steps are recorded: bursts of ``burst`` steps, one step in ``every`` on average.

    Where nobody says how often (``every`` None), it is one step in ten of the first 625, one in 40 at step 10,000, one
    in 400 at step 1,000,000: as many as 5 times the square root of their number. What a recording costs becomes small
    against a training that is long, and there are more bursts of a longer one all the same.

    ``every=1`` records all. Each time half of the budget that was left is used up, bursts come a quarter as often: what
    is left then lasts twice as long as what was used, so the budget holds for runs far longer than its first half. Were
    they to come half as often, every half would last equally long, and a budget for 2000 steps only eleven times that.

    Before a burst the tasks' momenta are nobody's. Where bursts are not of a length that the user gave, each but the
    first is prepared by ``warm_up`` steps, of which the tasks' gradients are taken and nothing is kept; they count as
    recorded ones in how often that is.

    Args:
        every, burst: as above.
        start: the step that a recording begins with.
        dense_at_first: bursts come more often in the first steps of a training, so that one of any length has them in
            all its parts: a pause is half as long as all that came before it, until it is as long as ``every`` asks.
            Bursts of several steps are prepared then, and, where it is said how often they come, become longer, up to
            five times.
        affords: asked before each burst but the first, which is put off until it can be, and in it after each step,
            with one step more, which ends it.

    >>> schedule = Schedule(every=10, burst=2)
    >>> [step for step in range(45) if schedule.records(step)]
    [0, 1, 20, 21, 40, 41]
    >>> schedule = Schedule(every=10, burst=20, dense_at_first=True)
    >>> [step for step in range(400) if schedule.records(step) and not schedule.records(step - 1)]
    [0, 40, 90, 165, 277]
    >>> schedule = Schedule(every=None, burst=1)
    >>> sum(map(schedule.records, range(10_000))), sum(map(schedule.records, range(10_000, 1_000_000)))
    (439, 4501)
    """

    def __init__(
        self,
        every: int | None,
        burst: int,
        *,
        start: int = 0,
        dense_at_first: bool = False,
        affords: Affords | None = None,
    ) -> None:
        self.every = EVERY if every is None else every
        """As asked; where nothing was asked, of the first steps."""
        self._thins = every is None
        self.stretch = 1
        """How many times more rarely than asked steps are recorded now."""
        self._burst = burst
        self._warm_up = self._needed = 0
        self._first = start
        self._start = start
        """Of the burst that is going on, or that was the last one."""
        self._prepared = 0
        """Steps at its start that prepare it."""
        self._ended: int | None = None
        """The step before which it was ended, where it was too dear."""
        self._put_off = start
        """The next one does not begin before this step."""
        self._asked = start
        self.pause = range(0)
        """Steps that are known not to be recorded, at least these."""
        self._dense_at_first = dense_at_first
        self._affords = affords

    @property
    def burst(self) -> int:
        """Steps of a burst, as asked; of those that grow, of the first."""
        return self._burst

    @burst.setter
    def burst(self, steps: int) -> None:
        self._burst, self.pause = steps, range(0)

    @property
    def warm_up(self) -> int:
        """Steps that prepare a burst, from the next one on."""
        return self._warm_up

    @warm_up.setter
    def warm_up(self, steps: int) -> None:
        self._warm_up = self._needed = steps if self._dense_at_first else 0

    @property
    def facts(self) -> dict[str, Any]:
        """What it was asked to be, for the attributes of a run."""
        grows = self._dense_at_first and self._burst > 1 and not self._thins
        longest = {"longest_burst": _LONGEST_BURST * self._burst} if grows and self.every > 1 else {}
        return {"every": self.every, "burst": self._burst} | longest | ({"thins": True} if self._thins else {})

    @property
    def interval(self) -> int:
        """One step in so many is recorded now."""
        thinned = round(_THINNING * math.sqrt(self._start)) if self._thins else 0
        return max(self.every, thinned) * self.stretch

    def records(self, step: int) -> bool:
        """Whether this step is recorded, or prepares a burst; asked of steps in their order, give or take one."""
        if step in self.pause:
            return False
        if self.every * self.stretch == 1 and self._affords is None:
            return True
        into = step - self._burst_before(step)
        if into < 0:
            return False
        self._end_if_too_dear(step)
        if into < self._length:
            return True
        self.pause = range(step, max(self._start + self._period, self._put_off))
        return False

    def prepares(self, step: int) -> bool:
        """Whether nothing is kept of this one of the steps that are recorded."""
        return 0 <= step - self._start < self._prepared

    def prepare_longer(self, step: int) -> bool:
        """This step, the first that is kept of a burst, shows that it was not prepared for long enough: it prepares as
        well, where that is not twice as long as it should have been. Later bursts are prepared for as long.
        """
        if not self._prepared or step - self._start != self._prepared or self._prepared >= _LONGER * self._needed:
            return False
        self._prepared += 1
        self._warm_up = max(self._warm_up, self._prepared)
        return True

    def spend(self, share: float, step: int) -> bool:
        """Account for the share of the budget that is used so far; True when the schedule was stretched after it.

        A burst that is under way is finished, and the next one starts a new period after its start.
        """
        stretched = False
        while share > 1 - 0.5 ** (self._era + 1) and self.stretch < _LONGEST_STRETCH:
            if not stretched:
                self._burst_before(step)
            self.stretch *= _STRETCH
            stretched = True
        return stretched

    def _burst_before(self, step: int) -> int:
        """Where the last burst up to this step begins; steps before it are asked for no more, but the one before."""
        if not self._dense_at_first and self._affords is None:
            self._start = max(self._start, step - (step - self._start) % self._period)
        while step >= (due := max(self._start + self._period, self._put_off)):
            joins = due == self._start + self._length
            prepared = 0 if joins else self._warm_up
            if self._affords is not None and not self._affords(prepared, self._recorded(due)):
                self._put_off = step + 1
                break
            self._start, self._prepared, self._ended = due, prepared, None
        return self._start

    def _end_if_too_dear(self, step: int) -> None:
        """End the burst before this step, where one more is too much."""
        asked, self._asked = self._asked, max(self._asked, step)
        if self._affords is None or self._ended is not None or step <= max(asked, self._start + self._prepared):
            return
        if step < self._start + self._length and not self._affords(0, 1):
            self._ended = step

    def _recorded(self, start: int) -> int:
        """Steps of a burst that begins there and is not ended, without those that prepare it."""
        if self._dense_at_first and self._burst > 1 and not self._thins:
            shortest, longest = max(self._burst, self._warm_up), max(_LONGEST_BURST * self._burst, self._warm_up)
            return min(max(shortest, start // _SHARE_OF_BURST), longest)
        return max(self._burst, self._warm_up) if self._burst > 1 else self._burst

    @property
    def _length(self) -> int:
        """Steps of the burst, with those that prepare it."""
        return self._prepared + self._recorded(self._start) if self._ended is None else self._ended - self._start

    @property
    def _period(self) -> int:
        """Steps from its start to the start of the next."""
        burst = self._length
        # What a step costs is only told by some between the bursts.
        every = self.interval if self._affords is None else max(self.interval, 2)
        pause = (every - 1) * burst
        if self._dense_at_first:
            pause = min(pause, max(burst, (self._start + burst) // 2))
            pause += self._off_beat(pause) if self._burst == 1 else 0
        return burst + pause

    def _off_beat(self, pause: int) -> int:
        """How much longer or shorter a pause is, by up to a fourth, drawn by its step.

        A training that goes from task to task, or from network to network, would be met at the same one each time.
        """
        most = pause // _OFF_BEAT if pause >= _FEW else 0
        return Random(self._start).randint(-most, most)

    @property
    def _era(self) -> int:
        return (self.stretch.bit_length() - 1) // (_STRETCH.bit_length() - 1)
