"""Large models at a glance: layers folded into groups by the depth of their modules, and the worst of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

LayerGroups = dict[str, list[str]]


def fold(names: Sequence[str], most: int) -> LayerGroups:
    """Layers in at most ``most`` groups, in their order: those of one module together, at the deepest level that does.

    Where that level has far fewer groups, as in a long stack of blocks, neighbours of the next level go together.

    >>> stack = [f"encoder.layers.{i}.{part}" for i in range(4) for part in ("attention", "mlp")]
    >>> list(fold(stack, 8)) == stack, list(fold(stack, 4))
    (True, ['encoder.layers.0', 'encoder.layers.1', 'encoder.layers.2', 'encoder.layers.3'])
    >>> {label: len(each) for label, each in fold(stack, 3).items()}
    {'encoder.layers.0 to 1': 4, 'encoder.layers.2 to 3': 4}
    """
    parts = {name: name.split(".") for name in names}
    depths = range(max((len(part) for part in parts.values()), default=1), 0, -1)
    levels = {depth: _at(parts, depth) for depth in depths}
    depth = next((depth for depth in depths if len(levels[depth]) <= most), 0)
    if depth and (2 * len(levels[depth]) >= most or depth + 1 not in levels):
        return _named(levels[depth])
    deeper = levels[depth + 1]
    families: dict[str, list[str]] = {}
    for label in deeper:
        families.setdefault(".".join(label.split(".")[:depth]), []).append(label)
    size = next(
        size
        for size in range(2, len(deeper) + 1)
        if sum(-(-len(each) // size) for each in families.values()) <= max(most, len(families))
    )
    chunks = [each[at : at + size] for each in families.values() for at in range(0, len(each), size)]
    return {_range(chunk): [name for label in chunk for name in deeper[label]] for chunk in chunks}


def _at(parts: Mapping[str, list[str]], depth: int) -> LayerGroups:
    found: LayerGroups = {}
    for name, part in parts.items():
        found.setdefault(".".join(part[:depth]), []).append(name)
    return found


def _named(groups: LayerGroups) -> LayerGroups:
    """A group of one layer has the layer's name."""
    return {each[0] if len(each) == 1 else label: each for label, each in groups.items()}


def _range(labels: Sequence[str]) -> str:
    """A label for neighbours: what they have in common, and the first and the last."""
    first, last = labels[0], labels[-1]
    if first == last:
        return first
    return f"{first} to {last.rpartition('.')[2]}" if "." in last else f"{first} to {last}"


def folded(table: xr.Dataset, groups: Mapping[str, Sequence[str]], population: Mapping[str, float]) -> xr.Dataset:
    """A result of ``rau_buckets`` by layer, put together by groups of layers; exactly what it would be by group.

    Args:
        table: share, share_se (step, layer, task, bucket), untouched, effective_tasks (step, layer).
        groups: label -> layers of the table.
        population: how many parameters a layer has; see :func:`populations`.
    """
    parts = []
    for label, layers in groups.items():
        inside = table.sel(layer=list(layers))
        count = xr.DataArray([float(population[name]) for name in layers], dims="layer")
        touched: xr.DataArray = count * (1 - inside["untouched"])
        total = touched.sum("layer")
        weight: xr.DataArray = touched / total.where(total > 0)
        mean = {name: (weight * inside[name].fillna(0)).sum("layer") for name in ("share", "effective_tasks")}
        squares: xr.DataArray = ((weight * inside["share_se"].fillna(0)) ** 2).sum("layer")
        error: xr.DataArray = squares**0.5
        one = xr.Dataset(
            {
                **{name: values.where(total > 0) for name, values in mean.items()},
                "share_se": error.where(total > 0),
                "untouched": 1 - total / count.sum("layer"),
            }
        )
        parts.append(one.expand_dims(layer=np.array([label], dtype=object)))
    found = xr.concat(parts, dim="layer", join="exact", coords="minimal", compat="override")
    order = {name: table[name].dims for name in found.data_vars}
    return found.assign({name: found[name].transpose(*dims) for name, dims in order.items()}).assign_attrs(table.attrs)


def populations(run: xr.DataTree) -> dict[str, float]:
    """Layer -> how many of its parameters are shared."""
    shared = run["shared"].to_numpy().astype(bool)
    layers, weight = run["coord_layer"].to_numpy()[shared], run["coord_weight"].to_numpy()[shared]
    code, names = pd.factorize(layers)
    return dict(zip(names.tolist(), np.bincount(code, weight).tolist(), strict=True))


def worst(table: xr.Dataset, most: int) -> list[str]:
    """At most ``most`` layers that some task has moved, the one with the fewest effective tasks at the end first."""
    last = table["effective_tasks"].isel(step=-1).values
    order = [i for i in np.argsort(last, kind="stable") if np.isfinite(last[i])]
    return [str(table["layer"].values[i]) for i in order[:most]]
