from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import xarray as xr
from runs import make_rows, make_run, planted_rows, write_run

from dominance import gcd, open_run, open_runs, rau_buckets, summary
from dominance.analyse.joining import joined, over_runs
from dominance.analyse.runs import runs_of
from dominance.errors import BadOption
from dominance.schema import Parameter

STATISTICS = ("update/update", "gradient/total", "layer/gram", "layer/update_sq", "loss/loss", "loss/total")


def event(step: int) -> dict[str, Any]:
    return {"step": step, "epoch": 0, "task": "a", "split": "test", "name": "auc", "value": step / 10}


def write(path: Path, steps: list[int], *, seed: int = 0, events: int = 0, reverse: bool = False) -> Path:
    """A run of three tasks, two shared layers and a private one, whose contents follow from the seed and the step."""
    count = 20
    updates = np.random.default_rng(seed).standard_normal((count, 3, 12)).astype(np.float32)
    order, tasks = [0, 1, 2], ["a", "b", "c"]
    layers, columns = [("x", 4), ("head", 3), ("y", 5)], np.arange(12)
    if reverse:
        order, tasks, layers = order[::-1], tasks[::-1], layers[::-1]
        columns = np.r_[7:12, 4:7, 0:4]
    loss = np.arange(count)[:, None] + np.array([0.1, 0.2, 0.3])
    layout, rows = make_rows(
        updates[:, order][..., columns],
        tasks=tasks,
        layers=dict(layers),
        private={"head": "a"},
        loss=loss[:, order],
        metrics=[event(step) for step in range(events)],
    )
    return write_run(path, layout, {key: values[steps] for key, values in rows.items()})


def same(one: Any, other: Any) -> None:
    """Equal values at equal names, whatever the order of tasks and layers."""
    for path in STATISTICS:
        group, name = path.split("/")
        ours, theirs = (run[group].to_dataset(inherit=True)[name] for run in (one, other))
        for dim in ("task", "task_other", "layer"):
            if dim in theirs.dims:
                ours = ours.sel({dim: theirs[dim].values})
        if "coord" in ours.dims:
            np.testing.assert_array_equal(ours["parameter"], theirs["parameter"])
            np.testing.assert_array_equal(ours["shared"], theirs["shared"])
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(one["step"], other["step"])
    np.testing.assert_array_equal(one["skipped"], other["skipped"])
    for name in ("shared", "size"):
        np.testing.assert_array_equal(one["layer"][name].sel(layer=other["layer"].layer), other["layer"][name])


def test_one_run_is_itself(tmp_path: Path) -> None:
    run = open_run(write(tmp_path / "alone", [0, 1]))
    assert list(runs_of(run)) == ["alone"]
    assert runs_of(run)["alone"] is run
    assert list(runs_of(make_run(np.ones((1, 2, 1))))) == ["memory"]


def test_a_tree_of_runs_falls_apart_into_the_runs(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "first", [0, 1, 2, 5]),
        write(tmp_path / "second", [1, 5, 7], seed=1, events=2),
        write(tmp_path / "third", [2], seed=2, events=3),
    ]
    split: dict[str, Any] = dict(runs_of(open_runs(paths)))
    assert list(split) == ["first", "second", "third"]
    for path in paths:
        run, alone = split[path.name], cast(Any, open_run(path))
        same(run, alone)
        assert "run" not in run.dims
        assert "run" not in run.coords
        assert run.attrs == alone.attrs
        assert set(run.children) == set(alone.children)
        if "metric" in alone.children:
            xr.testing.assert_equal(run["metric"].to_dataset(), alone["metric"].to_dataset())
        xr.testing.assert_equal(rau_buckets(run), rau_buckets(alone))
        assert summary(run).equals(summary(alone))


def test_tasks_and_layers_in_another_order(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first", [0, 1]), write(tmp_path / "second", [1, 3], seed=1, reverse=True)
    run: Any = runs_of(open_runs([first, second]))["second"]
    alone: Any = open_run(second)
    assert alone.attrs["tasks"] == ["c", "b", "a"]
    assert run.attrs["tasks"] == run["task"].values.tolist() == ["a", "b", "c"]
    assert run.attrs["layers"] == run["layer"].layer.values.tolist() == ["x", "head", "y"]
    for name in ("loss/loss", "layer/gram", "layer/update_sq"):
        group, variable = name.split("/")
        ours, theirs = (each[group].to_dataset(inherit=True)[variable] for each in (run, alone))
        np.testing.assert_array_equal(ours.sel({dim: theirs[dim].values for dim in theirs.dims}), theirs)
    # positions in the attributes are those of the arrays: a summary is by name
    table, truth = gcd(run), gcd(alone)
    assert table.layer.values.tolist() == ["x", "y"]
    where = {dim: truth[dim].values for dim in truth.gcd.dims}
    np.testing.assert_array_equal(table.gcd.sel(where), truth.gcd)


def test_since_when_a_task_is_known_follows_the_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / "first", [0, 1]), write(tmp_path / "second", [0, 1], reverse=True)]
    runs = open_runs(paths)
    runs.attrs["runs"]["second"] = {**runs.attrs["runs"]["second"], "task_since": [9, 0, 0]}
    assert runs_of(runs)["second"].attrs["task_since"] == [0, 0, 9]


