"""``summary``, ``info``: what they print of a run whose content is known."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import make_rows, planted_rows, write_run

from dominance.store.writer import RunWriter
from dominance_cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, two shared layers of four coordinates, one step. Updates are given, so that the shares are known:

    - low: price alone moves three coordinates and rating one: price owns 75 %, rating 25 %.
    - top: both move two coordinates by the same; two are moved by nobody.
    """
    price = [1.0, 2.0, 1.0, 0.0, 1.0, -1.0, 0.0, 0.0]
    rating = [0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 0.0, 0.0]
    rows = make_rows(
        [[price, rating]], tasks=["price", "rating"], layers={"low": 4, "top": 4}, weight=[[1.0, 0.5]], residual=None
    )
    return write_run(tmp_path_factory.mktemp("runs") / "known", *rows)


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    code = left.value.code
    assert isinstance(code, int)
    return code


def test_table(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(run)) == 0
    out, err = capfd.readouterr()
    assert err == f"dominance report {run}\n"
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert ["layer", "task", "0-20", "20-40", "40-60", "60-80", "80-100", "tasks", "grad", "update", "GCD"] in lines
    # low: rAU is 1 or 0; sums of squares 6 and 9; the gradients (-1000 times the updates) are at right angles.
    assert ["low", "price", "25", "0", "0", "0", "75", "1.00 of 2", "2.45e+03", "2.45", "1.00"] in lines
    assert ["rating", "75", "0", "0", "0", "25", "3e+03", "3", "1.00"] in lines
    # top: rAU is a half where anyone moved.
    assert ["top", "price", "0", "0", "100", "0", "0", "2.00 of 2", "1.41e+03", "1.41", "1.00"] in lines


def test_whose_units_are(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """low: squares 6 and 9; top: 2 and 2. Of price's squared gradient 6 of 8 are in low, of rating's 9 of 11."""
    assert leave("summary", str(run), "--by", "{layer}.weight") == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in capfd.readouterr().out.splitlines()]
    assert ["unit", "owner", "price", "rating", "price: use", "rating: use", "steps"] in lines
    assert ["low", "-", "40", "60", "75", "82", "100"] in lines
    assert ["top", "-", "50", "50", "25", "18", "100"] in lines
    assert leave("summary", str(run), "--by", "{layer}.weight", "--json") == 0
    (told,) = json.loads(capfd.readouterr().out)["runs"]
    assert [unit["unit"] for unit in told["by_unit"]] == ["low", "top"]
    assert told["by_unit"][0]["owner"] is None
    assert told["by_unit"][0]["share"] == pytest.approx({"price": 0.4, "rating": 0.6})
    assert leave("summary", str(run), "--by", "head") == 2
    assert "no head is known in this model" in capfd.readouterr().err


def test_a_run_that_is_not_there_is_told_before_any_other(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(run), str(run / "nowhere")) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_json(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(run), str(run), "--json") == 0
    document = json.loads(capfd.readouterr().out)
    assert [entry["path"] for entry in document["runs"]] == [str(run), str(run)]
    rows = {(row["layer"], row["task"]): row for row in document["runs"][0]["rows"]}
    assert list(rows)[-1] == ("all shared", "rating")
    assert rows["low", "price"]["rau"] == {
        "[0, 20]": 0.25,
        "(20, 40]": 0,
        "(40, 60]": 0,
        "(60, 80]": 0,
        "(80, 100]": 0.75,
    }
    assert rows["top", "rating"]["untouched"] == 0.5
    assert set(rows["low", "price"]) == {"layer", "task", *document["units"]}
    (finding,) = document["runs"][0]["findings"]
    assert (finding["kind"], finding["alarm"], finding["since"]) == ("too short", False, None)
    assert document["runs"][0]["alarm"] is False
    assert document["runs"][0]["notes"]


