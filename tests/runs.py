"""Runs made from arrays: in memory, in the form that ``dominance.open_run`` returns, or written to disk.

The tests of analysers, plots and figures build their runs here. Everything that a run holds is worked out from the
updates and gradients that are given: norms and Gram matrices over all coordinates, the step taken as the sum of the
parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dominance.schema import SCHEMA_VERSION, TASK_STATISTICS, TOTAL_STATISTICS, Layout, Parameter

Rows = dict[str, np.ndarray]


def make_rows(
    updates: Any,
    gradients: Any = None,
    *,
    tasks: Sequence[str] | None = None,
    layers: Mapping[str, int] | None = None,
    parameters: Sequence[Parameter] | None = None,
    private: Mapping[str, str] | None = None,
    coord_weight: Any = None,
    steps: Any = None,
    skipped: Any = None,
    loss: Any = None,
    weight: Any = None,
    learning_rate: float = 1e-3,
    residual: Any = None,
    unattributed: Any = None,
    decay: Any = None,
    outside: Any = None,
    residual_gradient: Any = None,
    unexplained: Any = None,
    closure: Any = None,
    solo: Any = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    attrs: Mapping[str, Any] | None = None,
    version: int = SCHEMA_VERSION,
) -> tuple[Layout, Rows]:
    """The layout and the arrays of a run, keyed by their paths in ``dominance.schema``.

    Args:
        updates: (step, task, coord) update of each task.
        gradients: (step, task, coord); default ``-1000 * updates``, as if by gradient descent at a rate of 1e-3.
        tasks: names; default a, b, c...
        layers: number of coordinates of each layer, in order; default one layer "trunk". Each has one parameter,
            ``<layer>.weight``.
        parameters: instead of ``layers``, the parameters themselves (several a layer); their sizes must add up.
        private: layers that belong to one task alone: {layer: task}. All others are shared by all tasks.
        coord_weight: (coord,) how many coordinates each one stands for; default 1.
        steps: (step,) their numbers; default 0, 1, 2...
        residual, unattributed, decay, outside: (step, coord) other parts of the step; default 0.
        residual_gradient: (step, coord) what the optimizer was fed beside the tasks' gradients; default 0.
        unexplained: (step, coord) the part of it that is no named regulariser's; default all of it.
        closure: (step,) default 0.
        solo: (step, task, coord) solo updates; makes it a run with attribution "both".
        metrics: rows for the table of metrics: dicts with step, epoch, task, split, name, value.
        attrs: further root attributes.
        version: the schema; 1 leaves out what it did not have.
    """
    updates = np.asarray(updates, dtype=np.float32)
    count, k, n = updates.shape
    gradients = -1000 * updates if gradients is None else np.asarray(gradients, dtype=np.float32)
    tasks = list(tasks) if tasks is not None else [chr(ord("a") + i) for i in range(k)]
    private = dict(private or {})
    if parameters is None:
        sizes = {"trunk": n} if layers is None else dict(layers)
        parameters = [
            Parameter(f"{name}.weight", name, (size,), (private[name],) if name in private else tuple(tasks))
            for name, size in sizes.items()
        ]
    names = list(dict.fromkeys(parameter.layer for parameter in parameters))
    lengths = [int(np.prod(parameter.shape)) for parameter in parameters]
    if coord_weight is None and sum(lengths) != n:
        raise ValueError(f"parameters hold {sum(lengths)} scalars, the updates have {n} coordinates")
    coord_weight = np.ones(n) if coord_weight is None else np.asarray(coord_weight, dtype=np.float64)
    if sum(lengths) == n:
        code = np.repeat(np.arange(len(parameters)), lengths)
        index = np.concatenate([np.arange(length) for length in lengths])
    else:  # a sample: the weights say how many coordinates belong to each parameter
        code = np.searchsorted(np.cumsum(lengths), np.cumsum(coord_weight) - 0.5 * coord_weight, side="right")
        index = np.concatenate([np.arange(int((code == i).sum())) for i in range(len(parameters))])
    zeros = np.zeros((count, n), dtype=np.float32)
    parts = {"residual": residual, "unattributed": unattributed, "decay": decay, "outside": outside}
    filled = {name: zeros if part is None else np.asarray(part, dtype=np.float32) for name, part in parts.items()}
    total = np.nansum(updates, axis=1) + sum(filled.values())
    residual_gradient = zeros if residual_gradient is None else np.asarray(residual_gradient, dtype=np.float32)
    unexplained = residual_gradient if unexplained is None else np.asarray(unexplained, dtype=np.float32)
    total_gradient = np.nansum(gradients, axis=1) + residual_gradient

    layout = Layout(
        tasks=tasks,
        parameters=list(parameters),
        layers=names,
        coord_parameter=code,
        coord_index=index,
        coord_weight=coord_weight,
        attribution="both" if solo is not None else "additive",
        attrs=dict(attrs or {}),
        version=version,
    )
    rows: Rows = {
        "step": np.arange(count) if steps is None else np.asarray(steps),
        "epoch": np.zeros(count, dtype=np.int64),
        "time": 1.7e9 + np.arange(count, dtype=np.float64),
        "skipped": np.zeros(count, dtype=np.int8) if skipped is None else np.asarray(skipped, dtype=np.int8),
        "closure": np.zeros(count) if closure is None else np.asarray(closure, dtype=np.float64),
        "gradient/gradient": gradients,
        "gradient/total": total_gradient.astype(np.float32),
        "update/update": updates,
        "update/total": total.astype(np.float32),
        **{f"update/{name}": filled[name] for name in layout.update_parts},
        "loss/loss": np.ones((count, k)) if loss is None else np.asarray(loss, dtype=np.float64),
        "loss/weight": np.ones((count, k)) if weight is None else np.asarray(weight, dtype=np.float64),
        "learning_rate/value": np.full((count, len(names)), learning_rate),
    }
    rows["loss/total"] = np.nansum(rows["loss/loss"] * rows["loss/weight"], axis=1)
    if solo is not None:
        rows["update/solo"] = np.asarray(solo, dtype=np.float32)

    layer_of_coord = np.array([names.index(parameters[c].layer) for c in code.tolist()], dtype=np.int64)
    members = [np.flatnonzero(layer_of_coord == layer) for layer in range(len(names))]

    def per_layer(values: np.ndarray) -> np.ndarray:
        """Sum (step, ..., coord) over the coordinates of each layer: (step, layer, ...)."""
        values = np.asarray(values, dtype=np.float64)
        return np.stack([values[..., inside] @ coord_weight[inside] for inside in members], axis=1)

    g, u = gradients.astype(np.float64), updates.astype(np.float64)
    task_values = {
        "gradient_sq": g**2,
        "update_sq": u**2,
        "gradient_dot_update": g * total[:, None].astype(np.float64),
        "solo_sq": np.full(u.shape, np.nan) if solo is None else np.asarray(solo, dtype=np.float64) ** 2,
    }
    rows["layer/task"] = np.stack([per_layer(task_values[name]) for name in TASK_STATISTICS], axis=-1)
    t, tg = total.astype(np.float64), total_gradient.astype(np.float64)
    total_values = {"gradient_sq": tg**2, "update_sq": t**2, "gradient_dot_update": tg * t}
    total_values |= {f"{name}_sq": part.astype(np.float64) ** 2 for name, part in filled.items()}
    total_values["residual_gradient_sq"] = residual_gradient.astype(np.float64) ** 2
    total_values["unexplained_gradient_sq"] = unexplained.astype(np.float64) ** 2
    rows["layer/total"] = np.stack([per_layer(total_values[name]) for name in layout.total_statistics], axis=-1)
    rows["layer/gram"] = per_layer(g[:, :, None] * g[:, None])
    if metrics:
        layout.attrs["metrics"] = list(metrics)
    return layout, rows


def as_tree(layout: Layout, rows: Rows) -> xr.DataTree:
    """The form that ``open_run`` gives to the arrays of a run."""
    parameters, code = layout.parameters, np.asarray(layout.coord_parameter)

    def of_coord(values: Sequence[Any]) -> np.ndarray:
        return np.array(list(values))[code] if len(code) else np.array(list(values))[:0]

    root = xr.Dataset(
        {"skipped": ("step", rows["skipped"]), "closure": ("step", rows["closure"])},
        coords={
            "step": rows["step"],
            "epoch": ("step", rows["epoch"]),
            "time": ("step", rows["time"]),
            "task": list(layout.tasks),
            "task_other": list(layout.tasks),
            "parameter": ("coord", of_coord([p.name for p in parameters])),
            "coord_layer": ("coord", of_coord([p.layer for p in parameters])),
            "index": ("coord", np.asarray(layout.coord_index)),
            "shared": ("coord", of_coord([p.shared for p in parameters])),
            "coord_weight": ("coord", np.asarray(layout.coord_weight, dtype=np.float64)),
        },
        attrs={
            **{key: value for key, value in layout.attrs.items() if key != "metrics"},
            "schema_version": layout.version,
            "tasks": list(layout.tasks),
            "layers": list(layout.layers),
            "parameters": [p.to_json() for p in parameters],
            "attribution": layout.attribution,
            "committed_steps": len(rows["step"]),
            "status": "complete",
            "path": "memory",
        },
    )
    groups: dict[str, xr.Dataset] = {"/": root}
    dims = {spec.path: spec.dims for spec in layout.arrays()}
    names_of_layers = {"layer": list(layout.layers)}  # not at the root, where a group has that name
    for group in ("gradient", "update", "loss", "learning_rate"):
        names = [path.split("/")[1] for path in dims if path.startswith(f"{group}/")]
        rename = {"value": "learning_rate"} if group == "learning_rate" else {}
        groups[f"/{group}"] = xr.Dataset(
            {rename.get(name, name): (dims[f"{group}/{name}"], rows[f"{group}/{name}"]) for name in names},
            coords=names_of_layers if group == "learning_rate" else None,
        )
    packed = {name: rows["layer/task"][..., i] for i, name in enumerate(TASK_STATISTICS)}
    totals = {name: rows["layer/total"][..., i] for i, name in enumerate(layout.total_statistics)}
    prefix = {name: f"total_{name}" for name in TOTAL_STATISTICS[:3]}
    sizes = [sum(int(np.prod(p.shape)) for p in parameters if p.layer == name) for name in layout.layers]
    shared = [any(p.shared for p in parameters if p.layer == name) for name in layout.layers]
    groups["/layer"] = xr.Dataset(
        {
            **{name: (("step", "layer", "task"), values) for name, values in packed.items()},
            **{prefix.get(name, name): (("step", "layer"), values) for name, values in totals.items()},
            "gram": (("step", "layer", "task", "task_other"), rows["layer/gram"]),
            "shared": ("layer", np.array(shared, dtype=bool)),
            "size": ("layer", np.array(sizes, dtype=np.int64)),
        },
        coords=names_of_layers,
    )
    events = layout.attrs.get("metrics", [])
    if events:
        columns = {"step": np.int64, "epoch": np.int64, "task": str, "split": str, "name": str, "value": np.float64}
        called = {key: f"event_{key}" for key in ("step", "epoch", "task")} | {"name": "metric"}
        table: dict[str, Any] = {
            key: np.array([event[key] for event in events], dtype=dtype) for key, dtype in columns.items()
        }
        groups["/metric"] = xr.Dataset({called.get(key, key): ("event", column) for key, column in table.items()})
    return xr.DataTree.from_dict(groups)


def make_run(updates: Any, gradients: Any = None, **options: Any) -> xr.DataTree:
    """A run in memory; see :func:`make_rows`."""
    return as_tree(*make_rows(updates, gradients, **options))


def write_run(path: Path, layout: Layout, rows: Rows, *, exact: bool = True) -> Path:
    """Write the arrays with the library's own writer; returns ``path``."""
    from dominance.store.writer import RunWriter

    events = layout.attrs.pop("metrics", [])
    writer = RunWriter(path, layout, exact=exact)
    for i in range(len(rows["step"])):
        writer.append({key: values[i] for key, values in rows.items()})
    for event in events:
        writer.append_event(event)
    writer.close()
    return path