def test_what_a_run_shares_is_its_own(tmp_path: Path) -> None:
    updates = np.ones((2, 2, 6), dtype=np.float32)

    def saved(name: str, reach: tuple[str, ...]) -> Path:
        parameters = [Parameter("x.weight", "x", (4,), ("a", "b")), Parameter("y.weight", "y", (2,), reach)]
        return write_run(tmp_path / name, *make_rows(updates, parameters=parameters))

    split: dict[str, Any] = dict(runs_of(open_runs([saved("one", ("a",)), saved("both", ("a", "b"))])))
    assert split["one"]["layer/shared"].values.tolist() == [True, False]
    assert split["both"]["layer/shared"].values.tolist() == [True, True]
    assert split["both"]["layer/size"].values.tolist() == [4, 2]
    assert [int(run["shared"].sum()) for run in split.values()] == [4, 6]
    assert int(split["both"]["update"].to_dataset(inherit=False)["shared"].sum()) == 6
    assert rau_buckets(split["both"]).layer.values.tolist() == ["x", "y"]


def test_selections_of_a_tree(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / name, steps, seed=i) for i, (name, steps) in enumerate({"p": [0, 1], "q": [1, 2]}.items())
    ]
    runs = open_runs(paths)
    assert list(runs_of(runs.sel(run=["q"]))) == ["q"]
    for one in (runs.sel(run="q"), runs.isel(run=1)):
        same(runs_of(one)["q"], open_run(paths[1]))
    assert runs_of(runs.sel(step=[1]))["p"]["step"].values.tolist() == [1]


