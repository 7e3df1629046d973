from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from same import differences

nan = float("nan")
sparse = torch.sparse_coo_tensor(torch.tensor([[0, 0, 2]]), [1.0, 2.0, 3.0], (4,), check_invariants=True)


@pytest.mark.parametrize(
    "thing",
    [
        {"a": [torch.ones(2, 3), None, 1.5], "b": (np.arange(3), "x")},
        torch.tensor([nan, float("inf"), -0.0]),
        nan,
        sparse,
        torch.ones(3, 4, dtype=torch.bfloat16).t(),
        torch.tensor(True),
    ],
)
def test_equal_to_itself(thing: Any) -> None:
    assert list(differences(thing, thing)) == []


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (torch.tensor([1.0]), torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.tensor([nan]), -torch.tensor([nan])),
        (torch.ones(2, 3), torch.ones(3, 2).t()),
        (torch.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.ones(2), torch.ones(2, requires_grad=True)),
        (torch.ones(2), torch.nn.Parameter(torch.ones(2))),
        (sparse, sparse.coalesce()),
        (sparse, sparse.to_dense()),
        (torch.zeros(2), None),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, 2], [1, 2, 3]),
        (0.0, -0.0),
        (1, True),
        (np.arange(3), np.arange(3.0)),
    ],
)
def test_the_smallest_difference_is_one(one: Any, two: Any) -> None:
    assert next(differences({"deep": [one]}, {"deep": [two]})).startswith("/deep/0")
    assert next(differences([two], [one])).startswith("/0")
