"""What each remedy did in trainings with one planted cause, as tests/planted_remedies.py printed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tried:
    """A remedy against a cause, over planted trainings that differ in their seeds.

    Attributes:
        rose: in how many of them the task that suffers got better.
        of: how many there were.
        change: mean change of its R².
    """

    rose: int
    of: int
    change: float

    @property
    def trainings(self) -> str:
        """The same where it is said first."""
        return f"{self.rose} of {self.of} trainings (R² {self.change:+.2f} on average)"

    def __str__(self) -> str:
        return f"{self.rose} of {self.of} (R² {self.change:+.2f})"


TRIED: Mapping[str, Mapping[str, Mapping[str, Tried]]] = {
    "adam": {
        "scale": {"weights": Tried(5, 5, 0.06), "adatask": Tried(5, 5, 0.09), "imtl-g": Tried(5, 5, 0.09)},
        "weight": {"weights": Tried(5, 5, 0.07), "adatask": Tried(5, 5, 0.07), "imtl-g": Tried(5, 5, 0.07)},
        "noise": {"weights": Tried(5, 5, 0.02), "uw": Tried(5, 5, 0.04)},
        "frequency": {"weights": Tried(5, 5, 0.18), "adatask": Tried(5, 5, 0.16), "imtl-g": Tried(5, 5, 0.10)},
        "seldom": {
            "often": Tried(5, 5, 0.02),
            "weights": Tried(2, 5, -0.00),
            "adatask": Tried(0, 5, -0.13),
            "imtl-g": Tried(0, 5, -0.03),
        },
        "conflict": {"copy": Tried(5, 5, 0.98), "mocograd": Tried(4, 5, 0.00), "cagrad": Tried(2, 5, -0.00)},
    },
    "momentum": {
        "scale": {"weights": Tried(5, 5, 0.04), "cagrad": Tried(5, 5, 0.07)},
        "weight": {"weights": Tried(5, 5, 0.80), "cagrad": Tried(5, 5, 0.75)},
        "noise": {"weights": Tried(5, 5, 0.01), "cagrad": Tried(5, 5, 0.01)},
        "frequency": {"weights": Tried(4, 5, 0.03), "cagrad": Tried(3, 5, -0.00)},
        "seldom": {"often": Tried(5, 5, 0.02), "cagrad": Tried(1, 5, -0.00), "imtl-g": Tried(1, 5, -0.01)},
        "conflict": {"copy": Tried(5, 5, 0.93), "mocograd": Tried(3, 5, 0.00), "cagrad": Tried(1, 5, -0.01)},
    },
}
"""Optimizer -> cause -> remedy -> what came of it. "momentum" is SGD's, and stands for all that divide by no length of
the gradient. "frequency" is of rows and labels, "seldom" of steps; "often" is the task in one step of 4, "copy" is of
the layers in conflict, where the worse task is the one that suffers."""
