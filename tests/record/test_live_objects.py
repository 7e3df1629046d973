"""What a program has set aside by ``gc.freeze()`` is found by its variables."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forks import Forks
from torch import nn

import dominance
from dominance.record.live_objects import living, set_aside

SCRIPT = """
import gc
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(4, 5)
        self.heads = nn.ModuleDict({"price": nn.Linear(5, 1), "rating": nn.Linear(5, 1)})

    def forward(self, x):
        h = torch.tanh(self.trunk(x))
        return {task: head(h) for task, head in self.heads.items()}


class Trainer:
    def __init__(self):
        self.state = {"model": Net()}
        self.state["optimizer"] = torch.optim.Adam(self.state["model"].parameters(), 0.01)
        FREEZE

    def fit(self):
        for _ in range(6):
            x = torch.randn(8, 4)
            out = self.state["model"](x)
            losses = {task: F.mse_loss(y, x[:, :1]) for task, y in out.items()}
            self.state["optimizer"].zero_grad()
            sum(losses.values()).backward()
            self.state["optimizer"].step()


Trainer().fit()
"""


pytestmark = pytest.mark.usefixtures("frozen_is_looked_for")


class Kind:
    """What the tests look for."""


@pytest.fixture
def frozen() -> Iterator[Kind]:
    """One that the collector has set aside."""
    made = Kind()
    made.itself = made  # type: ignore[attr-defined]
    gc.freeze()
    yield made
    gc.unfreeze()
    gc.freeze()


def is_kind(kind: type) -> bool:
    return kind is Kind


def test_the_collector_does_not_list_what_is_frozen_and_variables_lead_to_it(frozen: Kind) -> None:
    assert living(is_kind) == []
    assert set_aside(is_kind) == [frozen]


def test_below_attributes_and_containers(frozen: Kind) -> None:
    held = SimpleNamespace(trainer={"models": [(frozen,)]})
    del frozen
    assert set_aside(is_kind) == [held.trainer["models"][0][0]]


def test_a_long_list_is_data_and_a_tensor_holds_no_model() -> None:
    data, tensor = [Kind()] + [None] * 10_000, torch.zeros(1)
    tensor.kind = Kind()  # type: ignore[attr-defined]
    assert gc.get_freeze_count()  # by the fixture of all tests
    assert set_aside(is_kind) == []
    assert isinstance(data[0], Kind)


def test_variables_of_another_thread() -> None:
    begun, over = threading.Event(), threading.Event()

    def wait() -> None:
        mine = Kind()
        begun.set()
        over.wait(10)
        del mine

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait(10)
    try:
        assert len(set_aside(is_kind)) == 1
    finally:
        over.set()
        thread.join()


def test_nothing_is_looked_for_where_nothing_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Kind()
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    assert set_aside(is_kind) == []
    assert living(is_kind) == [mine]


def test_a_script_that_freezes_has_its_parameters_names(forks: Forks, tmp_path: Path) -> None:
    runs = {}
    for name, line in (("plain", "pass"), ("frozen", "gc.collect(); gc.freeze()")):
        (tmp_path / f"{name}.py").write_text(SCRIPT.replace("FREEZE", line))
        done = forks.python(
            "-m", "dominance", "record", "--every", "1", "-o", f"run-{name}", f"{name}.py", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        runs[name] = dominance.open_run(tmp_path / f"run-{name}")
    names = ["trunk.weight", "trunk.bias", "heads.price.weight", "heads.price.bias"]
    assert set(names) <= set(runs["frozen"]["parameter"].values)
    for what in ("parameter", "gradient/gradient", "update/update"):
        np.testing.assert_array_equal(runs["frozen"][what].values, runs["plain"][what].values)


def test_modules_among_what_is_frozen() -> None:
    net = nn.Linear(2, 2)
    gc.freeze()
    try:
        assert any(each is net for each in set_aside(lambda kind: issubclass(kind, nn.Module)))
    finally:
        gc.unfreeze()
        gc.freeze()
