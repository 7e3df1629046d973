"""Compiled backward passes can be gone through more than once, whatever an earlier run has left in the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch._functorch import config as functorch_config

from dominance.record.guest.compiled import keeping_buffers

TRAINING = """
import torch
from torch import nn
torch.manual_seed(0)
trunk, one, two = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 1), nn.Linear(16, 1)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.one, self.two = trunk, one, two
    def forward(self, x):
        h = self.trunk(x)
        return self.one(h)[:, 0], self.two(h)[:, 0]
net = Net()
model = torch.compile(net)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(12):
    x = torch.randn(32, 8)
    a, b = model(x)
    one_loss = (a - x[:, 0]).square().mean()
    two_loss = (b - 4 * x[:, 1]).square().mean()
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    print(step, one_loss.item(), two_loss.item(), sum(p.double().abs().sum().item() for p in net.parameters()))
"""


def run(*command: str, cwd: Path) -> str:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command, "train.py"], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_second_run_of_a_compiled_script_trains_as_the_first(tmp_path: Path) -> None:
    """The first leaves programs behind that give their buffers away."""
    (tmp_path / "train.py").write_text(TRAINING)
    plain = run(cwd=tmp_path)
    record = ("-m", "dominance", "record", "-q")
    for every in ("1", "10"):
        assert run(*record, "--every", every, "-o", f"run{every}", cwd=tmp_path) == plain
        assert (tmp_path / f"run{every}").exists()


def settings() -> tuple[bool, str]:
    return functorch_config.donated_buffer, torch.compiler.config.cache_key_tag


def test_the_settings_are_put_back() -> None:
    before = settings()
    end = keeping_buffers()
    assert functorch_config.donated_buffer is False
    assert torch.compiler.config.cache_key_tag != before[1]
    end()
    end()
    assert settings() == before


def test_a_setting_that_the_script_makes_stays() -> None:
    before = settings()
    end = keeping_buffers()
    torch.compiler.config.cache_key_tag = "the script's"
    end()
    assert settings() == (before[0], "the script's")
    torch.compiler.config.cache_key_tag = before[1]
