"""What a run's metadata may hold: a value that no writer wrote is refused in one line, and takes no memory or time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_rows import make_layout, make_row, write_run

from dominance.errors import BadOption, CorruptRun, DominanceError, Unreachable
from dominance.store.codec import encode
from dominance.store.metadata import check_root, check_told
from dominance.store.probes import write_probe
from dominance.store.reader import open_run
from dominance.store.typed import Unfit, parse
from dominance.store.writer import RunWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", make_layout(), 5)


def change(path: Path, name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    file = path / "data.zarr" / name / "zarr.json"
    document = json.loads(file.read_bytes())
    edit(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda a: a.update(tasks="ab"), "tasks is no list"),
        (lambda a: a.update(tasks=["a", "a"]), "tasks has 'a' twice"),
        (lambda a: a.update(layers=["trunk.0", "trunk.1", 2]), r"layers\[2\] is no text"),
        (lambda a: a.update(committed_steps=True), "committed_steps is no whole number"),
        (lambda a: a.update(committed_steps=-1), "committed_steps is -1 out of range"),
        (lambda a: a.update(attribution="all"), "attribution is none of additive, solo, both"),
        (lambda a: a.update(task_since=[0]), "task_since is not as long as tasks"),
        (lambda a: a["parameters"][0].update(tasks=None), r"parameters\[0\].tasks is no list"),
        (lambda a: a["parameters"][1].update(layer="x"), r"parameters\[1\].layer is none of layers"),
        (lambda a: a["parameters"][1].update(name="trunk.0.weight"), "parameters has 'trunk.0.weight' twice"),
        (lambda a: a["parameters"][0].update(shape=[2**62, 4]), "more scalars than can be counted"),
        (lambda a: a.update(training=[]), "training is no object"),
        (lambda a: a.update(unrecorded=[{"reason": "r", "steps": 1}]), r"unrecorded\[0\] lacks first"),
        (lambda a: a.update(optimizers=[{"class": "SGD", "groups": [3]}]), r"optimizers\[0\].groups\[0\] is no object"),
    ],
)
def test_a_value_that_no_run_has_is_named(path: Path, edit: Callable[[Any], Any], says: str) -> None:
    change(path, ".", lambda document: edit(document["attributes"]))
    with pytest.raises(CorruptRun, match=says):
        open_run(path)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.text()
                | st.sampled_from(
                    ["tasks", "layers", "parameters", "schema_version", "attribution", "committed_steps"]
                ),
                inner,
            )
        ),
    )
)
def test_any_attributes_are_taken_or_refused_in_words(attributes: Any) -> None:
    whole = {
        "schema_version": 2,
        "tasks": [],
        "layers": [],
        "parameters": [],
        "attribution": "solo",
        "committed_steps": 0,
    }
    for given_ in (attributes, whole | attributes if isinstance(attributes, dict) else attributes):
        try:
            assert check_root(given_, "run") == given_
        except DominanceError:
            continue


def test_json_that_is_nested_without_end_is_refused() -> None:
    for data in (b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b"1" * 10_000, b"\xff"):
        with pytest.raises(Unfit):
            parse(data)


@pytest.mark.parametrize("name", ["step", "update/update", "loss/total"])
def test_a_run_says_more_rows_than_there_are_files(path: Path, name: str) -> None:
    many = 10**12
    change(path, ".", lambda document: document["attributes"].update(committed_steps=many))
    for file in (path / "data.zarr").rglob("zarr.json"):
        if file.parent.name != "data.zarr" and "coord" not in file.parts and "metric" not in file.parts:
            change(
                path,
                str(file.parent.relative_to(path / "data.zarr")),
                lambda d: "shape" in d and d["shape"].__setitem__(0, many),
            )
    with pytest.raises(CorruptRun, match="is missing"):
        open_run(path)


def test_more_coordinates_than_there_are_files(path: Path) -> None:
    for name in ("parameter", "index", "weight"):
        change(path, f"coord/{name}", lambda document: document.update(shape=[10**12]))
    with pytest.raises(CorruptRun, match="coord/parameter cannot be read"):
        open_run(path)


def test_a_chunk_larger_than_a_writer_makes_is_refused(path: Path) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [10**8, 1, 40]}}
    change(path, "update/update", lambda document: document.update(chunk_grid=grid))
    with pytest.raises(CorruptRun, match="array update/update cannot be read"):
        open_run(path)


def test_a_chunk_that_unpacks_to_more_than_it_should(path: Path) -> None:
    bomb = encode(np.zeros(10**6))
    (path / "data.zarr" / "loss" / "loss" / "c.0.0").write_bytes(bomb)
    with pytest.raises(CorruptRun, match="8000000 bytes where"):
        open_run(path)["loss/loss"].load()


def test_a_file_larger_than_a_chunk_can_be_is_not_read(path: Path) -> None:
    with (path / "data.zarr" / "loss" / "loss" / "c.0.0").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(CorruptRun, match="are the most"):
        open_run(path)["loss/loss"].load()


@pytest.mark.parametrize("name", ["zarr.json", "loss/loss/zarr.json", "loss/loss/c.0.0"])
def test_a_pipe_is_not_waited_for(path: Path, name: str) -> None:
    (path / "data.zarr" / name).unlink()
    os.mkfifo(path / "data.zarr" / name)
    with pytest.raises(Unreachable, match="it is no file"):
        open_run(path)["loss/loss"].load()
    if name != "zarr.json":
        with pytest.raises(DominanceError, match="is no file"):
            RunWriter(path, make_layout(), exact=True, resume=True)


@pytest.mark.parametrize(("name", "values"), [("parameter", [-1] * 40), ("parameter", [9] * 40), ("index", [80] * 40)])
def test_a_coordinate_outside_of_its_parameter(path: Path, name: str, values: list[int]) -> None:
    chunk = np.array(values, "<i4" if name == "parameter" else "<i8")
    (path / "data.zarr" / "coord" / name / "c.0").write_bytes(encode(chunk))
    with pytest.raises(CorruptRun, match="coord cannot be used"):
        open_run(path)


def test_a_code_of_a_name_that_is_not_there(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout(), exact=True) as writer:
        writer.append(make_row(make_layout(), 0))
        writer.append_event({"step": 0, "split": "val", "name": "auc", "value": 0.5})
    change(tmp_path / "run", ".", lambda document: document["attributes"]["metric_names"].update(split=[]))
    with pytest.raises(CorruptRun, match="metric/split cannot be used"):
        open_run(tmp_path / "run")


def test_a_probe_is_not_looked_for_outside_of_the_run(path: Path) -> None:
    write_probe(path, "noise", xr.Dataset({"a": ("x", np.ones(3))}))
    change(path, "probe", lambda document: document["attributes"].update(groups={"noise": "../../../etc.1"}))
    with pytest.raises(CorruptRun, match="a name that no probe has"):
        open_run(path)


@pytest.mark.parametrize("damage", [{"dims": ["y", "x"]}, {"shape": [4]}, {"dtype": "object"}, {"shape": [-1]}])
def test_a_probe_whose_metadata_do_not_agree(path: Path, damage: dict[str, Any]) -> None:
    write_probe(path, "noise", xr.Dataset({"a": ("x", np.ones(3))}))
    change(path, "probe/noise.1", lambda document: document["attributes"]["arrays"]["a"].update(damage))
    with pytest.raises(CorruptRun, match=r"probe/noise.1/(a/)?zarr.json|probe/noise.1/a cannot be read"):
        open_run(path)


def test_names_steer_no_terminal(tmp_path: Path) -> None:
    layout = make_layout()
    layout.tasks[0] = "a\x1b[31m\n\tb"
    layout.attrs["host"] = "\u202eevil"
    run = open_run(write_run(tmp_path / "run", layout, 2))
    assert run["task"].values.tolist() == [r"a\x1b[31m\n\tb", "b"]
    assert run.attrs["tasks"][0] == r"a\x1b[31m\n\tb"
    assert run.attrs["host"] == r"\u202eevil"
    with RunWriter(tmp_path / "run", layout, exact=True, resume=True) as writer:
        assert writer.tasks == layout.tasks


def test_an_attribute_of_the_user_may_not_bear_a_name_of_ours_in_another_meaning() -> None:
    check_told({"training": {"seed": 3}, "mine": 3})
    with pytest.raises(BadOption, match="seed is no whole number"):
        check_told({"seed": "three"})
