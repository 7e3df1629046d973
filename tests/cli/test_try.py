"""``dominance try``: methods on an unmodified script, in one table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import Forks
from runs import as_tree, make_rows

from dominance.analyse.study.trials import ALONE, trials
from dominance.errors import BadOption
from dominance_cli.script_job import ScriptJob
from dominance_cli.trials_table import table
from dominance_cli.trying import AS_IT_IS, plan, read_methods

SCRIPT = """
import sys
import torch
from torch import nn
torch.manual_seed(0)
trunk, a, b = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=0.02)
x = torch.randn(64, 4)
for step in range(30):
    z = torch.tanh(trunk(x))
    price_loss = (a(z) - x[:, :1]).square().mean()
    stars_loss = 10 * (b(z) - x[:, 1:2]).square().mean()
    optimizer.zero_grad()
    (price_loss + stars_loss).backward()
    optimizer.step()
print(sys.argv[1:], price_loss.item())
"""


def test_a_table_a_figure_and_runs_that_are_used_again(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    words = (
        "try",
        "--methods",
        "pcgrad,adatask",
        "--seeds",
        "1",
        "-j",
        "2",
        "--every",
        "1",
        "train.py",
        "--epochs",
        "2",
    )
    done = forks.python("-m", "dominance", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr  # AdaTask has no form of SGD: the others are compared all the same
    assert "adatask: 1 of its runs failed." in done.stdout
    assert "in the place of Adam, AdamW" in done.stderr
    assert "2 runs made, 0 used again" in done.stderr
    first = done.stdout.splitlines()
    assert [line[: line.index("  ")] for line in first[1:3]] == [AS_IT_IS, "pcgrad"]
    assert "price_loss loss ↓" in first[0]
    assert (tmp_path / "trials/train/scores.pdf").stat().st_size > 1000
    logs = list((tmp_path / "trials/train/runs").glob("as-it-is*.log"))
    assert "['--epochs', '2']" in logs[0].read_text()
    again = forks.python("-m", "dominance", *words, cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "0 runs made, 2 used again" in again.stderr


EVALUATES = SCRIPT.replace(
    "print(sys",
    """with torch.no_grad():
    val = torch.randn(32, 4)
    z = torch.tanh(trunk(val))
    price_loss, stars_loss = (a(z) - val[:, :1]).square().mean(), 10 * (b(z) - val[:, 1:2]).square().mean()
