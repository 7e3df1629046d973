"""A process that ends, or whose recording does: the others go on as they would, and none waits for it."""

from __future__ import annotations

from pathlib import Path

from record.launched import Launcher

from dominance import open_run

SCRIPT = """
import os, sys
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
        z = self.trunk(x)
        return self.a(z), self.b(z)


torch.manual_seed(0)
model = DistributedDataParallel(Net())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    a, b = model(torch.randn(4, 4))
    loss_a, loss_b = a.square().mean(), (b - 1).square().mean()
    optimizer.zero_grad()
    (loss_a + loss_b).backward()
    if rank == 1 and step == 3:
        WHAT
    optimizer.step()
print("end", sum(p.double().sum().item() for p in model.parameters()))
"""
RECORD = ["--every", "1", "-o", "run"]


def script(folder: Path, what: str) -> str:
    path = folder / "train.py"
    path.write_text(SCRIPT.replace("WHAT", what))
    return str(path)


def test_a_recording_that_fails_in_one_process_ends_in_all_and_the_training_goes_on(
    launcher: Launcher, tmp_path: Path
) -> None:
    fails = "from dominance.record import at_step; at_step.before_step = None"
    (tmp_path / "plain").mkdir()
    plain = launcher.run(tmp_path / "plain", [script(tmp_path, "pass")], size=2)
    made = launcher.run(tmp_path, [script(tmp_path, fails)], record=RECORD, size=2)
    assert made.codes == [0, 0]
    assert made.outputs == plain.outputs
    assert [line for line in made.said if "rank 1: recording stopped at step 3" in line]
    assert [line for line in made.said if "another process of the training ended, or stopped recording" in line]
    with open_run(tmp_path / "run") as run:
        assert run["step"].to_numpy().tolist() == [0, 1, 2, 3]
        assert "another process" in run.attrs["failure"]


def test_a_process_that_is_killed_leaves_the_run_of_the_others_readable(launcher: Launcher, tmp_path: Path) -> None:
    made = launcher.run(tmp_path, [script(tmp_path, "os.kill(os.getpid(), 9)")], record=RECORD, size=2)
    assert made.codes == [1, -9]  # the script's own collective fails
    with open_run(tmp_path / "run") as run:
        assert run["step"].to_numpy().tolist() == [0, 1, 2, 3]
        assert run.attrs["status"] != "complete"


def test_a_recorder_in_one_process_only_says_that_its_gradients_are_its_own(launcher: Launcher, tmp_path: Path) -> None:
    alone = SCRIPT.replace("WHAT", "pass").replace(
        "for step in range(6):",
        "import contextlib, dominance\n"
        "with dominance.Recorder('run', model, optimizer) if rank == 0 else contextlib.nullcontext():\n"
        "  for step in range(6):",
    )
    head, loop = alone.split("  for step in range(6):\n")
    body, end = loop.split("print(")
    path = tmp_path / "train.py"
    path.write_text(
        f"{head}  for step in range(6):\n" + "".join(f"  {line}\n" for line in body.splitlines()) + f"print({end}"
    )
    made = launcher.run(tmp_path, [str(path)], size=2)
    assert made.codes == [0, 0]
    assert sum("those of this process alone" in line for line in made.said) == 1
    with open_run(tmp_path / "run") as run:
        assert [text for text in run.attrs["remarks"] if "those of this process alone" in text]
