"""A model is put back to the bit, whatever is done to it."""

from __future__ import annotations

import logging
import random
from typing import Any

import numpy as np
import pytest
import torch
from same import differences
from scripts._keep import describe
from torch import nn

from dominance.record.parameters import ParameterTable
from dominance.record.probes.restore import LiveModel, restored


class Tied(nn.Module):
    """Tied weights, batch norm, a buffer without a name in the state_dict, a list of its own, half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3)
        self.two.weight = self.one.weight
        self.norm = nn.BatchNorm1d(3)
        self.coarse = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
        self.wide = nn.Parameter(torch.arange(12.0).reshape(3, 4).t())
        self.register_buffer("count", torch.zeros(2), persistent=False)
        self.seen: list[int] = [1]
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.two(self.one(x)))


def havoc(model: Any) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
        model.count += 1
    model.seen.append(2)
    model.extra = nn.Linear(2, 2)
    model.note = "new"
    model.frozen.requires_grad_(True)
    model.one.weight.requires_grad_(False)
    model.eval()
    model.norm.train()
    model(torch.randn(4, 3)).sum().backward()
    model.norm.running_mean = torch.zeros(3)
    model.one.bias = nn.Parameter(torch.zeros(3))
    model.coarse.data = torch.zeros(4)
    model.register_forward_hook(lambda *_: None)
    del model.two
    random.random()
    np.random.rand()
    torch.set_grad_enabled(False)
    logging.root.manager.disable = 7


def state(model: Tied) -> dict[str, Any]:
    return {
        "model": describe(model),
        "buffers": dict(model.named_buffers()),
        "seen": list(model.seen),
        "identities": [id(p) for p in model.parameters()] + [id(b) for b in model.buffers()],
        "places": [p.data_ptr() for p in model.parameters()],
        "strides": [p.stride() for p in model.parameters()],
        "tied": model.one.weight is model.two.weight,
        "random": [torch.get_rng_state(), random.getstate(), np.random.get_state()],
        "modes": [torch.is_grad_enabled(), logging.root.manager.disable],
    }


@pytest.mark.parametrize("raises", [False, True])
def test_after_havoc_everything_is_as_before(raises: bool) -> None:
    model = Tied()
    model(torch.randn(5, 3)).sum().backward()
    model.norm.eval()
    gradients = [p.grad for p in model.parameters()]
    before = state(model)
    copies = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        with restored(LiveModel.of(model)):
            assert all(p.grad is None for p in model.parameters())
            havoc(model)
            if raises:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert raises
    assert list(differences(before, state(model))) == []
    assert all(torch.equal(copies[name], p) for name, p in model.named_parameters())
    assert all(p.grad is gradient for p, gradient in zip(model.parameters(), gradients, strict=True))


def test_what_is_said_inside_is_dropped(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    import sys
    import warnings

    with restored(LiveModel.of(nn.Linear(1, 1))):
        print("out")
        print("err", file=sys.stderr)
        warnings.warn("warned", stacklevel=1)  # an error in these tests, if it came through
        logging.critical("logged")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_recording_sees_nothing_of_it() -> None:
    class Watching:
        depth = 0

        def observe(self, losses: Any) -> None: ...

        def aside(self) -> Any:
            import contextlib

            @contextlib.contextmanager
            def inside() -> Any:
                self.depth += 1
                yield
                self.depth -= 1

            return inside()

    from dominance.record.tasks.named import activate, deactivate

    watching: Any = Watching()
    activate(watching)
    try:
        with restored(LiveModel.of(nn.Linear(1, 1))):
            assert watching.depth == 1
        assert watching.depth == 0
    finally:
        deactivate(watching)


def test_several_models_and_bare_tensors_have_names() -> None:
    trunk, head, scale = nn.Linear(2, 2), nn.Linear(2, 1), torch.ones((), requires_grad=True)
    optimizer = torch.optim.SGD([*trunk.parameters(), *head.parameters(), scale], lr=0.1)
    table = ParameterTable()
    import sys

    table.discover([], [sys._getframe()])
    live = LiveModel.recorded(table)
    assert {"trunk", "head"} <= set(live.argument)
    assert live.argument["trunk"] is trunk
    assert live.parameters["trunk.weight"] is trunk.weight
    assert live.parameters["scale"] is scale
    with restored(live), torch.no_grad():
        scale += 1
    assert scale == 1
    del optimizer
