"""SparseAdam: only touched rows move, and only they forget."""

from __future__ import annotations

import pytest
import torch

from dominance.record.rules.sparse_adam import SparseAdamRule
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")


def test_untouched_rows_stand_still_and_keep_their_memory() -> None:
    lr, beta1, beta2, eps = 0.1, 0.5, 0.75, 1e-8
    p = torch.zeros(3, 1, dtype=torch.float64, requires_grad=True)
    attributor = Attributor(torch.optim.SparseAdam([p], lr=lr, betas=(beta1, beta2), eps=eps))

    def step(rows: list[int], a: float, b: float) -> tuple[list[float], list[float]]:
        touched = torch.zeros(3, 1, dtype=torch.float64)
        touched[rows] = 1.0
        indices = torch.tensor([[*rows, rows[0]]])  # one row twice, as two equal words of a sentence give
        values = torch.tensor([[a + b]] * len(rows) + [[0.0]], dtype=torch.float64)
        p.grad = torch.sparse_coo_tensor(indices, values, (3, 1))
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit({"a": a * touched, "b": b * touched})})[p]
        assert split.closure < 1e-12
        return split.tasks["a"].flatten().tolist(), split.tasks["b"].flatten().tolist()

    first = step([0, 1], 1.0, 3.0)
    assert first[0] == pytest.approx([-lr / 4, -lr / 4, 0.0], rel=1e-6)
    assert first[1] == pytest.approx([-lr * 3 / 4, -lr * 3 / 4, 0.0], rel=1e-6)
    assert step([2], 5.0, 0.0)[0][:2] == [0.0, 0.0]
    third = step([0], 0.0, 0.0)
    # row 0: m of a went 0.5 -> 0.25 over two of the three steps, v 4 -> 3; row 2 is untouched now
    rate = lr * (1 - beta2**3) ** 0.5 / (1 - beta1**3)
    assert third[0] == pytest.approx([-rate * 0.25 / 3**0.5, 0.0, 0.0], rel=1e-6)
    assert third[1] == pytest.approx([-rate * 0.75 / 3**0.5, 0.0, 0.0], rel=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
def test_which_rows_are_touched(shape: tuple[int, ...]) -> None:
    """Those that a sparse gradient holds, even if it holds zeros; of a dense one those that are not all zero."""
    p = torch.zeros(shape, requires_grad=True)
    optimizer = torch.optim.SparseAdam([p])
    rule, dense = SparseAdamRule(optimizer), torch.zeros(shape)
    dense[1], dense[3, ...] = 1.0, -2.0
    sparse = torch.sparse_coo_tensor(torch.tensor([[1, 3, 4]]), dense[[1, 3, 4]], shape).coalesce()
    for fed, rows, touched in (
        (dense, None, [0, 1, 0, 1, 0]),
        (sparse, None, [0, 1, 0, 1, 1]),
        (sparse, torch.tensor([0, 3, 4]), [0, 1, 1]),
    ):
        rule.fed, rule.rows = fed, rows
        theta = torch.zeros(len(touched), *shape[1:])
        found = rule._touched(theta)
        assert found.shape == (len(touched), *[1] * (len(shape) - 1))
        assert found.flatten().tolist() == touched
