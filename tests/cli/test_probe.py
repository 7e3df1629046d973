"""``--probe noise``: of a script, and of a training from scratch."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_benchmark
import torch
from forks import Forks

from dominance.analyse.noise import noise_importance
from dominance.benchmarks.train import checkpoint
from dominance.benchmarks.train.evaluation import evaluate
from dominance.benchmarks.train.plan import TrainOptions, plan
from dominance.record.evaluation import _listening
from dominance.store.reader import open_run
from dominance_cli.main import main

SCRIPT = """
import sys, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
trunk, heads = nn.Linear(4, 4), [nn.Linear(4, 1), nn.Linear(4, 1)]
optimizer = torch.optim.SGD([p for part in (trunk, *heads) for p in part.parameters()], lr=0.1)
x = torch.randn(20, 4)
def scores(models):
    assert sorted(models) == ["heads.0", "heads.1", "trunk"], sorted(models)
    h = models["trunk"](x)
    return {name: {"fit": -models[f"heads.{i % 2}"](h).square().mean().item()} for i, name in enumerate(sys.argv[2:])}
if sys.argv[1] == "evaluates":
    import dominance
    dominance.evaluate(scores)
for _ in range(4):
    h = trunk(x)
    up, down = heads[0](h).square().mean(), heads[1](h).square().mean()
    optimizer.zero_grad()
    (up + down).backward()
    optimizer.step()
if sys.argv[2:] == ["exits"]:
    sys.exit(3)
"""


def record(forks: Forks, folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code, and the lines on stderr."""
    (folder / "train.py").write_text(SCRIPT)
    files = [folder / name for name in ("in", "out", "err")]
    files[0].touch()
    options = ["--every", "1", "-o", "run", "--probe", "noise"]
    code = forks.run(["train.py", *arguments], record=options, files=files, cwd=folder)
    return code, files[2].read_text().splitlines()


def information(run: Path) -> dict[str, Any]:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as left:
        main(["info", str(run), "--json", "--verify"])
    assert left.value.code == 0
    return dict(json.loads(text.getvalue()))


def test_a_script_with_several_models_is_probed(forks: Forks, tmp_path: Path) -> None:
    code, said = record(forks, tmp_path, "evaluates", "up", "down", "sideways")
    assert code == 0
    assert re.fullmatch(
        r"dominance: noise probe: \d+ evaluations; noise on up to 20 % of \d+ shared parameters", said[-4]
    )
    assert said[-3] == "dominance: the evaluation of sideways is left out: no task of the run"
    assert 'higher_is_better={"fit": True}), or False' in said[-2]
    assert said[-1] == "dominance report run"
    run = open_run(tmp_path / "run")
    found = noise_importance(run)
    assert found.attrs["directions_missing"] == ["fit"]
    assert "specificity" not in found
    assert np.isfinite(found["change"]).all()
    assert "specificity" in noise_importance(run, higher_is_better={"fit": True})
    facts = information(tmp_path / "run")
    assert facts["probes"] == ["noise"]
    assert facts["averages"]
    assert facts["problems"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["does not"],
            "no noise probe: the script does not say how its model is evaluated; call dominance.evaluate(fn)",
        ),
        (["evaluates", "left", "right"], "no noise probe: the evaluation speaks of left, right, the run of up, down"),
    ],
)
def test_what_keeps_it_from_being_made_is_said(arguments: list[str], says: str, forks: Forks, tmp_path: Path) -> None:
    code, said = record(forks, tmp_path, *arguments)
    assert code == 0
    assert says in said[-2]
    assert "noise" not in open_run(tmp_path / "run")["probe"].children


def test_a_script_that_fails_is_not_probed(forks: Forks, tmp_path: Path) -> None:
    code, said = record(forks, tmp_path, "evaluates", "exits")
    assert code == 3
    assert said[-2:] == ["dominance: error: no noise probe: the script did not come to its end", "dominance report run"]
    assert "noise" not in open_run(tmp_path / "run")["probe"].children


def test_only_known_probes(capfd: pytest.CaptureFixture[str]) -> None:
    before = list(_listening)
    with pytest.raises(SystemExit) as left:
        main(["record", "--probe", "nose", "train.py"])
    assert left.value.code == 2
    assert "probe 'nose' is unknown; choose from noise" in capfd.readouterr().err
    assert _listening == before


def train(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["train", *arguments])
    return int(str(left.value.code or 0))


def test_a_training_is_probed_on_its_test_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small_benchmark.install(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = tmp_path / "run"
    before = torch.get_rng_state()
    assert train("small", "--method", "equal-weight", "--every", "1", "--probe", "noise", "-o", str(path)) == 0
    assert torch.equal(torch.get_rng_state(), before)
    assert re.search(r"noise probe: \d+ evaluations", capfd.readouterr().err)
    found = noise_importance(open_run(path)).load()
    made = plan(TrainOptions.from_plain(checkpoint.load(path)["options"]))
    made.benchmark.load(0)
    model = made.benchmark.model(made.architecture, made.names)
    model.load_state_dict(checkpoint.load(path)["model"])
    truth = evaluate(made.benchmark, model, "test", tasks=made.names, batch_size=4)
    assert float(found["baseline"].sel(task="y", metric="mse")) == pytest.approx(truth["y"]["mse"], rel=1e-6)
    assert float(found["baseline"].sel(task="z", metric="accuracy")) == truth["z"]["accuracy"]
    assert np.isnan(found["baseline"].sel(task="z", metric="mse"))
    assert found.attrs["directions"] == {"y/mse": "lower", "y/mae": "lower", "z/accuracy": "higher"}
    assert found["specificity"].dims == ("owner", "against")

    first = (path / "data.zarr" / "probe").glob("*.[0-9]")
    assert sorted(folder.name for folder in first) == ["average.1", "noise.2"]
    assert train("--resume", str(path)) == 0  # is over; as it was begun, so it is probed, and finds the same
    assert sorted(folder.name for folder in (path / "data.zarr" / "probe").glob("*.[0-9]")) == ["average.1", "noise.3"]
    again = noise_importance(open_run(path)).load()
    assert again.equals(found)


def test_what_cannot_be_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small_benchmark.install(monkeypatch)
    out = ["-o", str(tmp_path / "run"), "--epochs", "1"]
    assert train("small", "--method", "stl", "--probe", "noise", *out) == 2
    assert "cannot probe tasks that are trained alone" in capfd.readouterr().err
    assert train("small", "--method", "equal-weight", "--no-record", "--probe", "noise", *out) == 2
    assert "cannot probe what is not recorded" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train("small", "--method", "equal-weight", "--tasks", "y", "--probe", "noise", "--every", "1", *out) == 0
    assert "no noise probe" in capfd.readouterr().err
    assert os.path.exists(tmp_path / "run")
