"""Models that follow each other in one process: a run for each, and none of them is kept alive."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from forks import Forks
from record.in_session import in_session
from torch import nn

from dominance.config import RecordOptions
from dominance.record.script.models import free_path, model_path, remove_models
from dominance.record.script.session import ScriptSession
from dominance.schema import MODEL_NUMBER, MODEL_OF
from dominance.store.reader import open_run

torch.set_num_threads(1)


def train(steps: int = 3, names: tuple[str, ...] = ("depth", "seg")) -> nn.Module:
    net = nn.ModuleDict({"trunk": nn.Linear(4, 6), **{name: nn.Linear(6, 1) for name in names}})
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        z = net["trunk"](torch.randn(8, 4)).tanh()
        losses = {name: (net[name](z) - i).square().mean() for i, name in enumerate(names)}
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return net


def recorded(path: Path, program: Callable[[], object], *, force: bool = False, every: int = 1) -> ScriptSession:
    with in_session(path, RecordOptions(every=every, quiet=True), [], force=force) as session:
        program()
    return session


def test_each_model_has_a_run_also_where_a_closure_makes_its_first_pass(tmp_path: Path) -> None:
    def closed() -> None:
        net = nn.ModuleDict({"trunk": nn.Linear(4, 6), "depth": nn.Linear(6, 1), "seg": nn.Linear(6, 1)})
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

        def closure() -> torch.Tensor:
            z = net["trunk"](torch.randn(8, 4)).tanh()
            depth, seg = net["depth"](z).square().mean(), net["seg"](z).abs().mean()
            optimizer.zero_grad()
            loss = depth + seg
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.step(closure)

    recorded(tmp_path / "run", lambda: [closed(), closed()])
    runs = [open_run(model_path(tmp_path / "run", number)) for number in (1, 2)]
    assert [len(run["gradient/total"]) for run in runs] == [3, 3]


def test_each_start_of_a_toy_without_a_module_has_a_run(tmp_path: Path) -> None:
    def toy(start: float) -> None:
        x = torch.tensor([start, 1.0], requires_grad=True)
        optimizer = torch.optim.Adam([x], lr=0.01)
        for _ in range(3):
            near, far = (x - 1).square().sum(), (x + 9).abs().sum()
            optimizer.zero_grad()
            (near + far).backward()
            optimizer.step()

    recorded(tmp_path / "run", lambda: [toy(3.0), toy(-2.0)])
    runs = [open_run(model_path(tmp_path / "run", number)) for number in (1, 2)]
    assert [run.attrs["tasks"] for run in runs] == [["near", "far"]] * 2


@pytest.mark.parametrize("every", [1, 4])
def test_each_model_has_a_run_of_its_own(tmp_path: Path, every: int) -> None:
    recorded(tmp_path / "run", lambda: [train(), train(), train(5)], every=every)
    runs = [open_run(model_path(tmp_path / "run", number)) for number in (1, 2, 3)]
    assert [run.attrs["steps_taken"] for run in runs] == [3, 3, 5]
    assert [run.attrs["tasks"] for run in runs] == [["depth", "seg"]] * 3
    assert [run.attrs.get(MODEL_NUMBER, 1) for run in runs] == [1, 2, 3]
    assert runs[2].attrs[MODEL_OF] == ["run", "run-2", "run-3"]
    assert all(run.attrs["complete"] for run in runs) if "complete" in runs[0].attrs else True


def test_baselines_and_then_the_joint_model(tmp_path: Path) -> None:
    recorded(tmp_path / "run", lambda: [train(names=("depth",)), train(names=("seg",)), train()])
    tasks = [open_run(model_path(tmp_path / "run", number)).attrs["tasks"] for number in (1, 2, 3)]
    assert tasks == [["depth"], ["seg"], ["depth", "seg"]]


def pair(out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (out[:, 0] - 1).square().mean(), out[:, 1].abs().mean()


def named_in_a_function(net: nn.Module, optimizer: torch.optim.Optimizer | None, steps: int = 3) -> None:
    """Only the source lines of the forward can name the losses."""
    for _ in range(steps):
        sum(pair(net(torch.randn(8, 4)))).backward()
        if optimizer is None:
            for p in net.parameters():
                p.data -= 0.1 * p.grad
        else:
            optimizer.step()
        net.zero_grad()


@pytest.mark.parametrize("kind", ["optimizer", "copied", "by hand"])
def test_the_losses_of_every_model_have_names_from_its_first_step_on(kind: str, tmp_path: Path) -> None:
    first = nn.Linear(4, 2)

    def fold() -> None:
        net = copy.deepcopy(first) if kind == "copied" else nn.Linear(4, 2)
        named_in_a_function(net, None if kind == "by hand" else torch.optim.SGD(net.parameters(), lr=0.1))

    recorded(tmp_path / "run", lambda: [fold(), fold()])
    runs = [open_run(model_path(tmp_path / "run", number)) for number in (1, 2)]
    assert [run["step"].values.tolist() for run in runs] == [[0, 1, 2]] * 2
    assert runs[0].attrs["tasks"] == runs[1].attrs["tasks"]


def test_parameters_that_come_up_at_every_step_do_not_have_all_source_lines_kept(tmp_path: Path) -> None:
    kept = []

    def train() -> None:
        net = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(10):
            nn.Linear(4, 2)
            loss = sum(pair(net(torch.randn(8, 4))))
            kept.append("traceback_" in cast(Any, loss.grad_fn).metadata)
            loss.backward()
            optimizer.step()

    recorded(tmp_path / "run", train)
    assert kept == [True] * 4 + [False] * 6, "the first step, and a few in case a model follows"


def test_models_that_take_turns(tmp_path: Path) -> None:
    """Each is made when those before have trained already; all go on."""

    def turns() -> None:
        nets = []
        for _ in range(3):
            net = nn.ModuleDict({"trunk": nn.Linear(4, 6), "a": nn.Linear(6, 1), "b": nn.Linear(6, 1)})
            nets.append((net, torch.optim.SGD(net.parameters(), lr=0.01)))
            for net, optimizer in nets:
                z = net["trunk"](torch.randn(8, 4)).tanh()
                a_loss, b_loss = net["a"](z).square().mean(), net["b"](z).abs().mean()
                optimizer.zero_grad()
                (a_loss + b_loss).backward()
                optimizer.step()

    recorded(tmp_path / "run", turns)
    assert [open_run(model_path(tmp_path / "run", n)).attrs["steps_taken"] for n in (1, 2, 3)] == [3, 2, 1]


def test_a_model_that_the_script_lets_go_is_let_go(tmp_path: Path) -> None:
    """Another net that an optimizer holds all the time, and no task reaches, does not keep it."""
    seen: list[bool] = []

    def sweep() -> None:
        beside = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(beside.parameters(), lr=0.1)
        first = weakref.ref(cast(Any, train())["trunk"].weight)
        train()
        gc.collect()
        seen.append(first() is None)
        assert optimizer.param_groups[0]["params"][0] is beside.weight

    recorded(tmp_path / "run", sweep)
    assert seen == [True]


def test_what_somebody_else_has_put_there_stays(tmp_path: Path) -> None:
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2" / "notes.txt").write_text("mine")
    recorded(tmp_path / "run", lambda: [train(), train()])
    assert (tmp_path / "run-2" / "notes.txt").read_text() == "mine"
    assert open_run(tmp_path / "run-3").attrs[MODEL_OF] == ["run", "run-3"]


def test_force_replaces_the_runs_of_all_models(tmp_path: Path) -> None:
    recorded(tmp_path / "run", lambda: [train(), train(), train()])
    recorded(tmp_path / "run", train, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_run_of_another_name_is_not_removed(tmp_path: Path) -> None:
    for name in ("run", "run-2"):
        recorded(tmp_path / name, train)
    remove_models(tmp_path / "run")
    assert (tmp_path / "run-2").is_dir()
    assert free_path(tmp_path / "run", 2) == tmp_path / "run-3"


def test_the_command_names_every_run(forks: Forks, tmp_path: Path) -> None:
    script = tmp_path / "folds.py"
    script.write_text(
        "import torch\n"
        "for fold in range(2):\n"
        "    net = torch.nn.Linear(3, 2)\n"
        "    optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "    left, right = net(torch.randn(5, 3)).square().mean(0)\n"
        "    (left + right).backward()\n"
        "    optimizer.step()\n"
    )
    command = ["-m", "dominance", "record", "--every", "1", "-o", str(tmp_path / "run"), str(script)]
    done = forks.python(*command, cwd=tmp_path)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "recorded in" in line] == [
        f"dominance: 1 step recorded in {tmp_path / 'run'}",
        f"dominance: 1 step recorded in {tmp_path / 'run-2'}",
    ]
    assert json.loads((tmp_path / "run-2" / "data.zarr" / "zarr.json").read_text())["attributes"][MODEL_NUMBER] == 2
