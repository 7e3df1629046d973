"""What tools of sweeps say of a trial, with stand-ins that have the names and the forms of theirs."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from forks import Forks
from hypothesis import given
from hypothesis import strategies as st

from dominance import open_study
from dominance.record.write.sweeps import _flat, sweeps

OPTUNA = '''
"""Stands in for Optuna: as much of it as a study of a few trials needs."""
import sys, types

class Trial:
    __module__ = "optuna.trial._trial"
    params = None
    def __init__(self, study, number):
        self.study, self.number, self.params = study, number, {}
    def suggest(self, name, value):
        self.params[name] = value
        return value

class Study:
    study_name = "toy"
    def optimize(self, objective, n_trials):
        for number in range(n_trials):
            trial = Trial(self, number)
            objective(trial)
'''
SCRIPT = """
import optuna, torch

def objective(trial):
    lr = trial.suggest("lr", 0.1 / 2**trial.number)
    torch.manual_seed(trial.number)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(3):
        outputs = model(torch.ones(5, 4))
        one, other = outputs[:, 0].pow(2).mean(), (outputs[:, 1] - 1).pow(2).mean()
        optimizer.zero_grad()
        (one + other).backward()
        optimizer.step()

optuna.Study().optimize(objective, 4)
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, and none of the tools is at hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    for name in ("optuna", "hydra.core.hydra_config", "wandb", "snakemake.script"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> None:
    made = ModuleType(name)
    vars(made).update(values)
    monkeypatch.setitem(sys.modules, name, made)


def trial(number: int, **params: Any) -> Any:
    kind = type("Trial", (), {"__module__": "optuna.trial._trial", "params": None, "number": None})
    made = kind()
    made.params, made.number, made.study = params, number, SimpleNamespace(study_name="s")
    return made


def test_nothing_is_said_where_nothing_is_at_hand_and_nothing_is_loaded() -> None:
    before = set(sys.modules)
    trial_of_mine = trial(3)  # but Optuna is not loaded
    assert sweeps() == []
    assert trial_of_mine.number == 3
    assert set(sys.modules) == before


def test_the_innermost_trial_of_optuna_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, "optuna")

    def inner(lr: float) -> Any:
        other = object()
        return sweeps(), other

    def objective(trial: Any) -> Any:
        return inner(trial.params["lr"])[0]

    outer = trial(1, lr=0.5)
    assert objective(trial(7, lr=0.25)) == [{"by": "optuna", "name": "s", "trial": 7, "parameters": {"lr": 0.25}}]
    assert sweeps()[0]["trial"] == outer.number


def test_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    job: dict[str, Any] = {"name": "train", "num": 4}
    task = ["lr=0.1", "+model.depth=3", "~old", "db=a=b"]
    config = SimpleNamespace(job=job, overrides=SimpleNamespace(task=task))
    kind = SimpleNamespace(initialized=lambda: True, get=lambda: config)
    module(monkeypatch, "hydra.core.hydra_config", HydraConfig=kind)
    parameters = {"lr": "0.1", "model.depth": "3", "db": "a=b"}
    assert sweeps() == [{"by": "hydra", "name": "train", "trial": 4, "parameters": parameters}]
    kind.initialized = lambda: False
    assert sweeps() == []


def test_a_process_that_a_job_of_hydra_has_started(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra/overrides.yaml").write_text("- lr=0.1\n- 'name=\"a b\"'\n")
    assert sweeps() == [{"by": "hydra", "parameters": {"lr": "0.1", "name": '"a b"'}}]
    (tmp_path / ".hydra/overrides.yaml").write_text("")
    assert sweeps() == []


def test_wandb_slurm_and_snakemake(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(as_dict=lambda: {"lr": 1, "_wandb": {}, "model": {"depth": [1, 2]}})
    module(monkeypatch, "wandb", run=None)
    assert sweeps() == []
    module(monkeypatch, "wandb", run=SimpleNamespace(config=config, sweep_id="w", id="r"))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "99")
    kind = type("Snakemake", (), {"__module__": "snakemake.script", "rule": "train"})
    job = kind()
    job.params, job.wildcards = {"epochs": 3}, {"lr": "0.1"}
    module(monkeypatch, "snakemake.script", snakemake=job)
    assert sweeps() == [
        {"by": "slurm", "trial": 12, "name": "99", "parameters": {}},
        {"by": "snakemake", "name": "train", "parameters": {"epochs": 3, "lr": "0.1"}},
        {"by": "wandb", "name": "w", "trial": "r", "parameters": {"lr": 1, "model.depth": [1, 2]}},
    ]


def test_what_raises_is_left_out_and_the_others_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises:
        @property
        def config(self) -> Any:
            raise RuntimeError("no connection")

    module(monkeypatch, "wandb", run=Raises())
    module(monkeypatch, "optuna")
    mine = trial(2)
    assert sweeps() == [{"by": "optuna", "name": "s", "trial": mine.number, "parameters": {}}]


class Colour(Enum):
    """A parameter of a sweep."""

    RED = 1


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=600)


@given(st.dictionaries(st.text(max_size=5), st.recursive(PLAIN, lambda x: st.lists(x) | st.dictionaries(st.text(), x))))
def test_parameters_are_json_whatever_they_are(parameters: dict[str, Any]) -> None:
    json.dumps(_flat(parameters), allow_nan=False)


def test_parameters_of_other_kinds() -> None:
    values = {"a": Colour.RED, "b": np.float32(0.5), "c": np.int64(3), "d": Path("x/y"), "e": object(), "f": np.ones(3)}
    assert _flat({**values, "g": {"h": True}}) == {
        "a": "RED", "b": 0.5, "c": 3, "d": "x/y", "e": "object", "f": "ndarray", "g.h": True,
    }  # fmt: skip


def test_each_trial_of_one_process_is_a_run_with_its_parameters(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "optuna.py").write_text(OPTUNA)
    (tmp_path / "search.py").write_text(SCRIPT)
    command = ("-m", "dominance", "record", "--every", "1", "-o", "trials/search", "search.py")
    done = forks.python(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    study = open_study(tmp_path / "trials")
    assert study["lr"].values.tolist() == [0.1, 0.05, 0.025, 0.0125]
    assert study["seed"].values.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(study["n"], np.eye(4))
    assert [study["trial"].values[i, i] for i in range(4)] == ["0", "1", "2", "3"]
    assert set(study["steps"].values[study["n"] > 0]) == {3.0}
