"""Where a run comes from: git's own answer is the truth."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from torch.optim import SGD, Adam

from dominance.record.recorder import Recorder
from dominance.record.split.attribution import Attributor
from dominance.record.write.provenance import describe, git_commit, versions
from dominance.store.reader import open_run


def git(folder: Path, *args: str) -> str:
    """Output of git, with no configuration of this machine's."""
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | identity
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "init.defaultBranch=main", *args]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "train.py").write_text("")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def truth(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD")


def test_a_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = git_commit(str(repository / "src" / "train.py"))
    assert found == truth(repository)
    assert len(found) == 40
    monkeypatch.chdir(repository / "src")
    assert git_commit("train.py") == found


def test_a_packed_reference(repository: Path) -> None:
    git(repository, "branch", "not-main")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert git_commit(str(repository / "src" / "train.py")) == truth(repository)


def test_a_detached_head(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert git_commit(str(repository / "src" / "train.py")) == truth(repository)


@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree(repository: Path, packed: bool) -> None:
    other = repository.parent / "other"
    git(repository, "worktree", "add", "-q", "-b", "feature/x", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "second")
    if packed:
        git(repository, "pack-refs", "--all")
    assert git_commit(str(other / "src" / "train.py")) == truth(other) != truth(repository)


def test_a_submodule(repository: Path) -> None:
    outer = repository.parent / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "inner")
    assert git_commit(str(outer / "inner" / "src" / "train.py")) == truth(repository)


def test_no_commit_is_known(tmp_path: Path, repository: Path) -> None:
    script = tmp_path / "alone.py"
    script.write_text("")
    assert git_commit(str(script)) is None
    assert git_commit(None) is None
    assert git_commit(str(tmp_path / "missing.py")) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    (empty / "train.py").write_text("")
    assert git_commit(str(empty / "train.py")) is None, "no commit yet"
    (repository / ".git" / "HEAD").unlink()
    assert git_commit(str(repository / "src" / "train.py")) is None, "a broken repository"


def test_versions() -> None:
    found = versions()
    assert set(found) == {"python", "torch", "dominance", "numpy", "zarr"}
    assert found["torch"] == torch.__version__


def test_an_optimizer() -> None:
    p, q = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = Adam([{"params": [p], "lr": 0.5}, {"params": [q], "mask": torch.ones(2), "call": print}], lr=0.1)
    optimizer.param_groups[0]["betas"] = (torch.tensor(0.5), 0.75)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5)
    found = describe(Attributor(optimizer))
    assert json.loads(json.dumps(found)) == found
    assert found["class"] == "Adam"
    first, second = found["groups"]
    assert (first["lr"], first["betas"], first["weight_decay"], first["foreach"]) == (0.5, [0.5, 0.75], 0, None)
    assert second["lr"] == 0.1
    assert not {"params", "mask", "call"} & set(second)


def test_names_of_parameters_are_no_hyper_parameters() -> None:
    optimizer = SGD([("weight", torch.zeros(2, requires_grad=True))], lr=0.1)
    assert "param_names" not in describe(Attributor(optimizer))["groups"][0]


@pytest.mark.parametrize("schedule", ["cosine", "warm-up", "by hand", None])
def test_a_run_says_the_rate_that_was_given_and_not_where_a_schedule_has_led(
    tmp_path: Path, schedule: str | None
) -> None:
    model = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in ("trunk", "left", "right")})
    optimizer = Adam(model.parameters(), lr=0.25, betas=(0.5, 0.75))
    made = {
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6),
        "warm-up": lambda: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10),
    }
    scheduler = made[schedule]() if schedule in made else None
    with Recorder(tmp_path / "run", model, optimizer, every=1, quiet=True):
        for _ in range(6):
            hidden = model["trunk"](torch.randn(4, 2)).tanh()
            optimizer.zero_grad()
            (model["left"](hidden).square().mean() + model["right"](hidden).abs().mean()).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            elif schedule == "by hand":
                optimizer.param_groups[0]["lr"] /= 2
    (group,) = open_run(tmp_path / "run").attrs["optimizers"][0]["groups"]
    assert (group["lr"], group["betas"]) == (0.25, [0.5, 0.75])
    assert "initial_lr" not in group
    assert schedule is None or optimizer.param_groups[0]["lr"] != 0.25
