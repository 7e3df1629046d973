"""A recorded script that is killed, and one that is read while it trains: what was written holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dominance import open_run, summary
from dominance.errors import NotARun
from dominance.store.verify import verify

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
trunk, a, b = nn.Linear(6, 12), nn.Linear(12, 1), nn.Linear(12, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=1e-3)
while True:
    x = torch.randn(8, 6)
    z = trunk(x).tanh()
    near = (a(z)[:, 0] - x[:, 0]).square().mean()
    far = (b(z)[:, 0] - 5 * x[:, 1]).square().mean()
    optimizer.zero_grad()
    (near + far).backward()
    optimizer.step()
"""


def steps_in(path: Path) -> int:
    """Steps that a reader sees now; none before the run is there."""
    try:
        return int(open_run(path).sizes["step"])
    except NotARun:
        return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "terminate"])
def test_a_killed_script_leaves_a_run_that_opens(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "dominance", "record", "-q", "--every", "1", "--exact", "-o", str(path), "train.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        seen = 0
        deadline = time.monotonic() + 120
        while seen < 128 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            now = steps_in(path)
            assert now >= seen, "a reader of a run that grows never sees less"
            seen = now
    finally:
        process.send_signal(number)
        process.wait(timeout=60)
    assert process.returncode == -number
    run = open_run(path)
    count = run.sizes["step"]
    assert count >= seen >= 128
    assert run.dataset["step"].values.tolist() == list(range(count))
    assert run.attrs["status"] == "recording"
    assert verify(path) == []
    parts = run["update/update"].values.sum(1) + run["update/residual"].values
    total = run["update/total"].values
    assert np.isfinite(total).all()
    assert np.abs(parts - total).max() <= 5e-4 * np.abs(total).max()
    assert summary(run)["effective_tasks"]["all shared", "far"] > 1
