"""Steps between bursts: counted, and hardly looked at."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import torch
from torch import nn

import dominance
from dominance import Recorder

Losses = list[torch.Tensor]


def model() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"trunk": nn.Linear(4, 8), "a": nn.Linear(8, 1), "b": nn.Linear(8, 1)})


def losses(net: nn.ModuleDict) -> Losses:
    z = net["trunk"](torch.ones(2, 4))
    return [net["a"](z).square().mean(), (net["b"](z) - 1).square().mean()]


def calls_of(action: object) -> int:
    """How many functions of the package an action calls."""
    called = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal called
        called += event == "call" and "dominance/record/" in frame.f_code.co_filename

    sys.setprofile(seen)
    try:
        action()  # type: ignore[operator]
    finally:
        sys.setprofile(None)
    return called


def test_a_step_between_bursts_is_hardly_looked_at(tmp_path: Path) -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimizer.zero_grad()
        sum(losses(net)).backward()
        optimizer.step()

    with Recorder(tmp_path / "run", net, optimizer, every=100, burst=1, quiet=True):
        recorded = calls_of(step)
        step()
        step()
        between = calls_of(step)
    assert between < 130 < recorded / 5


def test_steps_of_several_passes_and_optimizers_are_counted_as_one(tmp_path: Path) -> None:
    net = model()
    both = [
        torch.optim.SGD(net["trunk"].parameters(), 0.1),
        torch.optim.Adam([*net["a"].parameters(), *net["b"].parameters()]),
    ]
    with Recorder(tmp_path / "run", net, both, every=4, burst=1, quiet=True):
        for _ in range(9):
            for optimizer in both:
                optimizer.zero_grad()
            for _ in range(2):
                sum(losses(net)).backward()
            for optimizer in both:
                optimizer.step()
    run = dominance.open_run(tmp_path / "run")
    assert run["step"].to_numpy().tolist() == [0, 4, 8]
    assert run.attrs["steps_taken"] == 9
    run.close()


def test_a_gradient_that_is_kept_over_a_pause_is_known_after_it(tmp_path: Path) -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with Recorder(tmp_path / "run", net, optimizer, every=4, burst=1, quiet=True):
        for step in range(9):
            if step != 4:
                optimizer.zero_grad()
            sum(losses(net)).backward()
            optimizer.step()
    layer = dominance.open_run(tmp_path / "run")["layer"]
    residual = layer["residual_gradient_sq"].to_numpy().sum(1)
    assert (residual > 0).tolist() == [False, True, False]
