"""Coordinates by layer, by parameter, by kind of module, all together, or as the caller says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kinds import KINDS, kind
from dominance.analyse.known_units import WORDS, known, told
from dominance.analyse.units import Partition, Units, partition
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

ALL_SHARED = "all shared"
"""Name of the group that holds every shared parameter."""

By = str | Units | Sequence[str] | Sequence[Units] | Mapping[str, Hashable | Sequence[str]] | Callable[[str], Hashable]


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
        kind: (stratum,) kind of the module that owns the parameter, "" where that was not recorded.
        scattered: the coordinates of a stratum need not lie side by side.
    """

    code: NDArray[np.int64]
    parameter: NDArray[np.str_]
    layer: NDArray[np.str_]
    sampled: NDArray[np.int64]
    population: NDArray[np.float64]
    kind: NDArray[np.str_]
    scattered: bool = False

    def outside(self, group_of: NDArray[np.int64]) -> int:
        """How many parameters are in no group."""
        return len(set(self.parameter[group_of < 0].tolist()))


def strata(run: xr.DataTree | xr.Dataset, shared: NDArray[np.bool_]) -> Strata:
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
    kinds = {each["name"]: kind(each.get("module", "")) for each in run.attrs["parameters"]}
    return Strata(
        code=code,
        parameter=names[first],
        layer=run["coord_layer"].to_numpy()[shared][first],
        sampled=sampled,
        population=sampled * weight[first],
        kind=np.array([kinds[name] for name in names[first].tolist()], dtype=object),
    )


def units_of(by: By, attrs: Mapping[Any, Any], where: str) -> list[Units] | None:
    """The units that ``by`` stands for; None where it is of whole parameters.

    Args:
        by: "expert", "head", "neuron" or "row", see ``known_units``; a pattern with names in braces; ``Units``.
        attrs: of the run.
        where: what a message calls the run.

    Raises:
        BadOption: some of a list are units and some are not.
        NothingRecorded: the model has no such units.
    """
    listed = told(by)
    if listed is None and isinstance(by, str) and by in WORDS:
        return known(by, parameters_of(attrs), where)
    return listed


def parted(
    units: Sequence[Units], attrs: Mapping[Any, Any], names: NDArray[np.str_], index: NDArray[np.int64]
) -> Partition:
    """Which unit the shared coordinates are in: (coord,) parameter, flat index inside it. Raises as ``partition``."""
    return partition(units, [each for each in parameters_of(attrs) if each.shared], names, index)


def parameters_of(attrs: Mapping[Any, Any]) -> list[Parameter]:
    """The parameters of a run, from its attributes."""
    return [Parameter.from_json(each) for each in attrs["parameters"]]


def refined(parts: Strata, shared: NDArray[np.bool_], found: Partition) -> tuple[Strata, list[str], NDArray[np.int64]]:
    """Strata that do not go across units: those of parts of units, the units' labels, and the unit of each stratum.

    How many coordinates such a part of a parameter has is known, and what was kept of it stands for as many. Units of
    which nothing was kept are left out.

    Args:
        parts: the strata.
        shared: (coord,) of the run.
        found: the units of the shared coordinates.
    """
    inside = np.flatnonzero(shared)
    old = parts.code[inside]
    rank, pairs = pd.factorize(old * (len(found.labels) + 1) + found.code + 1)
    first = np.empty(len(pairs), dtype=np.int64)
    first[rank[::-1]] = np.arange(len(rank))[::-1]
    code = np.full(len(shared), -1, dtype=np.int64)
    code[inside] = rank
    sampled, of, unit = np.bincount(rank), old[first], found.code[first]
    stands_for = sampled * (parts.population / parts.sampled)[of]
    # Of a parameter that was sampled at two rates, which part of a unit each rate stands for is not known.
    by_name, _ = pd.factorize(parts.parameter)
    alone = (np.bincount(by_name)[by_name] == 1)[of]
    population = np.where(alone & (unit >= 0), np.maximum(found.around[first], sampled), stands_for)
    kept = np.unique(unit[unit >= 0])
    place = np.full(len(found.labels) + 1, -1)  # the last: of what is in no unit
    place[kept] = np.arange(len(kept))
    finer = Strata(code, parts.parameter[of], parts.layer[of], sampled, population, parts.kind[of], scattered=True)
    return finer, [found.labels[i] for i in kept.tolist()], place[unit]


def grouped(
    by: By, run: Any, parts: Strata, shared: NDArray[np.bool_], names: NDArray[np.str_], index: NDArray[np.int64]
) -> tuple[Strata, list[Any], NDArray[np.int64]]:
    """The strata to count by, labels of the groups, and the group of each stratum, for any ``by``.

    Args:
        run: prepared.
        parts, shared: the strata; (coord,) which coordinates are in one.
        names, index: (coord,) parameter, and flat index inside it.

    Raises:
        BadOption, NothingRecorded: as :func:`group`, :func:`units_of` and :func:`parted`.
    """
    units = units_of(by, run.attrs, run.where)
    if units is None:
        return parts, *group(by, parts, run.layers)
    return refined(parts, shared, parted(units, run.attrs, names[shared], index[shared]))


