"""Every analysis that streams a run gives the same on dask, to the bit: whatever the chunks, and in other processes."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import planted_rows, planted_run, write_run

from dominance import au, lr_dominance, noise_scale, open_run, open_runs, open_study, rau, rau_buckets
from dominance.analyse.rau_buckets import bucket_tables
from dominance.analyse.runs import runs_of
from dominance.analyse.tiling import Blocks, TilePlan, over_tiles
from dominance.errors import BadOption, CorruptRun, NothingRecorded
from dominance.store.reader import array

ANALYSERS: dict[str, Callable[[xr.DataTree], xr.Dataset]] = {
    "au": lambda run: au(run, attribution="both"),
    "rau": lambda run: rau(run, at=[3, 20]),
    "rau_buckets": lambda run: rau_buckets(run, points=7),
    "rau_buckets of both": lambda run: rau_buckets(run, by="all", attribution="both", points=3),
    "noise_scale": noise_scale,
    "lr_dominance": lambda run: lr_dominance(run, optimizer={"class": "Adagrad", "eps": 0}),
}
STEPS = 70


def rows_of_a_run() -> tuple[Any, dict[str, np.ndarray]]:
    layout, rows = planted_rows(steps=STEPS)
    layout.attribution, rows["update/solo"] = "both", rows["update/update"][:, ::-1] * np.float32(1.5)
    rows["layer/task"][..., 3] = 1.0  # finite: all that is asked of it
    return layout, rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stored chunks along coord, the last one shorter, and two along step."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dominance.store.grid.COORD_CHUNK", 300)
        patch.setattr("dominance.store.grid._LONGEST_BLOCK", 64)
        patch.setattr("dominance.store.grid._LONGER_CHUNK", 0)
        write_run(folder, *rows_of_a_run())
    stored = array(open_run(folder), "update/update")
    assert stored is not None
    assert stored.chunks == (64, 1, 247)
    assert stored.shape == (STEPS, 2, 740)
    return folder


@pytest.fixture(scope="module")
def truth(path: Path) -> dict[str, xr.Dataset]:
    run = open_run(path)
    return {name: analyse(run) for name, analyse in ANALYSERS.items()}


FORMS: dict[str, Callable[[Path], xr.DataTree]] = {
    "chunks as stored": lambda path: open_run(path, chunks={}),
    "narrow chunks": lambda path: open_run(path, chunks={"coord": 17}),
    "one chunk each": lambda path: open_run(path).chunk(),
    "chunked across": lambda path: open_run(path).chunk({"step": 9, "coord": 100}),
    "selected after chunking": lambda path: open_run(path).chunk({"coord": 100}).isel(step=slice(None, None, 1)),
    "in memory": lambda path: open_run(path).load().chunk({"step": 11, "coord": 130}),
}


@pytest.mark.parametrize("form", FORMS)
def test_dask_changes_nothing(path: Path, truth: dict[str, xr.Dataset], form: str) -> None:
    run = FORMS[form](path)
    assert run["update/update"].chunks is not None
    with dask.config.set(scheduler="threads" if form in ("chunks as stored", "in memory") else "synchronous"):
        for name, analyse in ANALYSERS.items():
            xr.testing.assert_identical(analyse(run), truth[name])


@given(st.integers(2, 15), st.integers(5, 70), st.integers(1, 3), st.integers(100, 10_000), st.booleans())
@settings(deadline=None, max_examples=15)
def test_no_plan_and_no_chunking_changes_anything(
    steps: int, coords: int, threads: int, memory: int, on_dask: bool
) -> None:
    run = planted_run(steps=12, share=0.7, layers={"a": 13, "b": 40})
    (truth,) = bucket_tables(run, ["layer"], points=5)
    if on_dask:
        run["update/update"] = run["update/update"].chunk({"step": steps, "coord": coords})
    plan = TilePlan(steps=steps, coords=coords, memory=memory, threads=threads)
    with dask.config.set(scheduler="synchronous"):
        (found,) = bucket_tables(run, ["layer"], points=5, plan=plan)
    xr.testing.assert_identical(found, truth)


def tile_and_process(coords: slice, blocks: Blocks) -> tuple[slice, list[slice], int]:
    return coords, [steps for steps, _ in blocks], os.getpid()


def test_a_task_is_a_tile_with_the_steps_inside(path: Path) -> None:
    run = open_run(path, chunks={"coord": 10, "step": 3})
    tasks: list[str] = []

    class Counting(dask.callbacks.Callback):
        def _posttask(self, key: Any, *_: Any) -> None:
            tasks.append(str(key))

    with dask.config.set(scheduler="synchronous"), Counting():
        found = over_tiles(run, ["update/update"], tile_and_process, wanted=np.ones(740, dtype=bool))
    assert [coords for coords, _, _ in found] == [slice(0, 247), slice(247, 494), slice(494, 740)]
    assert all(steps == [slice(0, 64), slice(64, 70)] for _, steps, _ in found)
    assert len([key for key in tasks if key.startswith("_tile")]) == 3
    assert len(tasks) <= 4  # and what they share


def test_a_run_of_one_tree_is_read_as_if_it_were_alone(path: Path) -> None:
    tree = open_runs({"x": path, "y": path})
    for run in runs_of(tree).values():
        assert array(run, "update/update") is not None
        assert array(run.isel(task=[1, 0]), "update/update") is None
        assert array(run.isel(step=slice(1, None)), "update/update") is None


def test_damage_is_told_through_dask(path: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=5))
    chunk = next((run / "data.zarr/update/update").glob("c.*"))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptRun, match="checksum"):
        rau(open_run(run, chunks={}))


def test_chunks_that_cannot_be(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadOption, match="chunks: there is no dim layer; choose from step, task, coord"):
        open_run(path, chunks={"layer": 1})
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setattr("dominance.store.reader.find_spec", lambda name: None)
    with pytest.raises(BadOption, match=r"dask is not installed; pip install 'dask\[distributed\]'"):
        open_run(path, chunks={})


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


def test_other_processes_give_the_same(path: Path, truth: dict[str, xr.Dataset], cluster: Any) -> None:
    with cluster.as_current():
        run = open_run(path, chunks={})
        pids = {pid for _, _, pid in over_tiles(run, ["update/update"], tile_and_process, wanted=np.ones(740, bool))}
        assert pids <= set(cluster.run(os.getpid).values())
        assert os.getpid() not in pids
        for name, analyse in ANALYSERS.items():
            xr.testing.assert_identical(analyse(run), truth[name])
        in_memory = open_run(path)
        in_memory["update/update"] = in_memory["update/update"].load().chunk({"step": 40, "coord": 300})
        xr.testing.assert_identical(ANALYSERS["rau_buckets"](in_memory), truth["rau_buckets"])


def test_errors_come_back_from_other_processes(path: Path, tmp_path: Path, cluster: Any) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=5))
    chunk = next((run / "data.zarr/update/update").glob("c.*"))
    chunk.write_bytes(b"")
    with cluster.as_current(), pytest.raises(CorruptRun, match=r"checksum.*--verify") as caught:
        rau(open_run(run, chunks={}))
    assert caught.value.fix
    with cluster.as_current(), pytest.raises(NothingRecorded):
        rau(open_run(run, chunks={}), attribution="both")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four runs."""
    root = tmp_path_factory.mktemp("study")
    for seed in range(4):
        write_run(root / f"run-{seed}", *planted_rows(seed=seed, share=0.9 - 0.1 * seed, attrs={"seed": seed}))
    return root


