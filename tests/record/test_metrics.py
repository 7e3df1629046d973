"""Metrics that a script says of the run in progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import Forks
from record.losses import Data, Net
from torch.utils._python_dispatch import TorchDispatchMode

import dominance
from dominance import Recorder, open_run
from dominance.record.metrics import known_number

DATA = Data()


def train(recorder_folder: Path) -> None:
    torch.set_num_threads(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    dominance.log(ignored=0.0)
    with Recorder(recorder_folder, net, optimizer):
        dominance.log(task="seg", split="val", accuracy=0.25)
        for _ in range(3):
            out = net(DATA.x)
            depth, seg = DATA.mse(out), DATA.ce(out)
            optimizer.zero_grad()
            (depth + seg).backward()
            optimizer.step()
            numbers: Any = {"task": depth, "recall@10": np.float32(0.5)}
            dominance.log(numbers, task="depth")
        dominance.log(error=torch.ones(1, 1))  # type: ignore[arg-type]
    dominance.log(ignored=1.0)


def test_what_is_logged_while_a_run_is_recorded_is_kept(tmp_path: Path) -> None:
    train(tmp_path / "run")
    metric = open_run(tmp_path / "run")["metric"]
    names, tasks = metric["metric"].values.tolist(), metric["event_task"].values.tolist()
    assert names == ["accuracy", *["task", "recall@10"] * 3, "error"]
    assert tasks[:2] == ["seg", "depth"]
    assert metric["value"].values[[0, 2, -1]].tolist() == [0.25, 0.5, 1.0]
    assert np.isfinite(metric["value"].values).all()


def test_it_changes_nothing_and_asks_nothing_without_a_recording() -> None:
    dominance.log({"auc": "no number"}, auc=1)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("metrics", "named", "error", "words"),
    [
        ({"auc": "high"}, {}, TypeError, "the metric auc is str: give one number"),
        ({"auc": torch.ones(2)}, {}, TypeError, "the metric auc is Tensor: give one number"),
        ({1: 0.5}, {}, TypeError, "a metric is called 1: give its name as a string"),
        ({"auc": 0.5}, {"auc": 0.5}, ValueError, "auc: given as a mapping and by name"),
    ],
)
def test_what_is_no_metric_is_said(
    metrics: Any, named: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    net = Net()
    with Recorder(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)) as recorder:
        for call in (dominance.log, recorder.log_metrics):
            with pytest.raises(error, match=words):
                call(metrics, **named)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array([0.25]), 0.25),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.ones(1, 1, requires_grad=True), 1.0),
        ("1", None),
        (None, None),
        (np.array(["a"]), None),
        (np.ones(2), None),
        (torch.ones(2), None),
        (torch.ones(1, device="meta"), None),
        (torch.ones(1).to_sparse(), None),
        (torch.ones((), dtype=torch.complex64), None),
    ],
)
def test_numbers_that_are_known(value: Any, number: float | None) -> None:
    assert known_number(value) == number


def test_no_operator_is_seen_where_a_number_is_read() -> None:
    seen: list[Any] = []

    class Looks(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    value = torch.ones(())
    with Looks():
        assert known_number(value) == 1.0
        assert seen == []
        value.item()
    assert len(seen) == 1


SCRIPT = """
import torch, dominance
from torch import nn
torch.manual_seed(0)
trunk, a, b = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)
opt = torch.optim.SGD([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=0.1)
dominance.log(task="loss_a", split="val", start=1.0)
for step in range(3):
    z = trunk(torch.randn(8, 3)).tanh()
    loss_a, loss_b = a(z).square().mean(), (b(z) - 1).square().mean()
    opt.zero_grad()
    (loss_a + loss_b).backward()
    opt.step()
    dominance.log(task="loss_a", split="val", auc=step / 4)
"""


def test_a_script_under_record(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = forks.python("-m", "dominance", "record", "-o", "run", "train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metric = open_run(tmp_path / "run")["metric"]
    assert metric["metric"].values.tolist() == ["start", "auc", "auc", "auc"]
    assert metric["value"].values.tolist() == [1.0, 0.0, 0.25, 0.5]
    assert metric["event_step"].values.tolist() == [0, 0, 1, 2]