def group(by: By, parts: Strata, layers: list[str]) -> tuple[list[Any], NDArray[np.int64]]:
    """Labels of the groups, and the group of each stratum (-1: in none).

    Args:
        by: one of

            - "layer", "parameter", or "all": the whole trunk, one group
            - "kind": embeddings apart from linear layers and the others, see ``kinds``
            - a list of globs, one group each: ``["emb*", "trunk.*"]``
            - a mapping from a label to one or several globs: ``{"embedding": "emb*", "mlp": ["trunk.*", "deep.*"]}``
            - a mapping from the names of parameters to labels: ``{"trunk.0.weight": "first"}``
            - a function from the name of a parameter to a label

            Units, which may be parts of parameters, are not told here: see :func:`grouped`.

            A glob is for the name of a parameter, or of the module that owns it. A parameter that nothing fits, that
            the mapping lacks, or for which the function returns None, is left out.
        layers: all layers of the run, in order.

    Raises:
        BadOption: an unknown word, a name that is no shared parameter, a glob that none fits, two groups for one
            parameter, a mapping that can be read in both ways, or nothing left.
        NothingRecorded: the kinds were not recorded.
    """
    names: list[str] = parts.parameter.tolist()
    labels: list[Any]
    if isinstance(by, str):
        if by == "all":
            return [ALL_SHARED], np.zeros(len(names), dtype=np.int64)
        if by == "layer":
            present = set(parts.layer.tolist())
            labels, chosen = [layer for layer in layers if layer in present], parts.layer.tolist()
        elif by == "parameter":
            labels, chosen = list(dict.fromkeys(names)), names
        elif by == "kind":
            chosen = _kinds(parts)
            labels = [each for each in KINDS if each in chosen]
        else:
            raise BadOption(
                f"by={by!r} is unknown",
                fix='say "layer", "parameter", "kind" or "all", or give a list of globs, a mapping, or units as "head"',
            )
    else:
        if callable(by):
            chosen = [by(name) for name in names]
            labels = list(dict.fromkeys(chosen))
        else:
            labels, chosen = _told(by, parts)
        labels = [label for label in labels if label is not None]
        if not labels:
            raise BadOption("by: leaves no parameter", fix="return a label for at least one shared parameter")
    place = {label: i for i, label in enumerate(labels)}
    return labels, np.array([place.get(label, -1) for label in chosen], dtype=np.int64)


def _kinds(parts: Strata) -> list[str]:
    if "" in parts.kind:
        name = parts.parameter[parts.kind == ""][0]
        raise NothingRecorded(
            f"the kind of the module of {name} was not recorded (an older dominance wrote the run)",
            fix='say which they are: by={"embedding": "*emb*", "mlp": "trunk.*"}',
        )
    return list(parts.kind.tolist())


def _told(by: Any, parts: Strata) -> tuple[list[Any], list[Any]]:
    """Labels in order, and the label of each stratum, by a list of globs or by a mapping of either kind."""
    names: list[str] = parts.parameter.tolist()
    if not isinstance(by, Mapping):
        return _fitted({glob: [glob] for glob in by}, parts)
    listed = any(isinstance(value, list | tuple) for value in by.values())
    unknown = [key for key in by if key not in names]
    if listed or len(unknown) == len(by):
        return _fitted({key: value if isinstance(value, list | tuple) else [value] for key, value in by.items()}, parts)
    if unknown:
        raise BadOption(f"by: {unknown[0]!r} is no shared parameter", fix='names are in run["parameter"]')
    wild = [value for value in by.values() if isinstance(value, str) and set(value) & set("*?[")]
    if wild:
        raise BadOption(
            f"by: the keys are parameters, so that {wild[0]!r} would be a label",
            fix=f'if it is a glob, put it into a list: {{"label": [{wild[0]!r}]}}',
        )
    chosen = [by.get(name) for name in names]
    return list(dict.fromkeys(chosen)), chosen


def _fitted(globs: Mapping[Any, Sequence[Any]], parts: Strata) -> tuple[list[Any], list[Any]]:
    chosen: list[Any] = [None] * len(parts.parameter)
    pairs = list(zip(parts.parameter.tolist(), parts.layer.tolist(), strict=True))
    for label, each in globs.items():
        for glob in each:
            if not isinstance(glob, str):
                raise BadOption(f"by: {label!r} is no shared parameter and {glob!r} is no glob", fix='say "trunk.*"')
            fits = [i for i, pair in enumerate(pairs) if any(fnmatchcase(name, glob) for name in pair)]
            if not fits:
                raise BadOption(f"by: no shared parameter fits {glob!r}", fix='names are in run["parameter"]')
            for i in fits:
                if chosen[i] not in (None, label):
                    raise BadOption(
                        f"by: {pairs[i][0]} fits both {chosen[i]!r} and {label!r}", fix="narrow one of them"
                    )
                chosen[i] = label
    return list(globs), chosen
