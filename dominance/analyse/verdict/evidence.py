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

    def __str__(self) -> str:
        return f"{self.rose} of {self.of}, R² {self.change:+.2f}"


TRIED: Mapping[str, Mapping[str, Tried]] = {
    "scale": {"weights": Tried(5, 5, 0.06), "adatask": Tried(5, 5, 0.09), "imtl-g": Tried(5, 5, 0.09)},
    "weight": {"weights": Tried(5, 5, 0.07), "adatask": Tried(5, 5, 0.07), "imtl-g": Tried(5, 5, 0.07)},
    "noise": {"weights": Tried(5, 5, 0.01), "uw": Tried(5, 5, 0.04)},
    "frequency": {"weights": Tried(5, 5, 0.18), "adatask": Tried(5, 5, 0.16), "imtl-g": Tried(5, 5, 0.10)},
    "seldom": {"weights": Tried(2, 5, -0.00), "adatask": Tried(0, 5, -0.13), "imtl-g": Tried(0, 5, -0.03)},
    "conflict": {"copy": Tried(5, 5, 0.98), "mocograd": Tried(4, 5, 0.00), "cagrad": Tried(2, 5, -0.00)},
}
"""Cause -> method -> what came of it. "frequency" is of rows and labels, "seldom" of steps; "copy" is of the layers in
conflict, where the worse task is the one that suffers."""
