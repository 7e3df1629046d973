"""Forward hooks of the script under activation checkpointing: they are called as often as without us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dominance
from dominance.record.guest.forward_hooks import returns_nothing
from dominance.store.reader import open_run

torch.set_num_threads(1)
seen: list[Any] = []


def looks_on(module: nn.Module, given: Any, made: Tensor) -> None:
    if not made.requires_grad:
        return
    seen.append(made.shape)


def doubles(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    seen.append(made.shape)
    return made * 2


def adds(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    return made.add(1)


class Counter:
    def __call__(self, module: nn.Module, given: Any, made: Tensor) -> None:
        seen.append(made.shape)


def train(path: Path, hook: Callable[..., Any]) -> int:
    """Record three steps; how often the hook was called."""
    torch.manual_seed(0)
    seen.clear()
    net = nn.ModuleDict({"trunk": nn.Linear(4, 6), "depth": nn.Linear(6, 1), "seg": nn.Linear(6, 1)})
    net["trunk"].register_forward_hook(hook)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with dominance.Recorder(path, net, optimizer, exact=True):
        for _ in range(3):
            z = checkpoint(lambda x: net["trunk"](x).tanh().sin(), torch.randn(8, 4), use_reentrant=False)
            losses = {"depth": net["depth"](z).square().mean(), "seg": net["seg"](z).abs().mean()}
            optimizer.zero_grad()
            dominance.observe(losses)
            sum(losses.values()).backward()
            optimizer.step()
    return len(seen)


def test_one_that_looks_on_is_not_called_by_us(tmp_path: Path) -> None:
    assert train(tmp_path / "run", looks_on) == 6, "once forward, once in the script's own backward()"
    tree = open_run(tmp_path / "run")
    assert len(tree["gradient/gradient"]) == 3
    np.testing.assert_allclose(tree["gradient/gradient"].sum("task"), tree["gradient/total"], atol=1e-6)


@pytest.mark.parametrize("hook", [doubles, Counter()], ids=["returns", "object"])
def test_one_of_which_nobody_knows_ends_the_pass(
    hook: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", hook) == 6
    assert "a checkpoint computes Linear again, and its forward hook" in capsys.readouterr().err


def test_what_is_known_to_return_nothing() -> None:
    assert returns_nothing(cast(Any, looks_on))
    assert returns_nothing(cast(Any, lambda module, given, made: seen.append(type(made).__name__)))
    assert not returns_nothing(cast(Any, doubles))
    assert not returns_nothing(cast(Any, adds))
    assert not returns_nothing(cast(Any, lambda module, given, made: made.add(1)))
    assert not returns_nothing(cast(Any, lambda module, given, made: print(made)))