def test_the_verdict_comes_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=40))
    assert leave("summary", str(path)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[2].startswith("- price owns >99 % of the shared parameters")
    assert any(line.startswith("  Why: ") for line in lines)
    assert any(line.startswith("  Try: ") for line in lines)
    assert lines.index("layer       task    0-20  20-40  40-60  60-80  80-100      tasks  grad   update   GCD") > 10
    assert max(map(len, lines)) <= 100


def test_baselines_tell_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The folder of an stl training, and one run named; which direction is better has to be said by somebody."""
    score = {"step": 0, "epoch": 0, "split": "test", "name": "auc"}
    for name, scores in {"both": {"a": 0.6, "b": 0.9}, "stl/a": {"a": 0.8}, "stl/b": {"b": 0.9}}.items():
        events = [score | {"task": task, "value": value} for task, value in scores.items()]
        write_run(tmp_path / name, *make_rows(np.ones((30, len(scores), 3)), tasks=list(scores), metrics=events))
    both, folder = str(tmp_path / "both"), str(tmp_path / "stl")
    assert leave("summary", both, "--baseline", folder) == 2
    assert "higher_is_better" in capfd.readouterr().err
    for baseline in ([folder], [f"{folder}/a", f"{folder}/b"]):
        named = [part for path in baseline for part in ("--baseline", path)]
        assert leave("summary", both, *named, "--higher-is-better", "auc") == 0
        assert "- a is worse off than alone: its auc is 0.2 lower, 25 %" in capfd.readouterr().out
    assert leave("summary", both, "--baseline", both) == 0  # a run of several tasks: nothing to tell harm by
    assert "worse off than alone" not in capfd.readouterr().out


def test_nan_is_null(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A layer in which one task has no gradient has no GCD."""
    updates = np.array([[[1.0, 1.0], [1.0, 0.0]]])
    path = write_run(tmp_path / "run", *make_rows(updates, layers={"one": 1, "two": 1}))
    assert leave("summary", str(path), "--json") == 0
    out = capfd.readouterr().out
    assert '"mean_gcd": null' in out
    assert "NaN" not in out
    assert leave("summary", str(path), "--fail-on", "gcd[*, two] >= 0") == 0
    assert leave("summary", str(path)) == 0
    assert " -\n" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("expression", "code", "says"),
    [
        ("owned > 0.7", 3, ["low, price: owned = 0.75 > 0.7"]),
        ("owned[price, low] > 0.75", 0, []),
        ("owned[price, low] >= 0.75", 3, ["low, price: owned = 0.75 >= 0.75"]),
        ("owned[rating] > 0.7", 0, []),
        ("owned[r*, l*] > 0.2", 3, ["low, rating: owned = 0.25 > 0.2"]),
        ("effective_tasks[*, low] < 1.5", 3, ["low: effective_tasks = 1 < 1.5"]),
        ("untouched > 4e-1", 3, ["top: untouched = 0.5 > 0.4"]),
        ("gcd<=.5", 0, []),
        (
            "gradient_norm[*, all shared] > 1",
            3,
            [f"all shared, {who} > 1" for who in ("price: gradient_norm = 2828", "rating: gradient_norm = 3317")],
        ),
    ],
)
def test_thresholds(run: Path, capfd: pytest.CaptureFixture[str], expression: str, code: int, says: list[str]) -> None:
    assert leave("summary", str(run), "--fail-on", expression) == code
    said = capfd.readouterr().err.splitlines()
    assert said[-1] == f"dominance report {run}"
    assert [line.removeprefix(f"dominance: {run}: ") for line in said[:-1]] == says


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "cannot be read"),
        ("owned", "cannot be read"),
        ("owned > ", "cannot be read"),
        ("owned > 1.2.3", "cannot be read"),
        ("owned == 1", "cannot be read"),
        ("owned > nan", "cannot be read"),
        ("__import__('os') > 1", "cannot be read"),
        ("owned > 0.5 or gcd > 1", "cannot be read"),
        ("ownd > 0.5", "knows no quantity 'ownd'; did you mean owned?"),
        ("owned[prise] > 0.5", "no task is called 'prise'; choose from price, rating"),
        ("owned[*, mid] > 0.5", "no layer is called 'mid'; choose from low, top, all shared"),
    ],
)
def test_bad_thresholds(run: Path, capfd: pytest.CaptureFixture[str], expression: str, says: str) -> None:
    assert leave("summary", str(run), "--fail-on", expression) == 2
    err = capfd.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_several_thresholds(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(run), "--fail-on", "gcd > 3", "--fail-on", "untouched > 0.4") == 3


def test_on_a_terminal(run: Path) -> None:
    """At 80 columns every number is there, whole; in a pipe there is no escape sequence."""
    text = on_a_terminal(run)
    assert "\x1b[1m" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    table = plain[plain.index("layer ") :].splitlines()
    assert max(map(len, table)) <= 80
    assert re.search(r"low +price +25 +0 +0 +0 +75 +1\.00 of 2 +2\.45e\+03 +2\.45 +1\.00", plain)


