"""Small gradients closed together, against each closed by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import nonzero
from dominance.record.split.closed_together import close_together
from dominance.record.split.closing import Closing

SHAPES = ((3, 4), (5,), (1,), (2, 3, 2), (4096,), (70, 70))
"""The last is not small."""


def _cases(seed: int) -> list[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    """Parameters, what they were fed, and the tasks' gradients, of every kind that comes up."""
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for number, shape in enumerate(SHAPES * 6):
        names = ("a", "b", "c")[: 1 + number % 3] if number % 2 else ("c", "a")
        tasks = {name: torch.randn(shape, generator=generator) for name in names}
        kind = number % 11
        if kind == 1:
            tasks["a"] *= 1e-30  # its squares are beyond float32
        if kind == 2:  # one holds nothing, where rounding is left as well
            for each in tasks.values():
                each.view(-1)[0] = 0
        if kind == 3:
            tasks = {name: torch.zeros(shape) for name in names}
        total = torch.stack(list(tasks.values())).double().sum(0).float()
        if kind == 2:
            total.view(-1)[0] = 1e-9
        if kind == 4:
            total *= 1.5  # a residual
        if kind == 5:
            total.view(-1)[-1] = torch.nan
        if kind == 6:
            tasks[names[0]].view(-1)[-1] = torch.inf
        if kind == 7:  # what is left makes the only task's gradient zero
            tasks = {names[0]: torch.full(shape, 1e-9)}
            total = torch.zeros(shape)
        if kind == 8:  # rounding in every entry
            total = total * (1 + 2 * torch.finfo(torch.float32).eps)
        if kind == 9 and len(shape) > 1:
            tasks = {name: each.transpose(0, 1).contiguous().transpose(0, 1) for name, each in tasks.items()}
        if kind == 10:
            tasks = {}
        cases.append((torch.zeros(shape), total, tasks))
    return cases


@pytest.mark.parametrize("seed", range(5))
def test_the_same_to_the_bit(seed: int) -> None:
    together = [Closing(*case) for case in _cases(seed)]
    alone = [Closing(*case) for case in _cases(seed)]
    close_together(together)
    assert 10 < sum(each.found is not None for each in together) < len(together)
    for one, other in zip(together, alone, strict=True):
        held, left = one.close()
        wanted, rest = other.close()
        assert list(held) == list(wanted)
        assert (left is None) == (rest is None)
        for name, gradient in wanted.items():
            torch.testing.assert_close(held[name], gradient, rtol=0, atol=0, equal_nan=True)
            assert held[name].shape == gradient.shape
        if left is not None and rest is not None:
            torch.testing.assert_close(left, rest, rtol=0, atol=0, equal_nan=True)
        if one.reaching is not None:
            assert set(one.reaching) & held.keys() == {name for name, g in held.items() if nonzero(g)}


def test_what_was_given_is_only_read() -> None:
    cases = _cases(0)
    before = [(total.clone(), {name: g.clone() for name, g in tasks.items()}) for _, total, tasks in cases]
    close_together([Closing(*case) for case in cases])
    for (_, total, tasks), (was, were) in zip(cases, before, strict=True):
        torch.testing.assert_close(total, was, rtol=0, atol=0, equal_nan=True)
        for name in tasks:
            torch.testing.assert_close(tasks[name], were[name], rtol=0, atol=0, equal_nan=True)


def test_numbers_on_a_device_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "AT_HAND", set())
    closings = [Closing(*case) for case in _cases(0)]
    close_together(closings)
    assert all(each.found is None for each in closings)
