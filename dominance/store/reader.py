"""open_run: a run directory as an xarray.DataTree whose large arrays are read when they are used.

A run may be opened while it grows: the tree holds the steps that were committed then; open it again for more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import xarray as xr

from dominance.errors import BadOption
from dominance.store.files import Files, LocalFiles, RunPath, files_of
from dominance.store.lazy import RunArray, behind
from dominance.store.outline import read_metrics
from dominance.store.source import StoredRun
from dominance.store.stacked import StackedRuns
from dominance.store.tree import build, of_metrics


def open_run(
    path: RunPath, *, chunks: Mapping[str, int] | None = None, storage_options: Mapping[str, Any] | None = None
) -> xr.DataTree:
    """Open a run.

    Args:
        path: the run directory, or a link to it such as runs/latest; or a URL of it that fsspec knows, such as
            "s3://bucket/runs/first"; or a Zarr store or a store of obstore, whose root is the run directory.
        chunks: make the arrays with the dim coord dask's, in chunks as they are stored, ``{}``, or of other lengths,
            ``{"coord": 10_000}``. Analyses then run on dask, and on the cluster where a ``distributed.Client`` is
            active, one task for each stored chunk along coord; each opens the run itself, so workers must reach
            ``path``. ``open_run(path).chunk()`` does the same, but makes all small arrays dask's, too, which is slower.
        storage_options: with a URL: options of its file system in fsspec, such as ``{"anon": True}``.

    Returns:
        A tree with the dims step, task, task_other, layer, coord (and statistics unpacked):

        - root: coordinates ``step``, ``task``, ``task_other``, which all groups inherit; ``epoch``, ``time`` (step);
          along coord, here and in the two groups that follow, ``parameter``, ``coord_layer``, ``index`` (flat, inside
          the parameter), ``shared`` (two tasks reach the parameter), ``coord_weight`` (coordinates that this one
          stands for). Variables ``skipped``, ``closure`` (step). ``layer`` is in the groups that have that dim.
        - /gradient: ``gradient`` (step, task, coord), ``total`` (step, coord)
        - /update: ``update``, and ``solo`` where recorded (step, task, coord); ``total``, ``residual``,
          ``unattributed``, ``decay``, ``outside`` (step, coord); runs of schema 1 have no ``outside``
        - /layer: TASK_STATISTICS (step, layer, task), TOTAL_STATISTICS (step, layer; ``total_gradient_sq``,
          ``total_update_sq``, ``total_gradient_dot_update``, the others by their names), ``gram``
          (step, layer, task, task_other), ``shared`` and ``size`` (layer): any parameter shared, number of scalars
        - /loss: ``loss``, ``weight`` (step, task), ``total`` (step); /learning_rate: ``learning_rate`` (step, layer)
        - /metric, where anything was logged: ``event_step``, ``event_epoch``, ``event_task``, ``split``, ``metric``,
          ``value`` (event).
        - /unrecorded_loss, where losses of steps that are not recorded were read: ``event_step``, ``event_epoch``,
          ``event_task``, ``loss`` (event); ``dominance.loss_curves`` has them beside the others.
        - /probe, where any was made: a group for each, such as /probe/noise, with what ``noise_importance`` returns.

        ``attrs`` are the run's root attributes and ``path``. dtypes are those of dominance.schema.

    Raises:
        NotARun: there is nothing at ``path``, or no run.
        SchemaTooNew: a newer dominance wrote it.
        CorruptRun: an array is missing or shorter than the committed steps; or, when an array is used, a checksum
            does not match.
        Unreachable: the store does not answer, or needs a package that is not installed.
        BadOption: ``path`` is none of these, or ``chunks`` names another dim, or needs dask, which is missing.
    """
    check_chunks(chunks)
    run = build(StoredRun.open(files_of(path, storage_options)))
    return run if chunks is None else _chunked(run, chunks)


def open_runs(
    paths: Sequence[RunPath] | Mapping[str, RunPath], *, storage_options: Mapping[str, Any] | None = None
) -> xr.DataTree:
    """Open several runs as one tree, whose variables have a leading dim ``run``.

    Runs are named by the mapping's keys, or by the last part of their paths. Steps are joined: a step that a run lacks
    is NaN there (-1 in integers); where a run holds a step twice (it was resumed from an older checkpoint) the later
    row counts. ``epoch``, ``time``, ``skipped`` and ``closure`` are (run, step). Tasks and layers must have the same
    names; they take the order of the first run. The per-coordinate groups and coordinates are there only when all
    runs keep the same coordinates of the same parameters. /metric is (run, event), padded; /probe is
    left out. ``shared`` and ``size`` are those of the first run. ``attrs["runs"]`` maps each name to the attributes of
    its run.

    Raises:
        BadOption: no path, two runs of one name, or tasks or layers that differ; says which run.
        NotARun, SchemaTooNew, CorruptRun, Unreachable: as open_run.
    """
    named = _named(paths, storage_options)
    return build(StackedRuns.of({name: StoredRun.open(files) for name, files in named.items()}))


def open_metrics(path: str) -> xr.DataTree:
    """The attributes of a local run, without those that grow with the model, and /metric: a tenth of the time.

    Raises:
        NotARun, SchemaTooNew, CorruptRun, Unreachable: as open_run.
    """
    attrs, events = read_metrics(Path(path))
    return of_metrics({**attrs, "path": path}, events)


def check_chunks(chunks: Mapping[str, int] | None) -> None:
    """Raise BadOption where chunks name another dim than those of a run's arrays, or need dask, which is missing."""
    if chunks is None:
        return
    if find_spec("dask") is None:
        raise BadOption("chunks: dask is not installed", fix="pip install 'dask[distributed]'")
    if unknown := set(chunks) - {"step", "task", "coord"}:
        raise BadOption(f"chunks: there is no dim {min(unknown)}", fix="choose from step, task, coord")


