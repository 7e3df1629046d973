"""Coordinates by layer, by parameter, all together, or as the caller says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.errors import BadOption

ALL_SHARED = "all shared"
"""Name of the group that holds every shared parameter."""

By = str | Mapping[str, Hashable] | Callable[[str], Hashable]


@dataclass(frozen=True)
class Strata:
    """The sampled shared coordinates, sorted into strata: within one, every coordinate stands for equally many.

    A stratum is a parameter (or several, if a parameter was sampled at more than one rate).

    Attributes:
        code: (coord,) stratum of each coordinate of the run, -1 where it is not shared.
        parameter: (stratum,) name.
        layer: (stratum,) name.
        sampled: (stratum,) number of coordinates kept.
        population: (stratum,) number of coordinates they stand for.
    """

    code: NDArray[np.int64]
    parameter: NDArray[np.str_]
    layer: NDArray[np.str_]
    sampled: NDArray[np.int64]
    population: NDArray[np.float64]


def strata(run: xr.DataTree, shared: NDArray[np.bool_]) -> Strata:
    """Strata of the shared coordinates, in the order in which they first appear."""
    names = run["parameter"].to_numpy()[shared]
    weight = run["coord_weight"].to_numpy()[shared]
    by_name, _ = pd.factorize(names)
    by_weight, weights = pd.factorize(weight)
    rank, pairs = pd.factorize(by_name * len(weights) + by_weight)
    first = np.empty(len(pairs), dtype=np.int64)
    first[rank[::-1]] = np.arange(len(rank))[::-1]
    code = np.full(len(shared), -1, dtype=np.int64)
    code[shared] = rank
    sampled = np.bincount(rank)
    return Strata(
        code=code,
        parameter=names[first],
        layer=run["coord_layer"].to_numpy()[shared][first],
        sampled=sampled,
        population=sampled * weight[first],
    )


def group(by: By, parts: Strata, layers: list[str]) -> tuple[list[Any], NDArray[np.int64]]:
    """Labels of the groups, and the group of each stratum (-1: in none).

    Args:
        by: "layer", "parameter", "all", or a mapping or function from a parameter's name to a label; a parameter that
            the mapping lacks, or for which the function returns None, is left out.
        layers: all layers of the run, in order.

    Raises:
        BadOption: an unknown word, a name that is no shared parameter, or nothing left.
    """
    if isinstance(by, str):
        if by == "all":
            return [ALL_SHARED], np.zeros(len(parts.parameter), dtype=np.int64)
        if by == "layer":
            present = set(parts.layer.tolist())
            labels: list[Any] = [layer for layer in layers if layer in present]
            chosen: list[Any] = parts.layer.tolist()
        elif by == "parameter":
            chosen = parts.parameter.tolist()
            labels = list(dict.fromkeys(chosen))
        else:
            raise BadOption(f"by={by!r} is unknown", fix='say "layer", "parameter" or "all", or give a mapping')
    else:
        if isinstance(by, Mapping):
            unknown = sorted(set(by) - set(parts.parameter.tolist()))
            if unknown:
                raise BadOption(f"by: {unknown[0]!r} is no shared parameter", fix='names are in run["parameter"]')
            chosen = [by.get(name) for name in parts.parameter.tolist()]
        else:
            chosen = [by(name) for name in parts.parameter.tolist()]
        labels = [label for label in dict.fromkeys(chosen) if label is not None]
        if not labels:
            raise BadOption("by: leaves no parameter", fix="return a label for at least one shared parameter")
    place = {label: i for i, label in enumerate(labels)}
    return labels, np.array([place.get(label, -1) for label in chosen], dtype=np.int64)
