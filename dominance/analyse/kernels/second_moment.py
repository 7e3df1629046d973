"""Accumulated squared gradients, and the learning rate that they leave a coordinate (AdaTask, Eq. 4-7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MomentRule:
    """How an optimizer accumulates squared gradients, in the terms of torch.

    Attributes:
        eps: stands outside the root, as in torch; the text of AdaTask has it inside.
        decay: γ of the moving average; None: squares are summed (Adagrad).
        corrected: the average is divided by the weight that it has seen, 1 - γ^t (Adam).
        highest: the running maximum of the average counts (AMSGrad).
        centered: the square of the average gradient is taken off (centered RMSprop).
        start: G before the first step (Adagrad's ``initial_accumulator_value``).
        rate_decay: the learning rate is divided by 1 + (t - 1) times this (Adagrad's ``lr_decay``).
    """

    eps: float
    decay: float | None = None
    corrected: bool = False
    highest: bool = False
    centered: bool = False
    start: float = 0.0
    rate_decay: float = 0.0


class SecondMoment:
    """G of several accumulators, of any shape.

    Attributes:
        square: G.
        mean: moving average of the gradients, where the rule asks for it.
        most: running maximum of G, where the rule asks for it.
        count: t, the steps that were taken in.
        seen: whether any gradient was not 0.

    >>> g = SecondMoment(MomentRule(eps=0.0, decay=0.75, corrected=True), (2,))
    >>> g.take(np.array([2.0, 0.0]))
    >>> g.take(np.array([4.0, 1.0]), np.array([True, False]))
    >>> g.square, g.count  # 0.75 * (0.25 * 4) + 0.25 * 16
    (array([4.75, 0.  ]), array([2, 1]))
    >>> g.rate(0.1).round(4)  # 0.1 / sqrt(4.75 / (1 - 0.75²)); no gradient yet
    array([0.0303,    nan])
    """

    def __init__(self, rule: MomentRule, shape: tuple[int, ...]) -> None:
        self.rule = rule
        self.square: Floats = np.full(shape, rule.start)
        self.mean: Floats = np.zeros(shape)
        self.most: Floats = np.zeros(shape)
        self.count = np.zeros(shape, dtype=np.int64)
        self.seen = np.zeros(shape, dtype=bool)

    def take(self, gradient: NDArray[np.floating], where: NDArray[np.bool_] | bool = True) -> None:
        """One step: G <- G + g², or γ G + (1 - γ) g². Squares are taken in float64: those of float32 may vanish.

        Args:
            gradient: of the shape of G; not looked at where it is not taken in.
            where: which accumulators take it in; broadcasts.
        """
        rule = self.rule
        g = np.where(where, gradient, 0.0).astype(np.float64, copy=False)  # numpy 1 leaves float32 as it is
        fade = np.where(where, 1.0 if rule.decay is None else rule.decay, 1.0)
        gain = 1.0 if rule.decay is None else 1 - rule.decay
        self.square = fade * self.square + gain * g * g
        if rule.centered:
            self.mean = fade * self.mean + gain * g
        if rule.highest:
            self.most = np.maximum(self.most, self.square)
        self.count += where
        self.seen |= g != 0

    def rate(self, nominal: Floats | float) -> Floats:
        """η / (sqrt(G) + ε), the learning rate of each accumulator; NaN where it has seen no gradient.

        Args:
            nominal: η, the learning rate of the optimizer; broadcasts.
        """
        rule = self.rule
        g = self.most if rule.highest else self.square
        if rule.centered:
            g = np.maximum(g - self.mean**2, 0)  # below 0 by rounding alone
        with np.errstate(divide="ignore", invalid="ignore"):
            if rule.corrected and rule.decay is not None:
                g = g / (1 - rule.decay**self.count)
            eta = nominal / (1 + (self.count - 1) * rule.rate_decay)
            return np.where(self.seen, eta / (np.sqrt(g) + rule.eps), np.nan)


def closeness(own: Floats, whole: Floats) -> Floats:
    """How near a task's own learning rate is to the one that it gets: exp(-|ln own - ln whole|) = min / max.

    Between 0 and 1: 1 where they are the same, 0.5 where one is twice the other. Where K tasks have gradients of equal
    size at right angles each has 1 / sqrt(K), for whole G is the sum of theirs; where one task dominates, it has 1 and
    the others nearly 0.

    >>> closeness(np.array([0.2, 0.4, 0.1, np.nan]), np.array([0.2, 0.2, 0.2, 0.2]))
    array([1. , 0.5, 0.5, nan])
    """
    return np.asarray(np.minimum(own, whole) / np.maximum(own, whole))
