"""Tasks that the source calls alike, told apart by their heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def test_two_calls_of_one_loss_function_are_called_after_their_heads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TwoHeads()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            both(*net(torch.randn(8, 4))).backward()
            optimizer.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["count", "size"]


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