STUDIED: dict[str, Callable[[Any], xr.Dataset]] = {
    "au": au,
    "rau": lambda study: rau(study, at=[3, 20]),
    "rau_buckets": lambda study: rau_buckets(study, points=7),
}


def test_a_study_is_one_graph_with_a_task_for_each_run(folder: Path) -> None:
    graphs: list[list[str]] = []

    class Counting(dask.callbacks.Callback):
        def _start(self, graph: Any) -> None:
            graphs.append([str(key) for key in graph])

    truth = {name: analyse(open_study(folder)) for name, analyse in STUDIED.items()}
    with dask.config.set(scheduler="threads"), Counting():
        for name, analyse in STUDIED.items():
            xr.testing.assert_identical(analyse(open_study(folder, dask=True)), truth[name])
    assert len(graphs) == len(STUDIED)
    assert all(len([key for key in graph if key.startswith("_of_path")]) == 4 for graph in graphs)
    for seed in range(4):
        alone = au(open_run(folder / f"run-{seed}"))["au"]
        np.testing.assert_array_equal(truth["au"]["au"].sel(run=f"run-{seed}"), alone)


def test_a_study_on_a_cluster_gives_the_same(folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)  # the workers stand elsewhere
    study = open_study(folder.name, dask=True)
    truth = {name: analyse(open_study(folder.name)) for name, analyse in STUDIED.items()}
    monkeypatch.setattr("dominance.analyse.joining.open_run", None)  # here, not in the workers
    with cluster.as_current():
        for name, analyse in STUDIED.items():
            xr.testing.assert_identical(analyse(study), truth[name])


def test_of_a_study_one_run_is_in_memory_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living: list[Any] = []
    most = []

    def opened(path: str) -> xr.DataTree:
        run = open_run(path)
        living.append(weakref.ref(run["coord_weight"].values))
        most.append(sum(each() is not None for each in living))
        return run

    monkeypatch.setattr("dominance.analyse.joining.open_run", opened)
    gc.disable()
    try:
        rau_buckets(open_study(folder), by="all")
    finally:
        gc.enable()
    assert most == [1, 1, 1, 1]
