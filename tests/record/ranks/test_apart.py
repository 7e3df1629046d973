"""Processes that do not all do the same: some make passes or steps of their own, and none waits for another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from record.launched import Launcher
from record.ranked import assert_untouched, by_hand, recorded

from dominance import open_run

SCRIPT = """
import os
from datetime import timedelta
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo", timeout=timedelta(seconds=60))
rank = dist.get_rank()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x):
        z = self.trunk(x).tanh()
        return self.a(z), self.b(z)


def losses(model):
    a, b = model(torch.randn(4, 4))
    return a.square().mean(), (b - 1).square().mean()


def alone():
    loss_a, loss_b = losses(net)
    (loss_a + loss_b).backward()


torch.manual_seed(0)
net = Net()
torch.manual_seed(1 + rank)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
BEFORE
model = DistributedDataParallel(net)
truth = {}
for step in range(4):
    IN_STEP
    optimizer.zero_grad()
    loss_a, loss_b = losses(model)
    if "TRUTH" in os.environ:
        names, parameters = zip(*net.named_parameters())
        found = [
            torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
            for loss in (loss_a, loss_b)
        ]
        truth[step] = {task: dict(zip(names, each)) for task, each in zip(("loss_a", "loss_b"), found)}
    (loss_a + loss_b).backward(retain_graph=True)
    AFTER_BACKWARD
    optimizer.step()
gradients = {name: p.grad for name, p in net.named_parameters()}
state = {"weights": net.state_dict(), "gradients": gradients, "random": [torch.get_rng_state(), 0.0]}
torch.save(truth, f"truth-{rank}.pt")
torch.save(state, f"state-{rank}.pt")
dist.barrier()
"""

ANOTHER_MODEL = """if rank == 0 and step:
        probe = nn.Linear(8, 1)
        of_probe = torch.optim.SGD(probe.parameters(), lr=0.1)
        for _ in range(2):
            of_probe.zero_grad()
            probe_loss = probe(net.trunk(torch.randn(4, 4)).detach()).square().mean()
            probe_loss.backward()
            of_probe.step()"""
STEP_BEFORE = "if rank == {}: alone(); optimizer.step()"
FORMS = {
    "rank 0 looks": ("", "if rank == 0: alone()"),
    "rank 0 trains another model": ("", ANOTHER_MODEL),
    "rank 0 steps before": (STEP_BEFORE.format(0), ""),
    "rank 1 steps before": (STEP_BEFORE.format(1), ""),
}


def script(folder: Path, *, before: str = "", in_step: str = "", after_backward: str = "") -> str:
    path = folder / "train.py"
    parts = {"BEFORE": before, "IN_STEP": in_step, "AFTER_BACKWARD": after_backward}
    text = SCRIPT
    for name, part in parts.items():
        text = text.replace(name, part)
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("form", FORMS)
def test_what_one_process_does_alone_leaves_the_recording_of_all_as_it_is(
    launcher: Launcher, tmp_path: Path, form: str
) -> None:
    before, in_step = FORMS[form]
    path = script(tmp_path, before=before, in_step=in_step, after_backward="dist.all_reduce(torch.ones(1))")
    plain, truth, folder = (tmp_path / name for name in ("plain", "truth", "recorded"))
    for each in (plain, truth, folder):
        each.mkdir()
    launcher.run(plain, [path], size=2)
    launcher.run(truth, [path], size=2, environment={"TRUTH": "1"})
    made = launcher.run(folder, [path], record=["--every", "1", "--exact", "-o", "run"], size=2)
    assert made.codes == [0, 0]
    assert_untouched(plain, folder, 2)
    with open_run(folder / "run") as run:
        assert (run.attrs["ranks"], run.attrs["status"], run.attrs["remarks"]) == (2, "complete", [])
    first = int(form == "rank 0 steps before")
    found = recorded(folder / "run")
    assert list(found) == list(range(4 + first))
    for step, tasks in by_hand(truth, 2).items():
        for task, gradients in tasks.items():
            for name, expected in gradients.items():
                torch.testing.assert_close(found[step + first][task][name], expected.flatten(), rtol=2e-5, atol=1e-6)


def test_steps_that_a_process_took_alone_stay_in_a_run_of_its_own(launcher: Launcher, tmp_path: Path) -> None:
    path = script(tmp_path, before=STEP_BEFORE.format(1))
    assert launcher.run(tmp_path, [path], record=["--every", "1", "-o", "run"], size=2).codes == [0, 0]
    for name, steps in (("run", [0, 1, 2, 3]), ("run-rank1", [0])):
        with open_run(tmp_path / name) as run:
            assert run["step"].to_numpy().tolist() == steps


def test_a_second_backward_over_one_forward_is_said_not_to_be_averaged(launcher: Launcher, tmp_path: Path) -> None:
    path = script(tmp_path, after_backward="loss_a.backward()")
    made = launcher.run(tmp_path, [path], record=["--every", "1", "-o", "run"], size=2)
    assert made.codes == [0, 0]
    assert sum("the processes' weights drift apart" in line for line in made.said) == 1
