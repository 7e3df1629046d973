"""A model that computes its loss itself, below what DistributedDataParallel puts over its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dominance import open_run
from dominance.config import RecordOptions
from dominance.record.script.session import ScriptSession


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        z = self.trunk(x).tanh()
        loss_a, loss_b = self.a(z).square().mean(), (self.b(z) - 1).abs().mean()
        return {"size": 4, "features": z, "fixed": torch.ones(2), "loss": loss_a + 2 * loss_b, "both": (loss_a, loss_b)}


@pytest.mark.parametrize("unused", [True, False])
def test_its_terms_are_the_tasks(tmp_path: Path, unused: bool) -> None:
    net = Net()
    model = DistributedDataParallel(net, find_unused_parameters=unused)
    session = ScriptSession(
        tmp_path / "run", RecordOptions(every=1, exact=True, quiet=True), script="", argv=[], force=False, resume=False
    )
    session.check_output()
    session.start()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.randn(5, 4)
    losses = net(x)["both"]
    by_hand = [torch.autograd.grad(loss, net.trunk.weight, retain_graph=True)[0] for loss in losses]
    loss = model(x)["loss"]
    loss.backward()
    optimizer.step()
    session.finish("complete")
    with open_run(tmp_path / "run") as run:
        assert run.attrs["task_weights"] == {"loss_a": 1.0, "loss_b": 2.0}
        found = run["gradient"].to_dataset().isel(step=0)
        trunk = found["parameter"].to_numpy() == "trunk.weight"
        for task, gradient, weight in zip(("loss_a", "loss_b"), by_hand, (1, 2), strict=True):
            torch.testing.assert_close(
                torch.from_numpy(found["gradient"].sel(task=task).to_numpy()[trunk]), weight * gradient.flatten()
            )
