"""What a noise probe is asked: which coordinates get how much noise, each question once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import sqrt

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels.perturbation import Indices, extreme, number_of
from dominance.errors import BadOption

SELECTIONS = ("top", "random", "least")
"""The highest rAU of the owner; as many random coordinates; the lowest rAU of the owner."""

AnswerPlace = tuple[int, int, int, int, int]
"""Where an answer belongs: owner, setting, selection, repeat, layer."""


@dataclass(frozen=True)
class Setting:
    """A fraction of the coordinates, and the spread of the noise, given as a variance or as a standard deviation."""

    fraction: float
    spread: float
    given: str

    @property
    def deviation(self) -> float:
        return sqrt(self.spread) if self.given == "variance" else self.spread

    @property
    def label(self) -> str:
        return f"{100 * self.fraction:g} %, {self.given} {self.spread:g}"


def settings_of(
    fractions: Sequence[float], variances: Sequence[float], deviations: Sequence[float], *, full: bool
) -> list[Setting]:
    """The paper's two sweeps, each along one argument with the first value of the other; or all combinations.

    >>> [setting.label for setting in settings_of((0.01, 0.2), (0.01, 0.05), (), full=False)]
    ['1 %, variance 0.01', '1 %, variance 0.05', '20 %, variance 0.01']
    >>> len(settings_of((0.01, 0.2), (0.01, 0.05), (0.1,), full=True))
    6

    Raises:
        BadOption: a fraction that is none, a spread that is negative, or nothing at all.
    """
    spreads = [(float(v), "variance") for v in variances] + [(float(d), "deviation") for d in deviations]
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise BadOption(f"fractions: {fraction} is no share", fix="give numbers above 0, at most 1, like 0.01")
    for spread, given in spreads:
        if not 0 <= spread < np.inf:
            raise BadOption(f"{given}s: noise has no {given} of {spread}", fix="give numbers from 0")
    if not len(fractions) or not spreads:
        raise BadOption("there is no setting to probe", fix="give a fraction, and a variance or a deviation")
    chosen = [Setting(float(f), *spread) for f in fractions for spread in spreads]
    first = float(fractions[0])
    if not full:
        chosen = [s for s in chosen if s.fraction == first or (s.spread, s.given) == spreads[0]]
        chosen.sort(key=lambda setting: setting.fraction != first)
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Question:
    """Noise for these coordinates (of all that are given), and where its answer belongs."""

    coords: Indices
    deviation: float
    seed: int
    places: list[AnswerPlace]


@dataclass(frozen=True)
class Questions:
    """All that a probe is asked.

    Attributes:
        asked: each once, though its answer may belong to several places: for two tasks, the top of one is the least
            of the other; and random coordinates are the same for every owner.
        number: (setting, layer) coordinates that get noise.
    """

    asked: list[Question]
    number: NDArray[np.int64]


def questions(
    rau: NDArray[np.float64], members: Sequence[Indices], settings: Sequence[Setting], repeats: int, seed: int
) -> Questions:
    """Choose coordinates.

    Args:
        rau: (owner, coord).
        members: of each layer, or one for all: the coordinates among which to choose.
    """
    asked: dict[tuple[bytes, float, int], Question] = {}
    number = np.zeros((len(settings), len(members)), dtype=np.int64)
    lots = np.random.default_rng([seed, 0]).random((rau.shape[1],))
    seeds = np.random.SeedSequence([seed, 1]).generate_state(repeats).tolist()

    def ask(coords: Indices, s: int, repeat: int, places: list[AnswerPlace]) -> None:
        deviation = settings[s].deviation
        key = (blake2b(coords.tobytes(), digest_size=16).digest(), deviation, repeat)
        asked.setdefault(key, Question(coords, deviation, int(seeds[repeat]), [])).places.extend(places)

    for layer, inside in enumerate(members):
        shuffled = [np.random.default_rng([seed, 2, repeat]).permutation(inside) for repeat in range(repeats)]
        for s, setting in enumerate(settings):
            count = number_of(setting.fraction, len(inside))
            number[s, layer] = count
            for repeat in range(repeats):
                drawn = np.sort(shuffled[repeat][:count])
                ask(drawn, s, repeat, [(owner, s, 1, repeat, layer) for owner in range(len(rau))])
            for owner in range(len(rau)):
                for selection, highest in ((0, True), (2, False)):
                    coords = inside[extreme(rau[owner, inside], count, lots[inside], highest=highest)]
                    for repeat in range(repeats):
                        ask(coords, s, repeat, [(owner, s, selection, repeat, layer)])
    return Questions(list(asked.values()), number)


def by_parameter(found: xr.Dataset, coords: Indices) -> dict[str, Indices]:
    """Coordinates (increasing) of an analyser's result as flat indices into each parameter."""
    names, index = found["parameter"].to_numpy()[coords], found["index"].to_numpy()[coords]
    edges = np.flatnonzero(names[1:] != names[:-1]) + 1
    parts = zip(np.split(names, edges), np.split(index, edges), strict=True)
    return {str(part[0]): np.asarray(inside, dtype=np.int64) for part, inside in parts if len(part)}
