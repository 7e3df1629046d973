"""``dominance study``: the table against numbers worked out by hand, its width, and what it says of other folders."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from runs import planted_rows, write_run
from scipy import stats

from dominance.store.writer import RunWriter
from dominance_cli.main import main

SCORES = {("pcgrad", 0): 1.0, ("pcgrad", 1): 3.0, ("uw", 0): 5.0, ("uw", 1): 5.5, ("uw", 2): 7.0}


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def made(path: Path, score: float | None = None, *, complete: bool = True, name: str = "mse", **attrs: Any) -> Path:
    layout, rows = planted_rows(steps=8, layers={"trunk": 6})
    layout.attrs |= attrs
    writer = RunWriter(path, layout, exact=True)
    for i in range(8):
        writer.append({key: values[i] for key, values in rows.items()})
    if score is not None:
        writer.append_event({"step": 7, "task": "price", "split": "test", "name": name, "value": score})
    writer.close(complete=complete)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    for (method, seed), score in SCORES.items():
        attrs: dict[str, Any] = {
            "method": method,
            "seed": seed,
            "argv": ["t.py", "--k", "1"],
            "metrics": {"price": {"mse": "lower"}},
        }
        made(tmp_path / f"runs/{method}-{seed}", score, complete=(method, seed) != ("uw", 2), **attrs)
    return tmp_path


def table(text: str, first: str) -> list[list[str]]:
    (found,) = [part for part in text.split("\n\n") if part.startswith(first)]
    return [re.split(r"  +", line) for line in found.splitlines()]


def test_runs_and_means(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("study", str(folder)) == 0
    said = capfd.readouterr()
    assert ": 5 runs, 4 complete, 1 interrupted All: script t.py, k 1 run " in " ".join(said.out.split())
    heading, *rows = table(said.out, "run")
    assert heading == ["run", "state", "steps", "method", "seed", "price mse ↓"]
    assert rows[0] == ["runs/pcgrad-0", "complete", "8", "pcgrad", "0", "1"]
    assert rows[-1] == ["runs/uw-2", "interrupted", "8", "uw", "2", "7"]
    half = stats.t.ppf(0.975, 1) * math.sqrt(2) / math.sqrt(2)  # of 1 and 3: s = sqrt 2, n = 2
    assert table(said.out, "method") == [
        ["method", "n", "price mse ↓"],
        ["pcgrad", "2", f"2 ±{half:.2g}"],
        ["uw", "2/3", f"5.25 ±{half / 4:.2g}"],
    ]
    assert " ".join(said.out.split()).count("n 2/3: of 3 runs 1 is not complete, and left out.") == 1
    assert said.err == f"dominance summary {folder}/runs/pcgrad-0\n"
    assert all(len(line) <= 80 for line in said.out.splitlines()[1:])


def test_means_over_something_else(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("study", str(folder), "--over", "method") == 0
    rows = table(capfd.readouterr().out, "seed")
    assert [row[:3] for row in rows] == [
        ["seed", "n", "price mse ↓"],
        ["0", "2", f"3 ±{stats.t.ppf(0.975, 1) * 2:.2g}"],
        ["1", "2", f"4.25 ±{stats.t.ppf(0.975, 1) * 1.25:.2g}"],
        ["2", "0/1", "-"],
    ]
    assert leave("study", str(folder), "--over", "k") == 2
    assert "--over k: the runs do not differ in it; choose from method, seed" in capfd.readouterr().err


def test_no_two_columns_have_one_heading(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for n, seed in ((3, 0), (3, 1), (5, 0), (5, 1)):
        argv = ["t.py", "-n", str(n), "--steps", str(10 * n), "--state=x"]
        made(tmp_path / f"{n}-{seed}", argv=argv, seed=seed)
    assert leave("study", str(tmp_path)) == 0
    out = capfd.readouterr().out
    assert table(out, "run")[0][:6] == ["run", "state", "steps", "set n", "set steps", "seed"]
    assert table(out, "run")[1][:6] == ["3-0", "complete", "8", "3", "30", "0"]
    assert [row[:3] for row in table(out, "set n")] == [["set n", "set steps", "n"], ["3", "30", "2"], ["5", "50", "2"]]


def test_json_has_the_numbers(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("study", str(folder), "--json") == 0
    document = json.loads(capfd.readouterr().out)
    assert document["states"] == {"complete": 4, "interrupted": 1}
    cell = document["cells"][1]
    assert (cell["settings"], cell["complete"], len(cell["runs"])) == ({"method": "uw"}, 2, 3)
    assert cell["scores"]["price"]["mse"]["mean"] == 5.25
    assert document["runs"][0]["metrics"] == {"test": {"price": {"mse": 1.0}}}
    assert document["runs"][0]["losses"]["price"] == pytest.approx(math.exp(-7 / 8))


def test_without_metrics_losses_are_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "a", seed=0)
    assert leave("study", str(tmp_path), "--owner") == 0
    out = capfd.readouterr().out
    assert table(out, "run")[0] == ["run", "state", "steps", "seed", "price loss ↓", "rating loss ↓", "owner"]
    assert table(out, "run")[1][-1] == "price 83%"
    assert "losses, mean over the last fifth" in out
    assert leave("study", str(tmp_path), "--split", "val") == 2
    assert "--split val: no run logged under it; choose from none" in capfd.readouterr().err


def test_what_does_not_fit_stands_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    argv = [word for i in range(12) for word in (f"--option-{i}", "0.123")]
    made(tmp_path / ("long-" * 12), 1.0, argv=["t.py", *argv], seed=0)
    made(tmp_path / "other", 2.0, argv=["t.py", *(word.replace("0.123", "1e-9") for word in argv)], seed=0, name="auc")
    assert leave("study", str(tmp_path)) == 0
    out = capfd.readouterr().out
    blocks = [part.splitlines() for part in out.split("\n\n") if part.startswith("run")]
    assert len(blocks) > 1
    assert all(len(line) <= 80 for block in blocks for line in block)
    assert all(len(block) == 3 and block[2].startswith("other ") for block in blocks)
    headings = [word for block in blocks for word in re.split(r"  +", block[0])[1:]]
    assert headings == ["state", "steps", *(f"option_{i}" for i in range(12)), "seed", "price mse", "price auc"]


def test_of_many_runs_the_unfinished_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr("dominance_cli.study.MOST_ROWS", 4)
    assert leave("study", str(folder)) == 0
    out = capfd.readouterr().out
    assert [row[0] for row in table(out, "run")] == ["run", "runs/uw-2"]
    assert "4 complete runs are not listed; --all lists them." in out
    assert leave("study", str(folder), "--all") == 0
    assert len(table(capfd.readouterr().out, "run")) == 6
    assert leave("study", str(folder / "runs"), "--over", "seed", "--over", "method") == 0


def test_jobs_without_a_run_and_what_cannot_be_read(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "runs/bad.log").write_text("dominance: error: no such script: x.py\n")
    for name in ("a", "b", "c", "d"):
        (folder / name / "data.zarr").mkdir(parents=True)
    assert leave("study", str(folder)) == 0
    said = capfd.readouterr()
    assert "; 1 job without a run" in said.out.splitlines()[0] + said.out.splitlines()[1]
    assert "runs/bad: no run yet; no such script: x.py" in said.out
    assert table(said.out, "run ")[1] == ["runs/bad", "no run", "-", "-"]
    (line,) = [line for line in said.err.splitlines() if "cannot be read" in line]
    assert line.startswith("dominance: cannot be read: a: no dominance run")
    assert line.endswith("; and 1 more")


def test_a_run_that_is_being_recorded_is_read_without_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layout, rows = planted_rows(steps=200, layers={"trunk": 6})
    with RunWriter(tmp_path / "live", layout, exact=True) as writer:
        for i in range(200):
            writer.append({key: values[i] for key, values in rows.items()})
            if i % 50 == 49:
                writer.flush()
                assert leave("study", str(tmp_path), "--json") == 0
                (run,) = json.loads(capfd.readouterr().out)["runs"]
                assert (run["state"], run["steps"]) == ("recording", i + 1)
                assert run["losses"]["price"] == pytest.approx(
                    rows["loss/loss"][i + 1 - (i + 1) // 5 : i + 1, 0].mean()
                )


def test_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("study", str(tmp_path)) == 2
    assert "there is no run below it; give a folder below which runs lie" in capfd.readouterr().err
    assert leave("study", str(write_run(tmp_path / "one", *planted_rows(steps=4)))) == 0
    assert table(capfd.readouterr().out, "run")[1][:3] == ["one", "complete", "4"]
