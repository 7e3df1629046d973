"""Gradients of a few rows: put in order as ``coalesce`` does it, once for all gradients of a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dominance.record.split.by_rows import Orders, laid, rows_of, spread

SIZES = [(400, 100_000, 16), (500, 30, 7), (300, 3, 16), (2, 9, 1), (1, 9, 4)]
"""Entries, rows of the table, and columns: hardly any row is named twice, or all are."""


def gradient(named: Tensor, rows: int, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(named.numel(), columns).to(dtype)
    values[torch.rand(values.shape) < 0.2] = -0.0
    return torch.sparse_coo_tensor(named[None], values, (rows, columns), check_invariants=False)


@pytest.mark.parametrize(("entries", "rows", "columns"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_rows_are_those_that_torch_makes_to_the_bit(entries: int, rows: int, columns: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    orders, named = Orders(), torch.randint(rows, (entries,))
    for _ in range(2):
        given = gradient(named, rows, columns, dtype)
        found = orders.as_rows(given)
        want = (given.float() if dtype == torch.bfloat16 else given).coalesce()
        assert found.is_coalesced()
        assert torch.equal(found.indices(), want.indices())
        assert found.values().numpy().tobytes() == want.values().numpy().tobytes()
        dense = torch.zeros(rows, columns, dtype=torch.float64)
        for row, values in zip(named.tolist(), given._values().double(), strict=True):
            dense[row] += values
        torch.testing.assert_close(found.to_dense().double(), dense, rtol=1e-5, atol=1e-5)


def test_rows_are_put_in_order_once_for_all_gradients_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sort, count = torch.sort, []
    monkeypatch.setattr(torch, "sort", lambda tensor: (count.append(1), sort(tensor))[1])
    orders, named = Orders(), torch.randint(50, (40,))
    for _ in range(3):
        orders.as_rows(gradient(named, 50, 4))
    assert len(count) == 1


def test_a_batch_that_is_written_over_the_last_one_is_another() -> None:
    orders, named = Orders(), torch.arange(10)
    orders.as_rows(gradient(named, 50, 4))
    named += 20
    given = gradient(named, 50, 4)
    assert orders.as_rows(given).indices()[0].tolist() == list(range(20, 30))


def test_many_batches_are_forgotten() -> None:
    orders = Orders()
    for start in range(12):
        orders.as_rows(gradient(torch.arange(start, start + 5), 50, 4))
    assert len(orders._known) <= 4


def test_dense_and_coalesced_gradients() -> None:
    dense = torch.zeros(6, 2)
    dense[[1, 4]] = torch.randn(2, 2)
    rows = Orders().as_rows(dense)
    assert rows.indices()[0].tolist() == [1, 4]
    assert torch.equal(rows.to_dense(), dense)
    assert torch.equal(Orders().as_rows(rows).to_dense(), dense)
    assert Orders().as_rows(torch.zeros(6, 2)).to_dense().count_nonzero() == 0


def test_rows_laid_and_spread_are_inverse() -> None:
    given, more = (
        Orders().as_rows(gradient(torch.tensor([4, 1, 4]), 9, 2)),
        Orders().as_rows(gradient(torch.tensor([7]), 9, 2)),
    )
    rows = rows_of([given, more])
    assert rows.tolist() == [1, 4, 7]
    for each in (given, more):
        assert torch.equal(spread(laid(each, rows), rows, torch.zeros(9, 2)), each.to_dense())
