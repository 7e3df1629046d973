"""The parts of a step sum to the step, for every linear class of torch.optim and its options."""

from __future__ import annotations

import pytest
import torch
from record.attribution_cases import LINEAR, Case, gap, recorded

from dominance.record.attribution import Attributor

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")


@pytest.mark.parametrize("case", LINEAR, ids=str)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-4), (torch.float64, 1e-10)], ids=["f32", "f64"])
def test_parts_sum_to_the_step_taken(case: Case, dtype: torch.dtype, bound: float) -> None:
    problem = case.problem(dtype)
    attributor = Attributor(case.make(problem))
    assert attributor.additive
    for step, (gradients, splits) in enumerate(recorded(attributor, problem, 200)):
        assert set(splits) == {p for p in problem.parameters.values() if p.grad is not None} == set(gradients)
        for p, split in splits.items():
            assert gap(split) <= bound, (step, p.shape)
            assert split.closure == pytest.approx(gap(split), rel=0.5, abs=1e-6 if dtype == torch.float32 else 1e-15)
            assert split.unattributed is None
            assert split.total.dtype == dtype
