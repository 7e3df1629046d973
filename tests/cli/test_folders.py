"""Folders of runs, and the runs of several models of one process, where a command takes a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from runs import make_rows, planted_rows, write_run

from dominance_cli.main import main
from dominance_cli.rundir import expanded, models


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def model(path: Path, number: int, of: list[str]) -> Path:
    return write_run(path, *planted_rows(seed=number, steps=30, attrs={"model_number": number, "model_of": of}))


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """Three folds of one process, a run of one task alone, something else, and latest."""
    folder = tmp_path / "runs"
    write_run(folder / "fold", *planted_rows(steps=30))
    for number in (2, 3):
        model(folder / f"fold-{number}", number, ["fold", "fold-2", "fold-3"][:number])
    write_run(folder / "alone", *make_rows(np.ones((30, 1, 3)), tasks=["price"]))
    (folder / "notes.txt").write_text("")
    (folder / "latest").symlink_to("fold-3")
    return folder


def test_a_folder_stands_for_its_runs_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("run-10", "run-9", "run-9b"):
        (tmp_path / "runs" / name / "data.zarr").mkdir(parents=True)
    os.symlink("run-10", tmp_path / "runs" / "latest")
    inside = [f"{tmp_path}/runs/{name}" for name in ("run-9", "run-9b", "run-10")]
    assert expanded([str(tmp_path / "runs")]) == inside
    assert expanded([inside[0], "s3://bucket/runs", "nowhere"]) == [inside[0], "s3://bucket/runs", "nowhere"]


def test_every_model_knows_the_others(folds: Path) -> None:
    said = "model {} of 3 that one process trained: fold, fold-2, fold-3"
    assert models(str(folds / "fold"), {}) == said.format(1)
    for number in (2, 3):
        attrs = {"model_number": number, "model_of": ["fold", "fold-2", "fold-3"][:number]}
        assert models(str(folds / f"fold-{number}"), attrs) == said.format(number)
    assert models(str(folds / "alone"), {}) == ""


def test_a_run_of_a_like_name_is_no_model_of_the_same_process(tmp_path: Path) -> None:
    write_run(tmp_path / "run", *planted_rows(steps=3))
    write_run(tmp_path / "run-2", *planted_rows(steps=3))
    model(tmp_path / "run-3", 3, ["other", "other-2", "run-3"])
    assert models(str(tmp_path / "run"), {}) == ""


def test_summary_of_a_folder_has_the_head_of_each_run_and_a_table(folds: Path, capfd) -> None:
    assert leave("summary", str(folds)) == 0
    out, err = capfd.readouterr()
    assert f"{folds}/fold-2, step 29; model 2 of 3 that one process trained: fold, fold-2, fold-3\n" in out
    assert out.startswith(f"{folds}/alone\n\n- Not measured: no parameter is reached by two tasks")
    assert out.count("- price owns") == 3
    assert "How sure" not in out
    assert out.index("Side by side:") > out.index("fold-3, step 29")
    assert err == f"dominance report {folds}\n"
    assert leave("summary", str(folds), "--json") == 0
    document = json.loads(capfd.readouterr().out)
    assert [Path(run["path"]).name for run in document["runs"]] == ["alone", "fold", "fold-2", "fold-3"]
    assert "unmeasured" in document["runs"][0]
    assert len(document["comparison"]["rows"]) == 3


def test_the_head_of_a_run_says_what_cannot_be_trusted(tmp_path: Path, capfd) -> None:
    residual = np.full((30, 740), 5.0)
    for name in ("one", "two"):
        write_run(tmp_path / name, *planted_rows(steps=30, residual_gradient=residual if name == "two" else None))
    assert leave("summary", str(tmp_path)) == 0
    one, two = " ".join(capfd.readouterr().out.split()).split(f"{tmp_path}/two, step")
    assert "Not to be trusted" not in one
    assert "since step 0. Not to be trusted." in two


def test_summary_of_one_model_names_the_others(folds: Path, capfd) -> None:
    assert leave("summary", str(folds / "fold")) == 0
    assert "step 29; model 1 of 3 that one process trained: fold, fold-2, fold-3\n" in capfd.readouterr().out


def test_summary_of_a_folder_goes_on_after_damaged_runs_and_fails(folds: Path, capfd) -> None:
    (folds / "fold" / "data.zarr" / "zarr.json").write_text("{")  # seen when it is opened
    for chunk in (folds / "fold-3" / "data.zarr").rglob("c.*"):
        chunk.write_bytes(b"")  # seen when it is measured
    assert leave("summary", str(folds)) == 2
    out, err = capfd.readouterr()
    assert [out.count(f"{folds}/{name}\n\n- Not measured: ") for name in ("fold", "fold-2", "fold-3")] == [1, 0, 1]
    assert f"{folds}/fold-2, step 29; model 2 of 3" in out
    for line, name in zip(err.splitlines(), ("fold", "fold-3"), strict=False):
        assert line.startswith((f"dominance: {folds}/{name}/", f"dominance: {folds}/{name}: "))
    assert leave("summary", str(folds), "--json") == 2
    document = json.loads(capfd.readouterr().out)
    assert ["unmeasured" in run for run in document["runs"]] == [True, True, False, True]
    (folds / "fold-2" / "data.zarr" / "zarr.json").write_text("{")
    assert leave("summary", str(folds)) == 2
    assert capfd.readouterr().out == ""


def test_a_folder_with_nothing_to_measure_fails(folds: Path, tmp_path: Path, capfd) -> None:
    (tmp_path / "alone").mkdir()
    (folds / "alone").rename(tmp_path / "alone" / "price")
    assert leave("summary", str(tmp_path / "alone")) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_info_of_a_folder_is_a_row_for_each(folds: Path, capfd) -> None:
    assert leave("info", str(folds), "--verify") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["alone", "fold", "fold-2", "fold-3"]
    assert lines[1].endswith("30 recorded, from 0 to 29  price, rating")
    assert lines[4:] == [f"{folds}/{name}: every checksum matches" for name in ("alone", "fold", "fold-2", "fold-3")]
    write_run(folds / "odd", *planted_rows(steps=30, attrs={"remarks": ["observe() was given a sum."]}))
    assert leave("info", str(folds)) == 0
    assert capfd.readouterr().out.endswith("  price, rating  books: 1 remark\n")
    assert leave("info", str(folds / "fold-2")) == 0
    assert "\nmodels       model 2 of 3" in capfd.readouterr().out
    assert leave("info", str(folds), "--json") == 0
    assert [run["models"][:12] for run in json.loads(capfd.readouterr().out)["runs"]] == [
        "",
        "model 1 of 3",
        "model 2 of 3",
        "model 3 of 3",
        "",
    ]


def test_report_of_a_folder_reports_each(folds: Path, tmp_path: Path, capfd) -> None:
    assert leave("report", str(folds), "-o", str(tmp_path / "out"), "--figures", "gcd") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["alone", "fold", "fold-2", "fold-3"]
    assert (tmp_path / "out" / "fold-2" / "report.pdf").exists()
