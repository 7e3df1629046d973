"""Tracebacks show the script's frames and not the recorder's."""

from __future__ import annotations

from pathlib import Path

import pytest
from forks import Forks
from twice import python, wrapped

# The recorder's hooks stand between a script and the code that it calls. A stand-in plays their part here; in the bare
# script it is operator.call, which is written in C and leaves no frame.
BETWEEN = """
import operator, types
module = types.ModuleType('dominance.record.guest.hooks')
exec(compile('def call(function): return function()', 'hooks.py', 'exec'), vars(module))
between = module.call if {through} else operator.call
def deep():
    return {{}}[1]
"""


@pytest.mark.parametrize(
    "body",
    [
        "between(deep)",
        "between(lambda: between(deep))",
        "try:\n    between(deep)\nexcept KeyError as e:\n    raise ValueError(2) from e",
        "try:\n    between(deep)\nexcept KeyError:\n    between(deep)",
        "def kept():\n    try:\n        between(deep)\n    except KeyError as e:\n        return e\n"
        "raise ExceptionGroup('g', [kept(), ExceptionGroup('h', [kept()])])",
        "import threading\nt = threading.Thread(target=lambda: between(deep), name='w')\nt.start(); t.join()",
    ],
)
def test_frames_of_the_hooks_are_left_out(tmp_path: Path, body: str) -> None:
    (tmp_path / "train.py").write_text(BETWEEN.format(through=False) + body)
    expected = python("train.py", cwd=tmp_path)
    (tmp_path / "train.py").write_text(BETWEEN.format(through=True) + body)
    assert "hooks.py" in python("train.py", cwd=tmp_path)[2]
    code, out, err = wrapped("train.py", cwd=tmp_path)
    assert (code, out, err.replace("through=True", "through=False")) == expected


def test_a_fault_of_the_recorder_keeps_its_frames(tmp_path: Path) -> None:
    (tmp_path / "with.py").write_text(
        "import types\n"
        "module = types.ModuleType('dominance.record.split.gradients')\n"
        "exec(compile('def fails():\\n    raise TypeError(1)\\n', 'gradients.py', 'exec'), module.__dict__)\n"
        "module.fails()\n"
    )
    code, _, err = wrapped("with.py", cwd=tmp_path)
    assert code == 1
    assert 'File "gradients.py", line 2, in fails' in err
    assert "script.py" not in err


# In an evaluation all modules have hooks of ours, by which torch calls them in another way.
EVALUATED = """
import torch
from torch import nn
from torch.nn import functional as F

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        if not torch.is_grad_enabled():
            raise ValueError('in evaluation')
        return self.linear(x)

net = nn.Sequential(nn.Sequential(nn.Tanh(), Block()), nn.Linear(4, 2))
HOOK
optimizer = torch.optim.SGD(net.parameters(), 0.01)
for _ in range(3):
    x = torch.randn(8, 4)
    out = net(x)
    loss_a, loss_b = F.mse_loss(out[:, 0], x[:, 0]), F.mse_loss(out[:, 1], x[:, 1])
    optimizer.zero_grad()
    (loss_a + loss_b).backward()
    optimizer.step()
net.eval()
with torch.no_grad():
    net(x)
"""


@pytest.mark.parametrize(
    "hook",
    [
        "",
        "net[0].register_forward_hook(lambda *_: None)",
        "net[0][1].register_forward_pre_hook(lambda *_: None)",
        "nn.modules.module.register_module_forward_hook(lambda *_: None)",
    ],
)
def test_an_error_in_an_evaluation(tmp_path: Path, forks: Forks, hook: str) -> None:
    (tmp_path / "train.py").write_text(EVALUATED.replace("HOOK", hook))
    plain = forks.python("train.py", cwd=tmp_path)
    assert plain.returncode == 1
    assert "in evaluation" in plain.stderr
    assert (", in inner" in plain.stderr) is bool(hook)
    recorded = forks.python("-m", "dominance", "record", "train.py", cwd=tmp_path)
    assert recorded.returncode == 1
    said = [line for line in recorded.stderr.splitlines(keepends=True) if not line.startswith("dominance")]
    assert "".join(said) == plain.stderr
