"""Groups of examples under DistributedDataParallel: each process has a part of the batch, the run is of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
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


def counted(run: xr.DataTree) -> dict[tuple[int, str], float]:
    """Examples by step and group, of those that a step has any of."""
    table = run["metric"].to_dataset(inherit=False).to_dataframe()
    table = table[(table["metric"] == "examples") & (table["value"] > 0)]
    keys = zip(table["event_step"].tolist(), table["event_task"].tolist(), strict=True)
    return dict(zip(keys, table["value"].tolist(), strict=True))


def in_whole_batches() -> dict[tuple[int, str], float]:
    made = torch.Generator().manual_seed(0)
    torch.randn(SIZE, 4, generator=made), torch.randint(0, 3, (SIZE,), generator=made)
    langs = torch.randint(0, 3, (SIZE,), generator=made).view(STEPS, -1)
    found = {(step, name): float((langs[step] == k).sum()) for step in range(STEPS) for k, name in enumerate(NAMES)}
    return {key: number for key, number in found.items() if number}


@pytest.mark.parametrize("form", ["accumulated", "by hand"])
def test_counts_are_those_of_all_processes(form: str, tmp_path: Path, launcher: Launcher) -> None:
    """Also of two micro-batches, the first under no_sync; and where the script averages the gradients itself."""
    loss = 'loss = F.cross_entropy(model(batch["x"]), batch["y"])\n'
    if form == "accumulated":
        text = SCRIPT.replace("DataLoader(data, 4, ", "DataLoader(data, 2, ").replace("for batch in", "for n, batch in")
        text = text.replace("DataLoader(data, 2, sampler=sampler):", "enumerate(DataLoader(data, 2, sampler=sampler)):")
        text = (
            text[: text.index("    " + loss)]
            + f"""
    with contextlib.nullcontext() if n % 2 else model.no_sync():
        {loss}        (loss / 2).backward()
    if n % 2:
        optimizer.step()
        optimizer.zero_grad()
dist.destroy_process_group()
"""
        )
        text = "import contextlib\n" + text
    else:
        text = SCRIPT.replace("model = DistributedDataParallel(nn.Sequential", "model = (nn.Sequential")
        text = text.replace("    optimizer.step()", "    [dist.all_reduce(p.grad) for p in model.parameters()]\n"
                            "    [p.grad.div_(2) for p in model.parameters()]\n    optimizer.step()")  # fmt: skip
    (tmp_path / "train.py").write_text(text)
    ran = launcher.run(
        tmp_path, ["train.py"], size=2, record=["-o", "run", "--groups", "lang", "--every", "1", "--exact"]
    )
    assert ran.codes == [0, 0], ran.errors
    run = open_run(tmp_path / "run")
    found = run["gradient/gradient"].sel(task=NAMES).transpose("step", "task", "coord").values
    np.testing.assert_allclose(found, by_hand(), atol=1e-6, rtol=1e-5)
    assert counted(run) == in_whole_batches()


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
    assert counted(run) == in_whole_batches()


def test_light_leaves_it_as_it_is(tmp_path: Path, launcher: Launcher) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    ran = launcher.run(
        tmp_path, ["train.py"], size=2, record=["-o", "run", "--groups", "lang", "--every", "1", "--exact", "--light"]
    )
    assert ran.codes == [0, 0], ran.errors
    assert sum("--light leaves trainings of several processes as they are" in line for line in ran.said) == 1
    found = open_run(tmp_path / "run")["gradient/gradient"].sel(task=NAMES).transpose("step", "task", "coord").values
    np.testing.assert_allclose(found, by_hand(), atol=1e-6, rtol=1e-5)
