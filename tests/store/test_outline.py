"""The outline of a run against the run as it is opened whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from runs import planted_rows, write_run

from dominance import open_run
from dominance.errors import CorruptRun, DominanceError, NotARun
from dominance.schema import Layout
from dominance.store.outline import find_runs, read_metrics, read_outline
from dominance.store.reader import open_metrics
from dominance.store.writer import RunWriter


def events(values: list[tuple[int, str, str, str, float]]) -> list[dict[str, object]]:
    names = ("step", "split", "task", "name", "value")
    return [{"epoch": 0, **dict(zip(names, each, strict=True))} for each in values]


LOGGED = events(
    [
        (1, "val", "price", "mse", 3.0),
        (2, "val", "price", "mse", 2.0),
        (9, "val", "price", "mse", 9.0),  # gone over again: step 4 comes after it
        (4, "val", "price", "mse", 1.5),
        (4, "test", "rating", "auc", 0.5),
    ]
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, rows = planted_rows(steps=23, layers={"trunk": 5}, metrics=LOGGED)
    rows["loss/loss"][20, 1] = np.nan
    return write_run(tmp_path_factory.mktemp("runs") / "run", layout, rows)


def test_it_has_the_last_of_each_metric_and_the_last_losses(path: Path) -> None:
    found = read_outline(path, part=5)
    assert found.metrics == {("val", "price", "mse"): 1.5, ("test", "rating", "auc"): 0.5}
    with open_run(path) as run:
        np.testing.assert_array_equal(found.losses, run["loss/loss"].to_numpy()[-4:])
        assert found.attrs == {k: v for k, v in run.attrs.items() if k not in ("parameters", "layers", "path")}


def test_what_is_opened_for_metrics_has_those_of_the_whole_run(path: Path) -> None:
    with open_run(path) as run:
        few = open_metrics(str(path))
        assert few["metric"].to_dataset().identical(run["metric"].to_dataset(inherit=False))
        assert few.attrs["path"] == run.attrs["path"]


def test_a_run_that_grows_is_read_as_far_as_it_is_committed(tmp_path: Path) -> None:
    layout, rows = planted_rows(steps=12, layers={"trunk": 5})
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    for i in range(7):
        writer.append({key: values[i] for key, values in rows.items()})
    writer.append_event({**LOGGED[0], "task": None})
    writer.flush()
    found = read_outline(tmp_path / "run", part=1)
    assert found.attrs["status"] == "recording"
    np.testing.assert_array_equal(found.losses, rows["loss/loss"][:7])
    assert found.metrics == {("val", "", "mse"): 3.0}
    writer.close()


def test_a_task_that_comes_later_has_nan_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, rows = planted_rows(steps=10, tasks=["a"], layers={"trunk": 5})
    layout = Layout(**{**vars(layout), "tasks": ["a"]})
    monkeypatch.setattr("dominance.store.grid._TASK_CHUNK", 1)
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    for i in range(10):
        if i == 6:
            writer.grow_tasks(["b", "c"])
        row = {"step": i, "loss/loss": rows["loss/loss"][i] if i < 6 else np.array([1.0, 2.0, i])}
        writer.append(row)
    writer.close()
    losses = read_outline(tmp_path / "run", part=1).losses
    assert losses.shape == (10, 3)
    assert np.isnan(losses[:6, 1:]).all()
    np.testing.assert_array_equal(losses[6:, 2], [6, 7, 8, 9])
    np.testing.assert_array_equal(losses[:6, :1], rows["loss/loss"][:6])


@pytest.mark.parametrize("chunk", ["loss/loss/c.0.0", "metric/value/c.0"])
@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_damage_is_told(path: Path, tmp_path: Path, chunk: str, damage: str) -> None:
    copy = tmp_path / "run"
    for file in path.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(path)).parent.mkdir(parents=True, exist_ok=True)
            (copy / file.relative_to(path)).write_bytes(file.read_bytes())
    victim = copy / "data.zarr" / chunk
    data = victim.read_bytes()
    victim.unlink() if damage == "gone" else victim.write_bytes(data[:-6] + bytes([data[-6] ^ 1]) + data[-5:])
    with pytest.raises(CorruptRun, match="missing" if damage == "gone" else "checksum"):
        read_outline(copy, part=5)


@pytest.mark.parametrize(
    "nodes",
    [
        {"loss/loss": 3},
        {"loss/loss": {}},
        [],
        {"metric/value": {"shape": [10**9], "data_type": "float64"}},
    ],
)
def test_consolidated_metadata_of_a_stranger_is_checked(path: Path, tmp_path: Path, nodes: object) -> None:
    copy = write_run(tmp_path / "run", *planted_rows(steps=3, layers={"trunk": 5}, metrics=LOGGED))
    root = copy / "data.zarr/zarr.json"
    document = json.loads(root.read_bytes())
    document["consolidated_metadata"]["metadata"] = nodes
    root.write_text(json.dumps(document))
    if nodes:
        with pytest.raises(CorruptRun, match="cannot be read"):
            read_outline(copy, part=5)
    else:  # none that can be used: the arrays' own are read
        assert read_outline(copy, part=5).losses.shape == (1, 2)


def test_runs_are_found_at_any_depth_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("a/run-10", "a/run-9", "b", "deep/er/x", ".hidden/x", "b/inside"):
        (tmp_path / name / "data.zarr").mkdir(parents=True)
    (tmp_path / "latest").symlink_to("b")
    (tmp_path / "a/file").write_text("")
    found = [str(run.relative_to(tmp_path)) for run in find_runs(tmp_path)]
    assert found == ["a/run-9", "a/run-10", "b", "deep/er/x"]
    assert list(find_runs(tmp_path / "b")) == [tmp_path / "b"]
    assert list(find_runs(tmp_path / "nowhere")) == []


def test_what_is_no_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "x/data.zarr").mkdir(parents=True)
    with pytest.raises(NotARun):
        read_outline(tmp_path / "x", part=5)
    with pytest.raises(DominanceError):
        read_metrics(tmp_path / "x")