def on_a_terminal(run: Path) -> str:
    """What the summary prints on a terminal of 80 columns."""
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dominance", "summary", str(run)],
        stdout=inside, stderr=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(inside)
    text = b"".join(iter(lambda: _read(outside), b"")).decode()
    assert process.wait(timeout=60) == 0
    os.close(outside)
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed
        return b""


def facts(capfd: pytest.CaptureFixture[str], run: Path, *options: str) -> dict[str, Any]:
    leave("info", str(run), "--json", *options)
    document: dict[str, Any] = json.loads(capfd.readouterr().out)
    return document


def test_info(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = facts(capfd, run)
    assert found["tasks"] == [
        {"name": "price", "weight": None, "last_weight": 1.0},
        {"name": "rating", "weight": None, "last_weight": 0.5},
    ]
    assert (found["steps_recorded"], found["layers"], found["shared_layers"], found["parameters"]) == (1, 2, 2, 8)
    assert found["bytes"] == sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    assert leave("info", str(run), "--verify") == 0
    out, err = capfd.readouterr()
    assert re.search(r"^tasks +price \(weight 1\), rating \(weight 0.5\)$", out, re.MULTILINE)
    assert re.search(r"^steps +1 recorded, from 0 to 0$", out, re.MULTILINE)
    assert re.search(r"^parameters +8, all kept$", out, re.MULTILINE)
    assert out.endswith("every checksum matches\n")
    assert err == f"dominance summary {run}\n"


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (20, "2\\d s ago"),
        (299, "5 min ago"),
        (7_300, "2 h ago: killed, or waiting"),
        (200_000, "2 days ago: killed, or waiting"),
    ],
)
def test_info_of_a_run_that_is_not_complete_says_when_it_was_written_last(ago, said, tmp_path, capfd) -> None:
    layout, rows = make_rows([[[1.0], [2.0]]])
    writer = RunWriter(tmp_path / "run", layout)
    writer.append({key: values[0] for key, values in rows.items()})
    writer.flush()
    for file in (tmp_path / "run").rglob("*"):
        os.utime(file, (time.time() - ago,) * 2)
    try:
        assert leave("info", str(tmp_path / "run")) == 0
        assert re.search(rf"^status +recording, last written {said}$", capfd.readouterr().out, re.MULTILINE)
        assert ago <= facts(capfd, tmp_path / "run")["idle_seconds"] < ago + 60
    finally:
        writer.close()
    assert facts(capfd, tmp_path / "run")["idle_seconds"] is None


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A run with one flipped byte in the updates."""
    path = write_run(tmp_path / "run", *make_rows([[[1.0], [2.0]]]))
    chunk = next((path / "data.zarr" / "update" / "update").glob("c.*"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    return path


def test_verify_finds_damage(damaged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("info", str(damaged), "--verify") == 1
    out, err = capfd.readouterr()
    assert "update/update: chunk " in out
    assert err == f"dominance: error: {damaged}: 1 problem\n"
    found = facts(capfd, damaged, "--verify")
    assert len(found["problems"]) == 1
    assert leave("summary", str(damaged)) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_an_empty_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layout, rows = make_rows([[[1.0], [2.0]]])
    path = write_run(tmp_path / "run", layout, {key: values[:0] for key, values in rows.items()})
    assert leave("info", str(path)) == 0
    assert re.search(r"^steps +none recorded$", capfd.readouterr().out, re.MULTILINE)
    assert leave("summary", str(path)) == 2
    assert "no step was recorded" in capfd.readouterr().err


def test_of_a_run_that_has_just_begun_nothing_is_said_that_steps_tell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run that is recorded has its first rows on disk after up to ten seconds."""
    layout, rows = make_rows([[[1.0], [2.0]]])
    writer = RunWriter(tmp_path / "run", layout, flush_seconds=600)
    writer.append({key: values[0] for key, values in rows.items()})
    assert leave("info", str(tmp_path / "run")) == 0
    out = capfd.readouterr().out
    assert re.search(r"^steps +none written yet$", out, re.MULTILINE)
    assert re.search(r"^layers +1$", out, re.MULTILINE)
    writer.close()
    assert leave("info", str(tmp_path / "run")) == 0
    out = capfd.readouterr().out
    assert re.search(r"^steps +1 recorded", out, re.MULTILINE)
    assert re.search(r"^layers +1, 1 of them shared$", out, re.MULTILINE)


