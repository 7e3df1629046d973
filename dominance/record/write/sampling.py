"""Which coordinates are kept, so that a run of any length stays within its byte budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# The first half of the budget holds this many recorded steps if nothing compresses; about twice as many as a rule.
STEPS_IN_FIRST_HALF = 1000
# A layer that belongs to one task answers no question about dominance: it gets a thin sample.
_SPECIFIC_SHARE = 0.1


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