def test_a_mapping_or_a_sequence_of_runs(tmp_path: Path) -> None:
    one, other = open_run(write(tmp_path / "one", [0])), make_run(np.ones((2, 2, 3)))
    assert list(runs_of({"x": one, "y": other})) == ["x", "y"]
    assert runs_of({"x": one, "y": other})["y"] is other
    assert list(runs_of([one, other])) == list(runs_of(iter((one, other)))) == ["one", "memory"]
    numbered: Any = {1: one}
    assert list(runs_of(numbered)) == ["1"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda run: [run, run], "two runs are called memory; name them"),
        (lambda run: [], "there is no run"),
        (lambda run: {}, "there is no run"),
        (lambda run: "runs/a", r"'runs/a' is a path, no run; open it first: open_run\('runs/a'\)"),
        (lambda run: Path("runs/a"), "'runs/a' is a path"),
        (lambda run: ["runs/a", "runs/b"], "'runs/a' is a path"),
        (lambda run: {"a": Path("runs/a")}, "'runs/a' is a path"),
        (lambda run: rau_buckets(run), "this is a Dataset, no run; give what open_run returns"),
        (lambda run: {"a": rau_buckets(run)}, "a is a Dataset, no run"),
        (lambda run: [run, 3], "one of the runs is a int, no run"),
        (lambda run: None, "this is a NoneType, no run"),
    ],
)
def test_what_is_no_run(make: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        runs_of(make(make_run(np.ones((2, 2, 3)))))


def test_several_runs_inside_a_mapping(tmp_path: Path) -> None:
    runs = open_runs([write(tmp_path / "p", [0]), write(tmp_path / "q", [1])])
    with pytest.raises(BadOption, match="all holds several runs"):
        runs_of({"all": runs})


# over_runs


@over_runs
def measured(run: Any, *, factor: float = 1.0) -> xr.Dataset:
    """Numbers, counts, truth values and names along step and layer."""
    loss, layers = run["loss"].to_dataset(inherit=True)["loss"], run["layer"].to_dataset()
    return xr.Dataset(
        {
            "loss": loss * factor,
            "size": layers["size"],
            "shared": layers["shared"],
            "owner": ("layer", [f"owner of {name}" for name in layers.layer.values]),
        },
        attrs={"steps": run.sizes["step"], "unit": "1", "factor": factor} | run.attrs.get("more", {}),
    )


def test_one_run_is_analysed_as_ever() -> None:
    run = make_run(np.ones((2, 2, 3)))
    found = measured(run, factor=2.0)
    assert "run" not in found.dims
    assert (found.loss == 2).all()
    xr.testing.assert_identical(found, measured(run=run, factor=2.0))  # type: ignore[call-arg]
    assert measured.__doc__ is not None
    assert "truth values" in measured.__doc__


def test_results_are_joined_by_name(tmp_path: Path) -> None:
    first = make_run(np.ones((3, 2, 6)), layers={"y": 2, "x": 4}, steps=[0, 1, 5], loss=np.arange(6).reshape(3, 2))
    second = make_run(
        np.ones((2, 2, 7)), layers={"x": 4, "b": 3}, steps=[1, 3], tasks=["c", "a"], private={"b": "a"},
        loss=10 + np.arange(4).reshape(2, 2),
    )  # fmt: skip
    found = measured({"one": first, "two": second}, factor=2.0)
    assert all(variable.dims[0] == "run" for variable in found.data_vars.values())
    assert found.run.values.tolist() == ["one", "two"]
    assert found.step.values.tolist() == [0, 1, 3, 5]
    assert found.task.values.tolist() == ["a", "b", "c"]
    assert found.layer.values.tolist() == ["y", "x", "b"]
    nan = np.nan
    np.testing.assert_array_equal(found.loss.sel(run="one", task="a"), [0, 4, nan, 8])
    np.testing.assert_array_equal(found.loss.sel(run="two", task="a"), [nan, 22, 26, nan])
    np.testing.assert_array_equal(found.loss.sel(run="two", task="c"), [nan, 20, 24, nan])
    np.testing.assert_array_equal(found["size"], [[2, 4, nan], [nan, 4, 3]])
    np.testing.assert_array_equal(found["shared"], [[1, 1, nan], [nan, 1, 0]])
    assert found["shared"].dtype == np.float64
    assert found.owner.values.tolist() == [["owner of y", "owner of x", ""], ["", "owner of x", "owner of b"]]
    assert found.attrs == {"steps": [3, 2], "unit": "1", "factor": 2.0}


def test_equal_runs_keep_their_types() -> None:
    run = make_run(np.ones((2, 2, 3)))
    found = measured({"one": run, "two": run})
    assert (found["size"].dtype.kind, found["shared"].dtype.kind) == ("i", "b")


def test_an_attribute_that_one_run_lacks() -> None:
    one, other = make_run(np.ones((2, 2, 3))), make_run(np.ones((2, 2, 3)))
    other.attrs["more"] = {"note": "here"}
    assert measured({"one": one, "two": other}).attrs["note"] == [None, "here"]


def test_scalar_coordinates_differ_by_run() -> None:
    last = over_runs(lambda run: measured(run)[["loss"]].isel(step=-1))
    found = last({"one": make_run(np.ones((3, 2, 2))), "two": make_run(np.ones((5, 2, 2)))})
    assert found.step.values.tolist() == [2, 4]
    assert found.loss.dims == ("run", "task")


def test_from_a_tree_of_open_runs(tmp_path: Path) -> None:
    paths = [write(tmp_path / "p", [0, 1]), write(tmp_path / "q", [1, 2], seed=3, reverse=True)]
    found = measured(open_runs(paths))
    for path in paths:
        truth = measured(open_run(path)).loss
        ours = found.loss.sel(run=path.name, step=truth.step, task=truth.task)
        np.testing.assert_array_equal(ours, truth)
    assert "run" not in measured(open_runs(paths).isel(run=0)).dims


def test_runs_that_keep_other_coordinates() -> None:
    results = [xr.Dataset({"au": ("coord", np.ones(size))}) for size in (2, 3)]
    with pytest.raises(BadOption, match="different numbers of coord; analyse them one by one"):
        joined({"a": results[0], "b": results[1]})
    assert joined({"a": results[0], "b": results[0]}).au.shape == (2, 2)


def test_runs_of_other_tasks_from_disk(tmp_path: Path) -> None:
    """A study holds single-task runs as well."""
    layout, rows = planted_rows(steps=2)
    joint = open_run(write_run(tmp_path / "joint", layout, rows))
    single = open_run(write_run(tmp_path / "single", *planted_rows(steps=3, tasks=["rating"])))
    found = measured([joint, single])
    assert found.loss.shape == (2, 3, 2)
    assert np.isnan(found.loss.sel(run="single", task="price")).all()
    assert np.isfinite(found.loss.sel(run="single", task="rating")).all()