@pytest.fixture
def in_doubt(tmp_path: Path) -> Path:
    """A run whose recorder lost steps and the thread, and whose gradient is half nobody's."""
    attrs = {
        "unrecorded": [{"reason": "a loss not seen before", "steps": 2, "first": 7}],
        "failure": "ValueError: a head was added",
        "steps_taken": 900,
    }
    layout, rows = planted_rows(attrs=attrs, residual_gradient=np.full((60, 740), 1.0))
    return write_run(tmp_path / "doubt", layout, rows)


def test_what_does_not_add_up_is_at_the_head_of_the_summary_once(in_doubt: Path, capfd) -> None:
    assert leave("summary", str(in_doubt)) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert out.startswith(f"{in_doubt}, step 59 Recording: The recording ended before the training did, with 60 of 900")
    assert out.index("(2 since step 7: a loss not seen before)") < out.index("- At each of 60 steps")
    assert out.count("is nobody's: no task's") == out.count("a loss not seen before") == 1
    assert "not to be trusted, because part of the gradient is nobody's" in out
    assert leave("summary", str(in_doubt), "--json") == 0
    (document,) = json.loads(capfd.readouterr().out)["runs"]
    assert document["books"]["unrecorded"] == [{"reason": "a loss not seen before", "steps": 2, "first": 7}]
    assert len(document["remarks"]) == 2


def test_info_has_the_books_of_a_run_that_does_not_add_up(in_doubt: Path, run: Path, capfd) -> None:
    assert leave("info", str(in_doubt)) == 0
    out = capfd.readouterr().out
    text = " ".join(out.split())
    assert out.count("\nbooks ") == 1
    assert "books The recording ended before the training did, with 60 of 900 steps: ValueError: a head was" in text
    assert re.search(r"median over the steps: residual \d\d %, at most \d\d %; unexplained \d\d %", text)
    assert text.count("a head was added") == 1
    assert max(len(line) for line in out.splitlines() if line.startswith(("books", " "))) <= 80
    found = facts(capfd, in_doubt)
    assert len(found["accounts"]) == 3
    assert found["books"]["shares"]["unexplained"]["of"] == 60
    assert leave("info", str(run)) == 0
    assert "books" not in capfd.readouterr().out
    assert facts(capfd, run)["accounts"] == []


def test_a_run_with_nothing_to_measure_says_what_became_of_it(tmp_path: Path, capfd) -> None:
    attrs = {"unrecorded": [{"reason": "no loss was found", "steps": 40, "first": 0}]}
    layout, rows = make_rows(np.ones((1, 1, 3)), attrs=attrs)
    path = write_run(tmp_path / "run", layout, {key: values[:0] for key, values in rows.items()})
    assert leave("summary", str(path)) == 2
    out, err = capfd.readouterr()
    assert "40 of 40 steps that should have been (40 since step 0: no loss was found)." in out
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def nobodys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose gradient is nobody's for the larger part."""
    step = np.random.default_rng(0).normal(size=(60, 2, 4))
    rows = make_rows(step, tasks=["price", "rating"], residual_gradient=np.full((60, 4), 1e5))
    return write_run(tmp_path_factory.mktemp("doubted") / "nobodys", *rows)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose parameters are moved from outside for the larger part; its gradients add up."""
    step = np.random.default_rng(0).normal(size=(60, 2, 4))
    rows = make_rows(step, tasks=["price", "rating"], outside=np.full((60, 4), 100.0))
    return write_run(tmp_path_factory.mktemp("doubted") / "outside", *rows)


@pytest.mark.parametrize("expression", ["owned > 0.999", "gcd > -1", "effective_tasks < 3"])
def test_no_threshold_is_judged_by_a_run_that_cannot_be_trusted(
    nobodys: Path, expression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither crossed nor passed: it would be for the wrong reason."""
    assert leave("summary", str(nobodys), "--fail-on", expression) == 1
    said = capfd.readouterr().err
    assert f"{expression} cannot be judged: part of the gradient is nobody's" in said
    assert " = " not in said