print("evaluated", price_loss.item(), stars_loss.item())
print(sys""",
).replace(", price_loss.item())", ")")


def test_losses_of_an_evaluation_are_compared_as_metrics_are(forks: Forks, tmp_path: Path) -> None:
    """The script neither logs them nor calls eval(): that the data are ``val`` is said by a name."""
    script = EVALUATES.replace("with torch.no_grad():", "@torch.no_grad()\ndef validate():").replace(
        'print("evaluated"', '    print("evaluated"'
    )
    (tmp_path / "train.py").write_text(script.replace("print(sys", "validate()\nprint(sys"))
    words = ("try", "--methods", "pcgrad", "--seeds", "1", "-j", "2", "--every", "1", "train.py")
    done = forks.python("-m", "dominance", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head, plain, tried = done.stdout.splitlines()[:3]
    assert "price_loss eval-loss ↓" in head
    assert "stars_loss eval-loss ↓" in head
    assert "Scores: metrics of the split 'val'" in done.stdout
    runs = tmp_path / "trials/train/runs"
    for name, line in (("as-it-is", plain), ("pcgrad", tried)):
        (log,) = runs.glob(f"{name}*.log")
        said = next(line for line in log.read_text().splitlines() if line.startswith("evaluated"))
        for value in said.split()[1:]:
            assert f" {float(value):.4g} " in line
    (one,), (other,) = ([each for each in runs.glob(f"{name}*") if each.is_dir()] for name in ("as-it-is", "pcgrad"))
    done = forks.python("-m", "dominance", "compare", str(one), str(other), "--json", cwd=tmp_path)
    lines = [line for line in json.loads(done.stdout)["rows"] if line["quantity"] == "score"]
    assert [(line["task"], line["metric"], line["higher_is_better"]) for line in lines] == [
        (task, "eval-loss", False) for task in ("price_loss", "stars_loss")
    ]


def test_the_script_is_run_as_it_is_and_by_each_method() -> None:
    jobs = plan(read_methods("pcgrad,weights:a=1:b=0.5"), ("train.py", "--lr", "1"), ("--every", "5"), 2, None)
    assert [(job.label, job.seed) for job in jobs] == [
        (label, seed) for label in (AS_IT_IS, "pcgrad", "weights:a=1:b=0.5") for seed in (0, 1)
    ]
    assert jobs[-1].command("x")[5:] == [
        *("--every", "5", "--method", "weights", "--method-option", "a=1", "--method-option", "b=0.5"),
        *("--seed-run", "1", "train.py", "--lr", "1"),
    ]
    assert len({job.name for job in jobs}) == 6


def test_a_script_with_an_option_for_its_seed_is_given_seeds() -> None:
    job = plan(read_methods("uw"), ("train.py",), (), 3, "--seed")[2]
    assert job.script == ("train.py", "--seed", "2")
    assert "--seed-run" not in job.flags


def test_another_script_of_the_same_name_is_run_again() -> None:
    one, other = (plan(read_methods("uw"), ("train.py",), (), 1, None, stamp=stamp) for stamp in "ab")
    assert not {job.name for job in one} & {job.name for job in other}


def test_no_method() -> None:
    with pytest.raises(BadOption, match="names no method"):
        read_methods("equal-weight")


def runs_of(errors: dict[str, tuple[float, float]]) -> dict[str, Any]:
    made = {}
    for name, (a, b) in errors.items():
        metrics = [
            {"task": task, "split": "test", "name": "error", "value": value, "step": 3, "epoch": 0}
            for task, value in (("a", a), ("b", b))
        ]
        made[name] = as_tree(*make_rows(np.ones((4, 2, 3)), metrics=metrics, attrs={"seconds": 2.0}))
    return made


ERRORS = {"0": (1.0, 2.0), "1": (3.0, 2.0), "p0": (0.5, 2.0), "p1": (1.5, 1.0)}
METHODS = {"0": AS_IT_IS, "1": AS_IT_IS, "p0": "pcgrad", "p1": "pcgrad"}
SEEDS = {"0": 0, "1": 1, "p0": 0, "p1": 1}


def test_a_run_is_compared_with_the_script_as_it_is_of_the_same_seed() -> None:
    found = trials(runs_of(ERRORS), METHODS, reference=AS_IT_IS, seeds=SEEDS, higher_is_better={"error": False})
    row = found.rows[1]
    assert row.n == 2
    assert row.delta[0] == pytest.approx((0.25 + 0.5) / 2)  # by hand: (50 % + 0) / 2 and (50 % + 50 %) / 2
    assert row.delta[1] == pytest.approx(12.706 * 0.125, rel=1e-3)
    assert row.scores["a", "error"][0] == 1.0
    assert math.isnan(found.rows[0].delta[0])


def test_the_last_row_has_each_tasks_score_in_the_run_of_it_alone() -> None:
    errors = ERRORS | {"a0": (0.5, 9.0), "a1": (1.5, 9.0), "b0": (9.0, 4.0), "b1": (9.0, 6.0)}
    methods = METHODS | {name: f"{name[0]} alone" for name in ("a0", "a1", "b0", "b1")}
    seeds = SEEDS | {"a0": 0, "a1": 1, "b0": 0, "b1": 1}
    single = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    runs = runs_of(errors)
    found = trials(runs, methods, reference=AS_IT_IS, seeds=seeds, single=single, higher_is_better={"error": False})
    assert [row.method for row in found.rows] == [AS_IT_IS, "pcgrad", ALONE]
    last = found.rows[-1]
    assert {key: value[0] for key, value in last.scores.items()} == {("a", "error"): 1.0, ("b", "error"): 5.0}
    assert (last.n, last.seconds) == (2, 4.0)
    # By hand, seed by seed: (-100 % + 50 %) / 2 and (-100 % + 4/6) / 2.
    assert found.rows[0].alone[0] == pytest.approx(((-1 + 0.5) / 2 + (-1 + 2 / 3) / 2) / 2)
    lines = table(found, failed={}).splitlines()
    assert lines[3].split()[:7] == ["each", "alone", "2", "1", "±6.4", "5", "±13"]
    # Where nobody says which direction is better there is no Δ_M, and the scores can be compared by eye.
    undirected = table(trials(runs, methods, reference=AS_IT_IS, seeds=seeds, single=single), failed={})
    assert "Δ_M" not in undirected
    assert undirected.splitlines()[3].startswith("each alone")


def test_what_one_run_lacks_is_said_by_n_and_the_mean_is_of_the_others() -> None:
    errors = {name: value for name, value in ERRORS.items() if name != "p1"}
    found = trials(runs_of(errors), METHODS, reference=AS_IT_IS, seeds=SEEDS, higher_is_better={"error": False})
    text = table(found, failed={"pcgrad": 1})
    assert "pcgrad: 1 of its runs failed." in text
    line = next(line for line in text.splitlines() if line.startswith("pcgrad  "))
    assert line.split()[1] == "1"
    assert "+25.0%" in line


def test_metrics_of_some_tasks_only_are_not_compared_and_that_is_said() -> None:
    runs = runs_of({"0": (1.0, math.nan), "p0": (0.5, math.nan)})
    for run in runs.values():
        run["metric"] = run["metric"].to_dataset().isel(event=[0])
    found = trials(runs, METHODS, reference=AS_IT_IS, seeds=SEEDS)
    assert found.split == ""
    assert "Metrics were logged of a only: to be compared, every task needs one." in table(found, failed={})


def test_a_job_says_what_dominance_is_given() -> None:
    job = ScriptJob("n", "uw", ("--method", "uw"), ("-m", "pkg.train"))
    assert job.command("out") == ["record", "-q", "--force", "-o", "out", "--method", "uw", "-m", "pkg.train"]


@pytest.mark.parametrize(
    ("world", "words"),
    [("2", ["train.py"]), ("1", ["-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"])],
)
def test_processes_of_a_launcher_are_refused_before_anything_runs(
    forks: Forks, tmp_path: Path, world: str, words: list[str]
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = forks.python("-m", "dominance", "try", *words, cwd=tmp_path, environment={"WORLD_SIZE": world, "RANK": "0"})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "process" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
