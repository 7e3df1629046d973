"""A layer that is made anew in mid-run goes on under its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dominance import open_run
from dominance.config import RecordOptions
from dominance.record.script.session import ScriptSession

STEPS, AT = 6, 3
Replace = Callable[[nn.ModuleDict, torch.optim.Optimizer], torch.optim.Optimizer]


def anew(net: nn.ModuleDict, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Another optimizer for all."""
    net["trunk"] = nn.Linear(4, 8)
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def added(net: nn.ModuleDict, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimizer, which holds the old layer as well."""
    net["trunk"] = nn.Linear(4, 8)
    optimizer.add_param_group({"params": list(net["trunk"].parameters())})
    return optimizer


def train(replace: Replace, *, by_hand: bool) -> list[list[Tensor]]:
    """Of each step: both tasks' gradients of the trunk's weight, taken by hand, and how it moved."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(4, 8), "a": nn.Linear(8, 1), "b": nn.Linear(8, 1)})
    optimizer: torch.optim.Optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    steps = []
    for step in range(STEPS):
        if step == AT:
            optimizer = replace(net, optimizer)
        weight = net["trunk"].weight
        z = net["trunk"](torch.randn(5, 4)).tanh()
        loss_a, loss_b = net["a"](z).square().mean(), (net["b"](z) - 1).square().mean()
        found = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (loss_a, loss_b) if by_hand]
        before = weight.detach().clone()
        optimizer.zero_grad()
        (loss_a + loss_b).backward()
        optimizer.step()
        steps.append([each.flatten() for each in (*found, weight.detach() - before)])
    return steps


@pytest.mark.parametrize("replace", [anew, added])
def test_its_steps_are_recorded_in_the_place_of_the_old_ones(tmp_path: Path, replace: Replace) -> None:
    options = RecordOptions(every=1, exact=True, quiet=True)
    session = ScriptSession(tmp_path / "run", options, script="", argv=[], force=False, resume=False)
    session.check_output()
    session.start()
    train(replace, by_hand=False)
    session.finish("complete")
    truth = train(replace, by_hand=True)
    with open_run(tmp_path / "run") as run:
        steps = run["step"].to_numpy().tolist()
        assert steps == [step for step in range(STEPS) if step != AT]
        assert run.attrs["unrecorded"][0]["first"] == AT
        gradient, update = (run[name].to_dataset() for name in ("gradient", "update"))
        trunk = gradient["parameter"].to_numpy() == "trunk.weight"
        for row, step in enumerate(steps):
            found = gradient["gradient"][row].sel(task=["loss_a", "loss_b"]).to_numpy()[:, trunk]
            np.testing.assert_allclose(found, truth[step][:2], rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(update["total"][row].to_numpy()[trunk], truth[step][2], rtol=1e-5, atol=1e-7)
        assert float(run["closure"].max()) < 1e-4