def test_gradients_are_judged_where_only_the_movement_is_in_doubt(
    outside: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leave("summary", str(outside), "--fail-on", "gcd > 3") == 0
    assert leave("summary", str(outside), "--fail-on", "gcd > 0") == 3
    assert leave("summary", str(outside), "--fail-on", "owned[price] > 0.999") == 1
    said = capfd.readouterr().err.splitlines()[-2]
    assert "owned[price, *] > 0.999 cannot be judged: much of what the parameters do is outside" in said


def test_what_was_crossed_elsewhere_counts_beside_a_run_that_cannot_be_trusted(run: Path, nobodys: Path) -> None:
    assert leave("summary", str(run), str(nobodys), "--fail-on", "owned[price, all shared] > 0.4") == 3


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"failure": "RuntimeError: out of memory"}, "the recording ended before the training did"),
        ({"unrecorded": [{"reason": "no name", "steps": 90, "first": 3}]}, "steps are missing that may be unlike"),
    ],
)
def test_no_threshold_is_judged_by_a_run_that_is_not_whole(
    tmp_path: Path, faults: dict[str, Any], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    layout, rows = make_rows(np.random.default_rng(0).normal(size=(60, 2, 4)), attrs=faults)
    assert leave("summary", str(write_run(tmp_path / "run", layout, rows)), "--fail-on", "owned > 0.999") == 1
    assert why in capfd.readouterr().err


def test_no_threshold_is_judged_by_a_training_that_diverged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    updates = np.random.default_rng(0).normal(size=(60, 2, 4))
    updates[40:] = np.inf
    path = write_run(tmp_path / "run", *make_rows(updates))
    assert leave("summary", str(path), "--fail-on", "owned > 0.999") == 1
    assert "it diverged at step 40" in capfd.readouterr().err


def test_runs_side_by_side_say_which_cannot_be_trusted(
    run: Path, nobodys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leave("summary", str(run), str(nobodys)) == 0
    beside = capfd.readouterr().out.split("Side by side")[1]
    assert f"? not to be trusted, {nobodys}: part of the gradient is nobody's" in beside
    marked = [line for line in beside.splitlines() if line.endswith(" ?") or " ?  " in line]
    assert marked
    assert str(run) not in beside.split("? not to be trusted")[1]


def test_runs_side_by_side_have_their_doubts_as_json(
    run: Path, nobodys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leave("summary", str(run), str(nobodys), "--json") == 0
    rows = json.loads(capfd.readouterr().out)["comparison"]["rows"]
    assert rows[0]["doubts"] == {}
    assert rows[1]["doubts"] == {str(nobodys): ["part of the gradient is nobody's"]}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 layers of long names, and 10 tasks; the fourth owns layers 20 to 22, and nobody any other."""
    layers = {f"encoder.layers.{number}.self_attn.out_proj": 2 for number in range(40)}
    updates = np.random.default_rng(0).normal(size=(4, 10, 80))
    updates[:, 3, 40:46] *= 30
    rows = make_rows(updates, tasks=[f"task_number_{k}" for k in range(10)], layers=layers)
    return write_run(tmp_path_factory.mktemp("large") / "run", *rows)


def test_a_large_summary_is_folded_worst_layers_first(large: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(large)) == 0
    out = capfd.readouterr().out
    assert len(out.splitlines()) <= 40
    shown = [line.split()[0] for line in out.splitlines() if line.startswith(("encoder", "all shared"))]
    assert {name.split(".")[2] for name in shown[:3]} == {"20", "21", "22"}
    assert shown[-1] == "all"
    assert "Not shown: 35 more layers, less dominated (effective tasks" in out
    owner = next(line for line in out.splitlines() if line.startswith("encoder"))
    assert "task_number_3" in "".join(out[out.index(owner) :].splitlines()[:3])


def test_all_of_a_large_summary(large: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(large), "--all") == 0
    out = capfd.readouterr().out
    assert out.count("task_number_7 ") == 41
    assert "Not shown" not in out


def test_thresholds_and_json_know_the_rows_that_are_not_shown(large: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("summary", str(large), "--fail-on", "gcd[task_number_9, *.39.*] > 0", "--json") == 3
    assert len(json.loads(capfd.readouterr().out)["runs"][0]["rows"]) == 410


def test_long_names_are_whole_on_a_terminal(large: Path) -> None:
    """A layer has a line of its own where it does not fit beside the numbers; no name is broken."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", on_a_terminal(large))
    table = plain[plain.index("task ") :].splitlines()
    assert max(map(len, table)) <= 80
    assert "encoder.layers.20.self_attn.out_proj" in table
    assert any(re.match(r"task_number_3 +\d+ ", line) for line in table)


def test_groups_of_examples_stand_beside_what_they_make(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counts = [
        {"step": 0, "epoch": 0, "task": task, "split": "groups", "name": "tokens", "value": number}
        for task, number in (("price", 40), ("rating", 960))
    ]
    layout, rows = planted_rows(share=0.9, metrics=counts)
    assert leave("summary", str(write_run(tmp_path / "run", layout, rows))) == 0
    assert re.search(r"price +4 +90 +90\n", capfd.readouterr().out)
