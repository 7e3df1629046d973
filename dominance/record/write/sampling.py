"""Which coordinates and which steps are kept, so that a run of any length stays within its byte budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The first half of the budget holds this many recorded steps if nothing compresses; about twice as many as a rule.
STEPS_IN_FIRST_HALF = 1000
# A layer that belongs to one task answers no question about dominance: it gets a thin sample.
_SPECIFIC_SHARE = 0.1
DEFAULT_BURST = 20
_SHARE_OF_BURST, _LONGEST_BURST = 20, 5
"""A burst that grows is a twentieth of all that came before it, and no more than five times the first one."""
# How many times more rarely bursts come when half of the budget that was left is used.
_STRETCH = 4
_LONGEST_STRETCH = 2**40


@dataclass(frozen=True)
class Stratum:
    """One parameter as the sampler sees it."""

    layer: str
    size: int
    shared: bool


@dataclass(frozen=True)
class Sample:
    """Kept coordinates, sorted by parameter and then by index.

    ``parameter`` (int32) is the position of the parameter, ``index`` (int64) the flat index inside it, ``weight``
    (float64) the number of coordinates of its parameter that each one stands for; 1 where all are kept.
    """

    parameter: npt.NDArray[np.int32]
    index: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


def sample_coordinates(strata: Sequence[Stratum], total: int, *, seed: int = 0) -> Sample:
    """A fixed random sample of about ``total`` coordinates, stratified by layer and by parameter within the layer.

    Layers share the total evenly, and what a small layer does not need goes to the larger ones; within a layer each
    parameter gets its proportion, and at least one coordinate. Task-specific layers share a tenth of the total. The
    sample has a generator of its own: no global random state is read or changed.

    >>> sample = sample_coordinates([Stratum("a", 4, True), Stratum("b", 1000, True)], 104)
    >>> np.bincount(sample.parameter), sample.weight[[0, -1]]
    (array([  4, 100]), array([ 1., 10.]))
    """
    generator = np.random.default_rng(seed)
    sizes = np.array([stratum.size for stratum in strata], dtype=np.int64)
    counts = sizes.copy()
    if sizes.sum() > total:
        shared = [i for i, stratum in enumerate(strata) if stratum.shared]
        specific = [i for i, stratum in enumerate(strata) if not stratum.shared]
        thin = min(int(_SPECIFIC_SHARE * total), int(sizes[specific].sum())) if shared else total
        for members, share in ((specific, thin), (shared, total - thin)):
            counts[members] = _allocate([strata[i] for i in members], share)
    index = [_draw(generator, int(size), int(count)) for size, count in zip(sizes, counts, strict=True)]
    parameter = np.repeat(np.arange(len(strata), dtype=np.int32), counts)
    weight = np.repeat(np.divide(sizes, counts, out=np.zeros(len(sizes)), where=counts > 0), counts)
    return Sample(parameter, np.concatenate(index) if index else np.zeros(0, np.int64), weight)


def _allocate(strata: Sequence[Stratum], total: int) -> npt.NDArray[np.int64]:
    """Coordinates for each stratum: even over layers, proportional within a layer, never more than there are."""
    layers = list(dict.fromkeys(stratum.layer for stratum in strata))
    size = {layer: sum(s.size for s in strata if s.layer == layer) for layer in layers}
    quota: dict[str, int] = {}
    left = total
    for rank, layer in enumerate(sorted(layers, key=lambda name: size[name])):
        quota[layer] = min(size[layer], left // (len(layers) - rank))
        left -= quota[layer]
    # Rounded down, so that the layer keeps to its quota; a parameter is never left without a coordinate.
    return np.array(
        [min(s.size, max(1, s.size * quota[s.layer] // max(size[s.layer], 1))) for s in strata], dtype=np.int64
    )


def _draw(generator: np.random.Generator, size: int, count: int) -> npt.NDArray[np.int64]:
    if count >= size:
        return np.arange(size, dtype=np.int64)
    return np.sort(generator.choice(size, count, replace=False, shuffle=False)).astype(np.int64)


class Schedule:
    """Which training steps are recorded: bursts of ``burst`` steps, one step in ``every`` on average.

    ``every=1`` records all. Each time half of the budget that was left is used up, bursts come a quarter as often: what
    is left then lasts twice as long as what was used, so the budget holds for runs far longer than its first half. Were
    they to come half as often, every half would last equally long, and a budget for 2000 steps only eleven times that.

    Args:
        every, burst: as above.
        start: the step that a recording begins with.
        dense_at_first: bursts come more often in the first steps of a training, so that one of any length has them in
            all its parts: a pause is half as long as all that came before it, until it is as long as ``every`` asks.
            Bursts of several steps then become longer, up to five times: of each, the first steps are moved by momenta
            of gradients that nobody saw.

    >>> schedule = Schedule(every=10, burst=2)
    >>> [step for step in range(45) if schedule.records(step)]
    [0, 1, 20, 21, 40, 41]
    >>> schedule = Schedule(every=10, burst=20, dense_at_first=True)
    >>> [step for step in range(400) if schedule.records(step) and not schedule.records(step - 1)]
    [0, 40, 90, 165, 277]
    """

    def __init__(self, every: int, burst: int, *, start: int = 0, dense_at_first: bool = False) -> None:
        self.every = every
        self.burst = burst
        self.stretch = 1
        """How many times more rarely than asked steps are recorded now."""
        self._start = start
        """Of the burst that is going on, or that was the last one."""
        self._dense_at_first = dense_at_first

    @property
    def facts(self) -> dict[str, int]:
        """What it was asked to be, for the attributes of a run."""
        grows = self._dense_at_first and self.burst > 1
        longest = {"longest_burst": _LONGEST_BURST * self.burst} if grows and self.every > 1 else {}
        return {"every": self.every, "burst": self.burst} | longest

    def records(self, step: int) -> bool:
        """Whether this training step is recorded; asked of steps in their order, give or take one."""
        if self.every * self.stretch == 1:
            return True
        return 0 <= step - self._burst_before(step) < self._length

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
        if not self._dense_at_first:
            self._start = max(self._start, step - (step - self._start) % self._period)
        while step - self._start >= self._period:
            self._start += self._period
        return self._start

    @property
    def _length(self) -> int:
        """Steps of the burst."""
        if self._dense_at_first and self.burst > 1:
            return min(max(self.burst, self._start // _SHARE_OF_BURST), _LONGEST_BURST * self.burst)
        return self.burst

    @property
    def _period(self) -> int:
        """Steps from its start to the start of the next."""
        burst = self._length
        pause = (self.every * self.stretch - 1) * burst
        if self._dense_at_first:
            pause = min(pause, max(burst, (self._start + burst) // 2))
        return burst + pause

    @property
    def _era(self) -> int:
        return (self.stretch.bit_length() - 1) // (_STRETCH.bit_length() - 1)
