"""One variable for the loss of every task, one backward() each: only the user can tell the tasks apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from record.losses import Data, Net

import dominance
from dominance import Recorder, open_run


def test_observe_tells_them_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for _ in range(2):
            optimizer.zero_grad()
            out = net(data.x)
            want = {}
            for name, make in (("depth", data.mse), ("seg", data.ce)):
                loss = make(out)
                want[name] = loss.item()
                dominance.observe({name: loss})
                loss.backward(retain_graph=True)
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth", "seg"]
    np.testing.assert_allclose(run["loss/loss"].values[1], [want["depth"], want["seg"]], rtol=1e-6)
    np.testing.assert_allclose(run["loss/weight"].values, 1)
    parts, total = run["gradient/gradient"].values.sum(1), run["gradient/total"].values
    np.testing.assert_allclose(parts, total, atol=1e-6 * np.abs(total).max())
