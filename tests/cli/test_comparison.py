"""The table that compares several runs, and what --json has of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from runs import make_rows, write_run

from dominance.analyse.study.comparison import Repeats, Spread
from dominance_cli.comparison import text
from dominance_cli.main import app, main

NAN = float("nan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of tasks a (error, lower) and b (auc, higher): two seeds of pub, one of mgda, and both tasks alone."""
    path = tmp_path_factory.mktemp("study")
    for name, method, seed, scores in (
        ("pub-0", "pub", 0, {"a": 1.0, "b": 0.6}),
        ("pub-1", "pub", 1, {"a": 3.0, "b": 0.6}),
        ("mgda-0", "mgda", 0, {"a": 5.0, "b": 0.9}),
        ("stl/a", "stl", 0, {"a": 2.0}),
        ("stl/b", "stl", 0, {"b": 0.5}),
    ):
        metric, way = {"a": "error", "b": "auc"}, {"a": "lower", "b": "higher"}
        events = [
            {"step": 0, "epoch": 0, "task": task, "split": "final", "name": metric[task], "value": value}
            for task, value in scores.items()
        ]
        layout, rows = make_rows(np.ones((2, len(scores), 3)), tasks=list(scores), metrics=events)
        layout.attrs |= {"method": method, "benchmark": "toy", "training": {"seed": seed}, "seed": seed}
        directions = {task: {metric[task]: way[task]} for task in scores}
        write_run(path / name, *with_directions(layout, rows, directions))
    return path


def with_directions(layout: Any, rows: Any, directions: Any) -> Any:
    """The run's own attribute is called metrics, as the events are in the tests' layout."""
    layout.attrs["directions"] = directions
    return layout, rows


def summary(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as left:
        main(["summary", *map(str, arguments)])
    assert left.value.code == 0
    return capfd.readouterr().out


WAYS = ("--lower-is-better", "error", "--higher-is-better", "auc")


def table(out: str) -> list[list[str]]:
    lines = out.split("Side by side")[1].splitlines()[2:]
    return [line.split("  ") for line in lines if line.strip()]


def test_one_row_a_method(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = summary(capfd, *(folder / name for name in ("pub-0", "pub-1", "mgda-0")), "--baseline", folder / "stl", *WAYS)
    assert "Side by side, mean ± standard deviation over seeds:" in out
    said = out.split("Side by side")[1]
    for words in ("a error ↓", "b auc ↑", "2 ± 1.4", "Δ_M ↑ (MoCoGrad)", "Δm ↓ (PUB)", "mean GCD", "effective tasks"):
        assert words in said
    # pub: error +50 % and -50 %, auc +20 %; mgda: error -150 %, auc +80 %
    assert "+10.00% ± 35.36" in said
    assert "-35.00%" in said


def test_under_two_runs_stands_the_command_that_says_what_changed(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [str(folder / name) for name in ("pub-0", "pub-1", "mgda-0")]
    for runs, then in ((names[:2], "compare"), (names, "report"), (names[:1], "report")):
        with pytest.raises(SystemExit):
            main(["summary", *runs])
        assert capfd.readouterr().err.splitlines()[-1] == f"dominance {then} {' '.join(runs)}"


def test_a_direction_is_asked_for_by_an_option_that_there_is(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["summary", str(folder / "pub-0"), "--baseline", str(folder / "stl")]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    said = re.search(r"say (--higher-is-better \w+) or (--lower-is-better \w+);", capfd.readouterr().err)
    assert said is not None
    for way in (said[1], said[2], said[1].replace("-is-better", ""), said[2].replace("-is-better", "")):
        with pytest.raises(SystemExit) as left:
            main([*words, *way.split()])
        assert left.value.code == 0


@pytest.mark.parametrize("command", ["summary", "compare", "report", "try"])
def test_the_direction_of_a_metric_is_said_by_the_same_options_everywhere(command: str) -> None:
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    known = {name for each in parameters for name in each.opts}
    assert {"--higher", "--higher-is-better", "--lower", "--lower-is-better"} <= known


def test_json_has_it(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads(summary(capfd, folder / "pub-0", folder / "mgda-0", "--json", *WAYS))
    rows = document["comparison"]["rows"]
    assert [row["label"] for row in rows] == ["pub", "mgda"]
    assert rows[1]["scores"]["b"]["auc"] == {"mean": 0.9, "std": None}
    assert set(document["comparison"]["units"]) == {"scores", "delta", "mean_gcd", "effective_tasks", "diff", "doubts"}


def test_a_joint_baseline(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = summary(capfd, folder / "pub-0", "--baseline", folder / "mgda-0", *WAYS)
    assert "Δp ↑ (AdaTask)" in out
    assert "+23.33%" in out  # error from 5 to 1 is +80 %, auc from 0.9 to 0.6 is -33.3 %


def test_one_run_alone_is_compared_with_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "Side by side" not in summary(capfd, folder / "pub-0")


def row(label: str, tasks: int = 1) -> Repeats:
    scores = {(f"task{i}", "auc"): Spread(0.5, NAN) for i in range(tasks)}
    return Repeats(label, ["one"], scores, {}, Spread(1.0, NAN), Spread(2.0, NAN), Spread(NAN, NAN))


def test_wide_tables_are_turned_round() -> None:
    assert text([row("x"), row("y")], most=100).splitlines()[2:] == [
        "   task0 auc  mean GCD  effective tasks",
        "x        0.5         1                2",
        "y        0.5         1                2",
    ]
    turned = text([row("x", 12), row("y", 12)], most=100).splitlines()[2:]
    assert turned[0].split() == ["x", "y"]
    assert turned[1].split() == ["task0", "auc", "0.5", "0.5"]
    assert len(turned) == 15