def _chunked(run: xr.DataTree, chunks: Mapping[str, int]) -> xr.DataTree:
    for group in ("gradient", "update"):
        node: Any = run[group]
        cut = {}
        for name, array in node.dataset.data_vars.items():
            found = behind(array.variable)
            stored = () if found is None else zip(map(str, array.dims), found.grid.chunk, strict=True)
            cut[name] = array.variable.chunk({dim: chunks.get(dim, length) for dim, length in stored})
        node.dataset = node.to_dataset(inherit=False).assign(cut)
    return run


def _named(
    paths: Sequence[RunPath] | Mapping[str, RunPath], storage_options: Mapping[str, Any] | None
) -> dict[str, Files]:
    if isinstance(paths, str | os.PathLike):
        raise BadOption(f"open_runs needs a list of paths, not {os.fspath(paths)!r}", fix="use open_run for one run")
    if isinstance(paths, Mapping):
        named = {str(name): files_of(path, storage_options) for name, path in paths.items()}
    else:
        named = {}
        for files in (files_of(path, storage_options) for path in paths):
            name = files.root.resolve().name if isinstance(files, LocalFiles) else PurePath(files.where).name
            if name in named:
                raise BadOption(
                    f"two runs are called {name}: {named[name].where} and {files.where}",
                    fix="name them: open_runs({'a': ..., 'b': ...})",
                )
            named[name] = files
    if not named:
        raise BadOption("open_runs got no run", fix="give at least one path")
    return named


def array(run: xr.DataTree, path: str) -> RunArray | None:
    """The Zarr array behind a variable of a tree that ``open_run`` made, for reading without xarray between.

    Args:
        run: the tree.
        path: of the variable in the tree, such as "update/update" or "gradient/total".

    Returns:
        A ``zarr.Array`` of dims (step, [task,] coord), or None when the variable is not exactly one array in a store:
        selected, computed, stacked from several runs (unless one of them is chosen), or in memory. Where the run grew
        meanwhile it is longer than the tree: read no further than ``run.sizes["step"]``. Aligned blocks (``.chunks``)
        read fastest.

    Raises:
        KeyError: the tree has no such variable.
    """
    group, _, name = path.rpartition("/")
    found = behind((run[group] if group else run).dataset[name].variable)
    return None if found is None else found.stored
