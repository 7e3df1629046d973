"""The batches that a loss takes single rows of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dominance.record.tasks.batch_rows import rows_read


def row(prediction: Tensor, target: Tensor, place: int = 1) -> Tensor:
    return (prediction[place] - target[place]).square()


def test_a_row_of_a_layer() -> None:
    out = nn.Linear(3, 1)(torch.randn(4, 3))[:, 0]
    assert rows_read(row(out, torch.zeros(4)).grad_fn) == {(out.grad_fn, 0)}


def test_a_target_worked_out_from_inputs_that_need_gradient() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    out = nn.Linear(3, 1)(x)[:, 0]
    for target in (x.sum(1), x[:, 0] * x[:, 1], x[:, 0] * x[:, 1] + x[:, 2]):
        assert rows_read(row(out, target).grad_fn) == {(out.grad_fn, 0), (target.grad_fn, 0)}


def test_what_was_stacked_has_no_rows() -> None:
    heads = torch.stack([nn.Linear(3, 1)(torch.randn(4, 3)).mean() for _ in range(3)])
    assert rows_read(heads[1].square().grad_fn) == frozenset()


def test_a_parameter_beside_the_row() -> None:
    out = nn.Linear(3, 1)(torch.randn(4, 3))[:, 0]
    scale = torch.ones((), requires_grad=True)
    assert rows_read((scale * row(out, torch.zeros(4))).grad_fn) == frozenset()
