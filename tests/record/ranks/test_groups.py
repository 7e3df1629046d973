"""Groups of examples under DistributedDataParallel: each process has a part of the batch, the run is of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from record.launched import Launcher
from torch import nn

from dominance import open_run

NAMES, SIZE, STEPS = ["de", "fr", "ja"], 24, 3

SCRIPT = """
import torch, torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

torch.set_num_threads(1)
dist.init_process_group("gloo")
made = torch.Generator().manual_seed(0)
xs, ys = torch.randn(24, 4, generator=made), torch.randint(0, 3, (24,), generator=made)
langs = torch.randint(0, 3, (24,), generator=made).tolist()
data = [{"x": xs[i], "y": int(ys[i]), "lang": ["de", "fr", "ja"][langs[i]]} for i in range(24)]
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
sampler = DistributedSampler(data, shuffle=False)
for batch in DataLoader(data, 4, sampler=sampler):
    loss = F.cross_entropy(model(batch["x"]), batch["y"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
"""


def by_hand() -> np.ndarray:
    """(step, group, parameter) in one process: the sampler deals examples out in turn."""
    made = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(SIZE, 4, generator=made), torch.randint(0, 3, (SIZE,), generator=made)
    langs = torch.randint(0, 3, (SIZE,), generator=made)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    found = []
    for x, y, lang in zip(xs.split(8), ys.split(8), langs.split(8), strict=True):
        rows = []
        for group in range(len(NAMES)):
            losses = F.cross_entropy(net(x), y, reduction="none") * (lang == group)
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(losses.mean(), list(net.parameters()))]))
        found.append(torch.stack(rows).numpy())
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return np.stack(found)


def test_each_process_has_a_part_of_the_batch(tmp_path: Path, launcher: Launcher) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    ran = launcher.run(
        tmp_path, ["train.py"], size=2, record=["-o", "run", "--groups", "lang", "--every", "1", "--exact"]
    )
    assert ran.codes == [0, 0], ran.errors
    run = open_run(tmp_path / "run")
    assert run["step"].values.tolist() == list(range(STEPS))
    found = run["gradient/gradient"].sel(task=NAMES).transpose("step", "task", "coord").values
    np.testing.assert_allclose(found, by_hand(), atol=1e-6, rtol=1e-5)
    table = run["metric"].to_dataset(inherit=False).to_dataframe()
    counted = table[table["metric"] == "examples"].groupby("event_step")["value"].sum()
    assert counted.tolist() == [4.0] * STEPS  # of the process that writes the run


def test_light_leaves_it_as_it_is(tmp_path: Path, launcher: Launcher) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    ran = launcher.run(
        tmp_path, ["train.py"], size=2, record=["-o", "run", "--groups", "lang", "--every", "1", "--exact", "--light"]
    )
    assert ran.codes == [0, 0], ran.errors
    assert sum("--light leaves trainings of several processes as they are" in line for line in ran.said) == 1
    found = open_run(tmp_path / "run")["gradient/gradient"].sel(task=NAMES).transpose("step", "task", "coord").values
    np.testing.assert_allclose(found, by_hand(), atol=1e-6, rtol=1e-5)