def planted_rows(
    seed: int = 0,
    steps: int = 60,
    share: float = 0.9,
    tasks: Sequence[str] = ("price", "rating"),
    layers: Mapping[str, int] | None = None,
    onset: int = 0,
    **options: Any,
) -> tuple[Layout, Rows]:
    """A run in which the first task holds ``share`` of the squared update of every shared coordinate.

    Before the step ``onset`` the tasks are balanced. Layers (default trunk.0: 400, trunk.1: 300) are shared; each task
    has a private layer ``head_<task>`` of 20. Updates are Gaussian around 1e-3 in size; losses fall; gradients of the
    first two tasks lean against each other in the last shared layer (cosine about -0.5) and are independent elsewhere.
    """
    rng = np.random.default_rng(seed)
    sizes = dict(layers or {"trunk.0": 400, "trunk.1": 300})
    shared = sum(sizes.values())
    private = {f"head_{task}": task for task in tasks}
    sizes |= dict.fromkeys(private, 20)
    k, n = len(tasks), sum(sizes.values())
    last = shared - list(sizes.values())[len(sizes) - len(private) - 1]
    updates = rng.standard_normal((steps, k, n)) * 1e-3
    if k > 1:
        lean = updates[:, 1, last:shared]
        updates[:, 1, last:shared] = -0.5 * updates[:, 0, last:shared] + np.sqrt(0.75) * lean
        rest = (1 - share) / (k - 1)
        scale = np.where(np.arange(k) == 0, share, rest) ** 0.5 * k**0.5
        updates[onset:, :, :shared] *= scale[:, None]
    for i in range(k):
        start = shared + 20 * i
        updates[:, np.arange(k) != i, start : start + 20] = 0
    loss = np.exp(-np.arange(steps) / max(steps, 1))[:, None] * np.arange(1, k + 1)
    return make_rows(updates, tasks=tasks, layers=sizes, private=private, loss=loss, **options)


def planted_run(
    seed: int = 0,
    steps: int = 60,
    share: float = 0.9,
    tasks: Sequence[str] = ("price", "rating"),
    layers: Mapping[str, int] | None = None,
    onset: int = 0,
    **options: Any,
) -> xr.DataTree:
    """:func:`planted_rows`, in memory."""
    return as_tree(*planted_rows(seed, steps, share, tasks, layers, onset, **options))


def brute_force_au(updates: Any, decay: float, present: Callable[[int, int], bool] | None = None) -> np.ndarray:
    """AdaTask Eq. 2 at every step, one scalar at a time: (step, task, coord), float64."""
    updates = np.asarray(updates, dtype=np.float64)
    count, k, n = updates.shape
    out = np.zeros((count, k, n))
    for task in range(k):
        for coord in range(n):
            average = 0.0
            for step in range(count):
                delta = float(updates[step, task, coord])
                if present is not None and not present(step, task):
                    delta = 0.0
                average = decay * average + (1 - decay) * delta**2
                out[step, task, coord] = average
    return out
