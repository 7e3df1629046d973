"""Tasks that the source calls alike, told apart by their heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xarray import DataTree

from dominance import Recorder, open_run

torch.set_num_threads(1)


def both(first: Tensor, second: Tensor) -> Tensor:
    return F.mse_loss(first, torch.ones_like(first)) + F.mse_loss(second, torch.zeros_like(second))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 5)
        self.count = nn.Linear(5, 1)
        self.size = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.trunk(x))
        return self.count(hidden), self.size(hidden)


def tasks_of(kind: type[TwoHeads], folder: Path) -> list[str]:
    """What the tasks of a short training are called."""
    torch.manual_seed(0)
    net = kind()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(folder, net, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            both(*net(torch.randn(8, 4))).backward()
            optimizer.step()
    tasks: list[str] = open_run(folder).attrs["tasks"]
    return tasks


def test_two_calls_of_one_loss_function_are_called_after_their_heads(tmp_path: Path) -> None:
    assert tasks_of(TwoHeads, tmp_path / "run") == ["count", "size"]


def test_a_model_for_each_over_one_trunk_gives_the_task_its_variable(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = nn.Linear(4, 5)
    first, second = nn.Sequential(trunk, nn.Linear(5, 1)), nn.Sequential(trunk, nn.Linear(5, 1))
    models = nn.ModuleList([first, second])
    optimizer = torch.optim.SGD(models.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", models, optimizer):
        for _ in range(3):
            x = torch.randn(8, 4)
            optimizer.zero_grad()
            both(*(model(x) for model in models)).backward()
            optimizer.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["first", "second"]


def test_heads_without_names_are_numbered(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 1), nn.Linear(5, 1)])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(3):
            hidden = torch.tanh(net[0](torch.randn(8, 4)))
            optimizer.zero_grad()
            both(net[1](hidden), net[2](hidden)).backward()
            optimizer.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["mse_loss.1", "mse_loss.2"]


def some(net: TwoHeads, x: Tensor, *, size: bool) -> Tensor:
    first, second = net(x)
    total = F.l1_loss(first, torch.ones_like(first)) + net.trunk.weight.square().sum()
    return total + F.l1_loss(second, torch.ones_like(second)) if size else total


def test_a_task_that_is_alone_in_a_batch_keeps_its_head_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TwoHeads()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for step in range(4):
            optimizer.zero_grad()
            some(net, torch.randn(8, 4), size=step % 2 == 0).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["count", "size"]
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, True], [True, False]] * 2


def one_variable(folder: Path, steps: int, *, each_step: bool) -> DataTree:
    """The run of two losses by the name of ``loss``: of one batch, or of batches that take turns."""
    torch.manual_seed(0)
    net = TwoHeads()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(folder / "run", net, optimizer):
        _train_by_turns(net, optimizer, steps, each_step=each_step)
    return open_run(folder / "run")


def _train_by_turns(net: TwoHeads, optimizer: torch.optim.Optimizer, steps: int, *, each_step: bool) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        count, size = net(torch.randn(8, 4))
        if each_step or step % 2 == 0:
            loss = F.l1_loss(count, torch.ones_like(count))
            loss.backward(retain_graph=True)
        if each_step or step % 2 == 1:
            loss = F.mse_loss(size, torch.ones_like(size))
            loss.backward()
        optimizer.step()


def test_the_first_of_the_losses_that_one_variable_holds_is_called_after_its_head_too(tmp_path: Path) -> None:
    run = one_variable(tmp_path, 3, each_step=True)
    assert run.attrs["tasks"] == ["count", "size"]
    np.testing.assert_allclose(run["loss/weight"].values, 1)


def test_a_run_that_has_begun_keeps_the_name_of_its_first_task(tmp_path: Path) -> None:
    run = one_variable(tmp_path, 4, each_step=False)
    assert run.attrs["tasks"] == ["loss", "size"]
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, False], [False, True]] * 2


class EachTask(nn.Module):
    """One line for every task's loss, by a criterion of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.criteria = nn.ModuleDict({"count": nn.MSELoss(), "size": nn.L1Loss()})

    def forward(self, out: dict[str, Tensor]) -> Tensor:
        losses = {name: self.criteria[name](out[name], torch.ones_like(out[name])) for name in out}
        return sum(losses.values(), start=torch.zeros(()))


def test_losses_of_one_line_by_different_criteria_are_called_after_their_heads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, criterion = TwoHeads(), EachTask()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            criterion(dict(zip(("count", "size"), net(torch.randn(8, 4)), strict=True))).backward()
            optimizer.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["count", "size"]


def test_losses_of_one_line_whose_heads_have_no_names_are_called_after_their_functions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, criterion = nn.ModuleList([nn.Linear(4, 5), nn.Linear(5, 1), nn.Linear(5, 1)]), EachTask()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(3):
            hidden = torch.tanh(net[0](torch.randn(8, 4)))
            optimizer.zero_grad()
            criterion({"count": net[1](hidden), "size": net[2](hidden)}).backward()
            optimizer.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["mse_loss", "l1_loss"]


class Gated(TwoHeads):
    """A gate of its own for each task, before its head."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.ModuleDict({"count_gate": nn.Linear(5, 5), "size_gate": nn.Linear(5, 5)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.trunk(x))
        count, size = (hidden * gate(hidden).sigmoid() for gate in self.gates.values())
        return self.count(count), self.size(size)


def test_of_several_parts_of_one_task_the_nearest_to_the_loss_names_it(tmp_path: Path) -> None:
    assert tasks_of(Gated, tmp_path / "run") == ["count", "size"]
