"""How the sums of squared updates fade (AdaTask, Eq. 2): one definition for those who record and who read."""

from __future__ import annotations

from dataclasses import dataclass

FLOOR = 1e-200
"""Far below any square of a float32 (the smallest is 2e-90), far above the smallest float64."""

LEAST = 1e-90
"""``FLOOR`` times this is no denormal."""


@dataclass
class WeightSeen:
    """Σ_s γ^(t - s) up to the last used step t: over the used steps, and over all from the first of them on.

    >>> weight = WeightSeen(0.5)
    >>> for gap in (1, 1, 2):
    ...     weight.take(gap)
    >>> weight.seen, weight.every, round(weight.share, 3)  # 1 + 1/4 + 1/8 of 1 + 1/2 + 1/4 + 1/8
    (1.375, 1.875, 0.733)
    """

    decay: float
    seen: float = 0.0
    every: float = 0.0

    def take(self, gap: int) -> None:
        """The next used step, so many steps after the one before; 1 for the first."""
        fade = self.decay**gap
        self.seen = self.seen * fade + 1
        self.every = self.every * fade + (1 - fade) / (1 - self.decay)

    @property
    def share(self) -> float:
        """The share of the weights of all steps that the used ones have."""
        return self.seen / self.every
