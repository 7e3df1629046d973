"""Inner products of the tasks' gradients in the shared layers, alone or in groups of layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import blocks, steps_taken
from dominance.errors import BadOption

ByLayer = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""How layers are put together: "layer", "all", a list of globs, or {label: glob or globs of layers}."""


_MAGIC = re.compile(r"[*?\[]")
"""What makes a name a glob."""


@dataclass(frozen=True)
class Grams:
    """Gram matrices of the effective gradients, of the steps that no later row overrules.

    Attributes:
        values: (step, layer, task, task_other); NaN at steps that the optimizer skipped.
        steps: (step,) numbers.
        layers: labels.
        attrs: ``by``, ``steps_taken``, ``steps_recorded``, ``left_out_superseded``, ``skipped``, and
            ``layers_in_no_group``.
    """

    values: NDArray[np.float64]
    steps: NDArray[np.int64]
    layers: list[str]
    attrs: dict[str, str | int]


def groups_of(by: ByLayer, layers: Sequence[str]) -> tuple[list[str], NDArray[np.bool_]]:
    """Labels, and (label, layer) which layers are in the group of that label.

    Args:
        by: "layer"; "all"; a list of globs, one group each; or a mapping from labels to one or several globs.

    Raises:
        BadOption: another word, a label that fits no layer, or a layer that two labels fit.

    >>> labels, inside = groups_of({"trunk": "trunk.*", "stem": ["conv?", "norm"]}, ["conv1", "norm", "trunk.0"])
    >>> inside.astype(int)
    array([[0, 0, 1],
           [1, 1, 0]])
    """
    if isinstance(by, str):
        if by == "layer":
            return list(layers), np.eye(len(layers), dtype=bool)
        if by == "all":
            return [ALL_SHARED], np.ones((1, len(layers)), dtype=bool)
        raise BadOption(f"by={by!r} is unknown", fix='say "layer" or "all", or give {label: glob of layers}')
    if callable(by) or not len(by):
        raise BadOption("by: names no layers", fix='give {label: glob of layers}, or say "layer"')
    given = dict(by) if isinstance(by, Mapping) else {str(glob): glob for glob in by}
    inside = np.zeros((len(given), len(layers)), dtype=bool)
    places: dict[str, list[int]] = {}
    for place, layer in enumerate(layers):
        places.setdefault(layer, []).append(place)
    for row, (label, patterns) in zip(inside, given.items(), strict=True):
        globs = [patterns] if isinstance(patterns, str) else list(patterns)
        row[_fitting(globs, places, layers)] = True
        if not row.any():
            shown = ", ".join(layers[:8]) + (", ..." if len(layers) > 8 else "")
            raise BadOption(f"by: {label!r} fits none of the layers looked at", fix=f"there are {shown}")
    twice = np.flatnonzero(inside.sum(axis=0) > 1)
    if len(twice):
        labels = [label for label, row in zip(given, inside, strict=True) if row[twice[0]]]
        raise BadOption(
            f"by: {layers[twice[0]]} is in two groups, {labels[0]!r} and {labels[1]!r}", fix="narrow a glob"
        )
    return list(given), inside


def _fitting(globs: Sequence[str], places: Mapping[str, Sequence[int]], layers: Sequence[str]) -> list[int]:
    """Places of the layers that one of the globs fits. Of thousands of plain names each is looked up."""
    plain = [glob for glob in globs if not _MAGIC.search(glob)]
    found = [place for name in plain for place in places.get(name, ())]
    if len(plain) < len(globs):
        fits = [re.compile(translate(glob)).match for glob in globs if _MAGIC.search(glob)]
        found += [place for place, layer in enumerate(layers) if any(fit(layer) for fit in fits)]
    return found


def grams(run: PreparedRun, by: ByLayer) -> Grams:
    """The Gram matrices of the shared layers, summed over the layers of each group.

    Raises:
        BadOption: as :func:`groups_of`.
        NothingRecorded: no step, or no layer that two tasks share.
    """
    if isinstance(by, str):
        groups_of(by, [])
    shared = run.shared_layers
    names = [run.layers[i] for i in shared]
    labels, inside = (names, None) if by == "layer" else groups_of(by, names)
    old, skipped = run.superseded, run.skipped > 0
    stored = run["layer/gram"]
    parts = []
    for rows in blocks(len(old)):
        block = stored.isel(step=rows, layer=shared).to_numpy()[~old[rows]]
        parts.append(block if inside is None else summed(block, inside))
    values = np.concatenate(parts)
    values[skipped[~old]] = np.nan
    attrs: dict[str, str | int] = {
        "by": by if isinstance(by, str) else "custom",
        "steps_taken": steps_taken(run.tree),
        "steps_recorded": int((~old).sum()),
        "left_out_superseded": int(old.sum()),
        "skipped": int(skipped[~old].sum()),
        "layers_in_no_group": 0 if inside is None else int((~inside.any(axis=0)).sum()),
    }
    return Grams(values, run.numbers[~old], labels, attrs)


def grouped(layers: Grams, by: ByLayer) -> Grams:
    """Those of the single layers, summed over the layers of each group: as ``grams`` of these groups.

    Raises:
        BadOption: as :func:`groups_of`.
    """
    labels, inside = groups_of(by, layers.layers)
    about: dict[str, str | int] = {
        "by": by if isinstance(by, str) else "custom",
        "layers_in_no_group": int((~inside.any(axis=0)).sum()),
    }
    return replace(layers, values=summed(layers.values, inside), layers=labels, attrs=layers.attrs | about)


def summed(values: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums over the layers, dim 1, of each group: ``inside`` (group, layer) says which are in it."""
    if (inside.sum(axis=1) == 1).all():
        return values[:, inside.argmax(axis=1)]
    return np.stack([values[:, row].sum(axis=1) for row in inside], axis=1)
