"""Settings x seeds, against the runs opened one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import planted_rows, write_run

from dominance import final_scores, gcd, open_run, open_study, rau_buckets
from dominance.errors import BadOption, NotARun, NothingRecorded

LEARNT = [("pcgrad", 0.1, 0), ("pcgrad", 0.1, 1), ("uw", 0.1, 0), ("uw", 0.01, 0), ("uw", 0.01, 2)]


def made(path: Path, *, share: float = 0.9, score: float | None = None, steps: int = 12, **attrs: Any) -> Path:
    event = {"step": 3, "epoch": 0, "task": "price", "split": "final", "name": "mse", "value": score}
    metrics = [] if score is None else [event, {**event, "task": "rating", "value": 2 * score}]
    layout, rows = planted_rows(steps=steps, share=share, layers={"trunk": 30}, metrics=metrics)
    logged = layout.attrs.pop("metrics", [])
    layout.attrs |= attrs
    # write_run takes what is to be logged from there; the directions are set besides.
    layout.attrs["metrics"] = logged
    return write_run(path, layout, rows)


def training(method: str, lr: float, seed: int) -> dict[str, Any]:
    options = {"benchmark": "toy", "method": method, "lr": lr, "seed": seed}
    return {"training": options, "benchmark": "toy", "method": method}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for place, (method, lr, seed) in enumerate(LEARNT):
        path = root / f"runs/{method}/{lr}-{seed}"
        made(path, share=0.5 + 0.09 * place, score=1 + place, **training(method, lr, seed))
    return root


def test_settings_that_differ_and_seeds_are_dims(folder: Path) -> None:
    study = open_study(folder)
    assert study["setting"].values.tolist() == ["method=pcgrad, lr=0.1", "method=uw, lr=0.01", "method=uw, lr=0.1"]
    assert study["method"].values.tolist() == ["pcgrad", "uw", "uw"]
    assert study["lr"].values.tolist() == [0.1, 0.01, 0.1]
    assert study["seed"].values.tolist() == [0, 1, 2]
    assert study.attrs["same"] == {"benchmark": "toy"}
    assert study.attrs["settings"] == ["method", "lr"]
    np.testing.assert_array_equal(study["n"], [[1, 1, 0], [1, 0, 1], [1, 0, 0]])
    assert study.attrs["missing"] == 4


def test_each_cell_says_what_its_run_says(folder: Path) -> None:
    study = open_study(folder)
    for place, (method, lr, seed) in enumerate(LEARNT):
        cell = study.isel(setting=int(np.flatnonzero((study.method == method) & (study.lr == lr))[0])).sel(seed=seed)
        with open_run(str(cell["path"].item())) as run:
            assert run.attrs["training"] == training(method, lr, seed)["training"]
            want = run["loss/loss"].to_numpy()[-2:].mean(axis=0)
        np.testing.assert_allclose(cell["loss"], want)
        np.testing.assert_array_equal(cell["score"].sel(split="final", metric="mse"), [1 + place, 2 + 2 * place])
        assert (cell["state"].item(), cell["steps"].item()) == ("complete", 12)
    empty = study.isel(setting=0).sel(seed=2)
    assert empty["path"].item() == empty["state"].item() == ""
    assert np.isnan(empty["loss"]).all()
    assert np.isnan(empty["steps"])


def test_a_grid_has_the_same_cells(folder: Path) -> None:
    study, grid = open_study(folder), open_study(folder, grid=True)
    assert dict(grid.sizes) == {"method": 2, "lr": 2, "seed": 3, "task": 2, "split": 1, "metric": 1}
    assert grid["lr"].values.tolist() == [0.01, 0.1]
    assert grid.attrs["missing"] == 7
    for i in range(study.sizes["setting"]):
        row = study.isel(setting=i, drop=True)
        cell = grid.sel({name: study[name][i].item() for name in ("method", "lr")}, drop=True)
        xr.testing.assert_equal(cell, row)
    assert int(grid["n"].sum()) == len(LEARNT)


def test_chosen_settings_put_runs_into_one_cell_and_none_is_lost(folder: Path) -> None:
    study = open_study(folder, settings=["method", "benchmark"])
    assert study["setting"].values.tolist() == ["method=pcgrad, benchmark=toy", "method=uw, benchmark=toy"]
    np.testing.assert_array_equal(study["n"], [[1, 1, 0], [2, 0, 1]])
    ((shown, others),) = study.attrs["repeated"].items()
    assert {shown, *others} == {str(folder / "runs/uw/0.1-0"), str(folder / "runs/uw/0.01-0")}
    with pytest.raises(BadOption, match="settings: no run has depth; choose from benchmark, method, lr"):
        open_study(folder, settings=["depth"])


def test_of_repeats_the_last_complete_one_is_shown(tmp_path: Path) -> None:
    from dominance.store.writer import RunWriter

    first = made(tmp_path / "a", seed=1)
    layout, _ = planted_rows(steps=1, layers={"trunk": 30})
    layout.attrs["seed"] = 1
    RunWriter(tmp_path / "b", layout).close(complete=False)
    study = open_study(tmp_path)
    assert study["path"].values.tolist() == [[str(first)]]
    assert study.attrs["repeated"] == {str(first): [str(tmp_path / "b")]}
    assert study["setting"].values.tolist() == ["all"]


def test_runs_whose_seed_nobody_set_are_repeats(tmp_path: Path) -> None:
    for place, lr in enumerate((1, 1, 2)):
        made(tmp_path / str(place), argv=["t.py", "--lr", str(lr)], seed=2**60 + place)
    made(tmp_path / "seeded", argv=["t.py", "--lr", "1"], seed=4)
    study = open_study(tmp_path)
    assert study["seed"].values.tolist() == [4, -1, -2]
    np.testing.assert_array_equal(study["n"], [[1, 1, 1], [0, 1, 0]])


def test_a_setting_that_some_lack_and_one_of_a_name_that_is_taken(tmp_path: Path) -> None:
    made(tmp_path / "a", argv=["t.py", "--task", "x"], seed=0)
    made(tmp_path / "b", argv=["t.py", "--depth", "2"], seed=0)
    study = open_study(tmp_path)
    assert study["task of the run"].values.tolist() == ["x", ""]
    np.testing.assert_array_equal(study["depth"], [np.nan, 2])
    grid = open_study(tmp_path, grid=True)
    assert grid["task of the run"].values.tolist() == ["x", ""]
    np.testing.assert_array_equal(grid["depth"], [2, np.nan])
    np.testing.assert_array_equal(grid["n"].squeeze("seed"), [[0, 1], [1, 0]])


def test_a_grid_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(3):
        made(tmp_path / str(place), argv=["t.py", "--a", str(place), "--b", str(place)], seed=0)
    monkeypatch.setattr("dominance.analyse.study.open_study.MOST_CELLS", 8)
    with pytest.raises(BadOption, match="a grid of 9 cells; leave grid out"):
        open_study(tmp_path, grid=True)


ANALYSERS: dict[str, Callable[[Any], xr.Dataset]] = {
    "rau_buckets": lambda runs: rau_buckets(runs, by="all", points=2),
    "gcd": gcd,
}


@pytest.mark.parametrize("name", ANALYSERS)
@pytest.mark.parametrize("dask", [False, True])
def test_analysers_take_a_study_and_parts_of_it(folder: Path, name: str, dask: bool) -> None:
    study = open_study(folder, dask=dask)
    found = ANALYSERS[name](study)
    names = [f"runs/{method}/{lr}-{seed}" for method, lr, seed in LEARNT]
    assert sorted(found["run"].values) == sorted(names)
    want = ANALYSERS[name]({one: open_run(folder / one) for one in found["run"].values})
    xr.testing.assert_identical(found.drop_vars(["method", "lr", "seed"]), want.assign_attrs(left_out_runs={}))
    for one, method, lr, seed in zip(
        found["run"].values, found.method.values, found.lr.values, found.seed.values, strict=True
    ):
        assert one == f"runs/{method}/{lr:g}-{seed}"
    part = ANALYSERS[name](study.where(study.method == "uw", drop=True).sel(seed=0))
    xr.testing.assert_identical(
        part.drop_vars("seed"), found.sel(run=["runs/uw/0.01-0", "runs/uw/0.1-0"]).drop_vars("seed")
    )
    with pytest.raises(BadOption, match="no run in this part"):
        ANALYSERS[name](study.isel(setting=[0]).sel(seed=[2]))


@pytest.mark.parametrize("dask", [False, True])
def test_a_run_of_which_nothing_can_be_said_is_named(tmp_path: Path, dask: bool) -> None:
    made(tmp_path / "a", argv=["t.py", "--k", "1"], seed=0)
    made(tmp_path / "b", argv=["t.py", "--k", "2"], seed=0, steps=0)
    found = rau_buckets(open_study(tmp_path, dask=dask), by="all")
    assert found["run"].values.tolist() == ["a"]
    assert found["k"].values.tolist() == [1]
    assert list(found.attrs["left_out_runs"]) == ["b"]
    assert "no step was recorded" in found.attrs["left_out_runs"]["b"]
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        rau_buckets(open_study(tmp_path, dask=dask).isel(setting=[1]))


def test_final_scores_reads_no_arrays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(folder)
    want = final_scores({name: open_run(folder / name) for name in (f"runs/{m}/{lr}-{s}" for m, lr, s in LEARNT)})
    monkeypatch.setattr("dominance.store.source.StoredRun.open", None)
    found = final_scores(study)
    xr.testing.assert_identical(found.sel(run=want["run"]), want)
    with pytest.raises(NothingRecorded, match="no metric under the split 'val'"):
        final_scores(study, split="val")


def test_a_folder_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "x/data.zarr").mkdir(parents=True)
    with pytest.raises(NotARun, match="no run below it can be read \\(x: "):
        open_study(tmp_path)


def test_without_dask(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dominance.store.reader.find_spec", lambda name: None)
    with pytest.raises(BadOption, match="dask is not installed"):
        open_study(folder, dask=True)
