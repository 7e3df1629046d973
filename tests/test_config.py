"""Options: what a value may be, and which of four places wins."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from dominance.config import MINIMUM_BUDGET, RecordOptions, from_pyproject, parse_size, record_options, typed
from dominance.errors import BadOption


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1GB", 1_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("500mb", 500_000_000),
        (" 2 kb ", 2000),
        ("7B", 7),
        ("0.5KiB", 512),
        (10_000_000, 10_000_000),
        ("1TB", 10**12),
    ],
)
def test_sizes(text: str | int, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1e9", "1 XB", "1,5GB", "ten", "1GB2", "nan"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(BadOption, match="is no size; write it like 500MB"):
        parse_size(text)


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_each_place_wins_over_the_ones_below(tmp_path: Path) -> None:
    """Four options, set in one place more each: the value of the highest place counts, field by field."""
    project(tmp_path, '[tool.dominance]\nevery = 2\nburst = 2\nbudget = "2MB"\n')
    environ = {"DOMINANCE_BURST": "3", "DOMINANCE_BUDGET": "3MB", "HOME": "/"}
    flags = {"budget": "4MB", "every": None, "burst": None}
    options = record_options(flags, environ=environ, folder=tmp_path)
    assert options == RecordOptions(every=2, burst=3, budget=4_000_000)
    assert options.attribution == "additive"


def test_a_flag_switches_off_what_the_environment_switched_on(tmp_path: Path) -> None:
    assert record_options(None, environ={"DOMINANCE_EXACT": "1"}, folder=tmp_path).exact
    assert not record_options({"exact": False}, environ={"DOMINANCE_EXACT": "1"}, folder=tmp_path).exact


def test_every_field_can_be_set_from_every_place(tmp_path: Path) -> None:
    expected = RecordOptions(
        tasks=("a", "b"), every=3, burst=4, overhead=0.05, params="enc.*", budget=5_000_000, exact=True,
        attribution="both", strict=True, quiet=True, probe=("noise",), columns=("head=x,y",),
        groups="lang", averages=True,
    )  # fmt: skip
    changed = {field.name for field in fields(RecordOptions) if getattr(expected, field.name) != field.default}
    assert changed == {field.name for field in fields(RecordOptions)} - {
        "to",
        "light",
        "training_only",
    }  # which want a package, and few other options
    texts = {
        "tasks": "a, b", "every": "3", "burst": "4", "params": "enc.*", "budget": "5MB",
        "exact": "yes", "attribution": "both", "strict": "on", "quiet": "true", "probe": "noise",
        "columns": "head=x,y", "groups": "lang", "averages": "on", "overhead": "5%",
    }  # fmt: skip
    environ = {f"DOMINANCE_{name.upper()}": value for name, value in texts.items()}
    assert record_options(texts, environ={}, folder=tmp_path) == expected
    assert record_options({}, environ=environ, folder=tmp_path) == expected
    project(
        tmp_path,
        '[tool.dominance]\ntasks = ["a", "b"]\nevery = 3\nburst = 4\nparams = "enc.*"\nbudget = 5000000\n'
        'exact = true\nattribution = "both"\nstrict = true\nquiet = true\nprobe = ["noise"]\ncolumns = ["head=x,y"]\n'
        'groups = "lang"\naverages = true\noverhead = "5%"\n',
    )
    assert record_options({}, environ={}, folder=tmp_path) == expected


@pytest.mark.parametrize("name", ["light", "training_only"])
def test_a_switch_can_be_set_from_every_place(name: str, tmp_path: Path) -> None:
    assert getattr(record_options({name: "on"}, environ={}, folder=tmp_path), name)
    assert getattr(record_options({}, environ={f"DOMINANCE_{name.upper()}": "1"}, folder=tmp_path), name)
    project(tmp_path, f"[tool.dominance]\n{name} = true\n")
    options = record_options({}, environ={}, folder=tmp_path)
    assert getattr(options, name)
    assert typed(options, (name,)) == [f"--{name}".replace("_", "-")]


def test_the_nearest_pyproject_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    project(tmp_path, "[tool.dominance]\nevery = 7\n")
    assert from_pyproject(inner) == {"every": 7}
    project(tmp_path / "a", "[tool.other]\nx = 1\n")
    assert from_pyproject(inner) == {}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"every": 0}, "every=0 records nothing"),
        ({"burst": -1}, "burst=-1 records nothing"),
        ({"budget": MINIMUM_BUDGET - 1}, "too small for any run"),
        ({"budget": "lots"}, "'lots' is no size"),
        ({"attribution": "both of them"}, "choose from additive, solo, both"),
        ({"tasks": "a,b,a"}, "named twice in a,b,a"),
        ({"tasks": " , "}, "--tasks: tasks cannot be ' , '"),
        ({"tasks": 3}, "tasks cannot be 3"),
        ({"tasks": [1]}, "tasks cannot be"),
        ({"probe": "nose"}, "probe 'nose' is unknown"),
        ({"params": ""}, "an empty params records nothing"),
        ({"params": 3}, "params cannot be 3"),
        ({"exact": "maybe"}, "exact cannot be 'maybe'"),
        ({"every": "x"}, "every cannot be 'x'"),
        ({"every": 2.5}, "every cannot be 2.5"),
        ({"every": True}, "every cannot be True"),
        ({"every": float("inf")}, "every cannot be inf"),
    ],
)
def test_values_that_cannot_be_used(tmp_path: Path, flags: dict[str, object], says: str) -> None:
    with pytest.raises(BadOption) as caught:
        record_options(flags, environ={}, folder=tmp_path)
    assert says in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.dominance]\nevry = 3\n", "[tool.dominance] knows no 'evry'; use one of attribution, averages, budget"),
        ("[tool.dominance]\nevery = 'x'\n", "[tool.dominance]: every cannot be 'x'"),
        ("[tool.dominance\n", "pyproject.toml: cannot be read"),
        ("tool = 3\n", "tool is no table"),
        ("[tool]\ndominance = 3\n", "tool.dominance is no table"),
    ],
)
def test_bad_project_files(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadOption) as caught:
        record_options({}, environ={}, folder=project(tmp_path, text))
    assert says in str(caught.value)


def test_an_unknown_environment_variable(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="DOMINANCE_EVRY means nothing here; known are DOMINANCE_ATTRIBUTION"):
        record_options({}, environ={"DOMINANCE_EVRY": "3"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*", "encoder.0.weight", True),
        ("encoder.*", "encoder.0.weight", True),
        ("encoder.*", "my.encoder.0.weight", False),
        ("*.bias", "encoder.0.weight", False),
        ("encoder", "encoder.0", False),
        ("[ab].weight", "b.weight", True),
    ],
)
def test_which_parameters(glob: str, name: str, expected: bool) -> None:
    assert RecordOptions(params=glob).records(name) is expected
