"""What a script's variables call modules and tensors."""

from __future__ import annotations

import inspect
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from dominance.record.script_variables import names_of_variables, script_variables


def here() -> list[FrameType]:
    """The frame of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return [frame.f_back]


def test_variables_and_one_level_of_containers() -> None:
    trunk, heads, both = nn.Linear(1, 1), {"day": nn.Linear(1, 1)}, [torch.ones(1), nn.ReLU()]
    _hidden, number = nn.Linear(1, 1), 3
    found: dict[str, Any] = script_variables(here())
    assert found == {"trunk": trunk, "heads.day": heads["day"], "both.0": both[0], "both.1": both[1]}
    assert number == 3
    assert _hidden is not trunk


def test_a_variable_goes_before_the_attribute_of_a_trainer() -> None:
    model, beside = nn.Linear(1, 1), nn.Linear(1, 1)

    class Trainer:
        def __init__(self) -> None:
            self.net, self.beside = model, beside

        def frames(self) -> list[FrameType]:
            return here()

    names = names_of_variables([*Trainer().frames(), *here()])
    assert (names[id(model)], names[id(beside)]) == ("model", "beside")
    assert script_variables(Trainer().frames()) == {"net": model, "beside": beside}


def test_a_tensor_that_a_loop_goes_by_comes_last() -> None:
    w, v = torch.ones(1), torch.ones(1)
    for p in (w, v):
        assert isinstance(p, Tensor)
    for _, q in enumerate([w]):
        assert isinstance(q, Tensor)
    assert list(script_variables(here())) == ["w", "v", "p", "q"]
    assert names_of_variables(here()) == {id(w): "w", id(v): "v"}
