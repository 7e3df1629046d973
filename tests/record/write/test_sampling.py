"""Coordinates that are kept: counts and weights from the definition."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.record.write.sampling import Stratum, sample_coordinates

stratum = st.builds(Stratum, st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 3000), st.booleans())
models = st.lists(stratum, min_size=0, max_size=12)


@settings(max_examples=80, deadline=None)
@given(models, st.integers(1, 5000), st.integers(0, 3))
def test_counts_order_and_weights(strata: list[Stratum], total: int, seed: int) -> None:
    sample = sample_coordinates(strata, total, seed=seed)
    sizes = np.array([s.size for s in strata], dtype=int)
    counts = np.bincount(sample.parameter, minlength=len(strata))
    assert (counts <= sizes).all()
    assert ((counts > 0) == (sizes > 0)).all(), "every parameter is present"
    assert (np.diff(sample.parameter) >= 0).all()
    for p, size in enumerate(sizes):
        index = sample.index[sample.parameter == p]
        assert (np.diff(index) > 0).all(), "sorted, and none twice"
        assert ((index >= 0) & (index < size)).all()
        np.testing.assert_allclose(sample.weight[sample.parameter == p].sum(), size)
    assert [each.dtype for each in (sample.parameter, sample.index, sample.weight)] == ["int32", "int64", "float64"]


@settings(max_examples=80, deadline=None)
@given(models, st.integers(1, 5000))
def test_about_as_many_as_asked(strata: list[Stratum], total: int) -> None:
    """Each of the two kinds fills its part of the total, but for the rounding of each parameter."""
    counts = np.bincount(sample_coordinates(strata, total).parameter, minlength=len(strata))
    size = {kind: sum(s.size for s in strata if s.shared == kind) for kind in (True, False)}
    kept = {
        kind: sum(int(c) for c, s in zip(counts, strata, strict=True) if s.shared == kind) for kind in (True, False)
    }
    if size[True] + size[False] <= total:
        assert kept == size
        return
    thin = min(total // 10, size[False]) if any(s.shared for s in strata) else min(total, size[False])
    assert abs(kept[False] - thin) <= len(strata)
    assert abs(kept[True] - min(total - thin, size[True])) <= len(strata)


def test_shared_parameters_get_ninety_percent() -> None:
    strata = [Stratum("trunk", 50_000, True), Stratum("head_a", 50_000, False), Stratum("head_b", 50_000, False)]
    assert np.bincount(sample_coordinates(strata, 1000).parameter).tolist() == [900, 50, 50]


def test_layers_share_evenly_and_parameters_by_size() -> None:
    """300 for three layers: the small one takes its 20, the others 140 each; 9 : 1 within the first."""
    strata = [Stratum("a", 9000, True), Stratum("a", 1000, True), Stratum("b", 20, True), Stratum("c", 5000, True)]
    assert np.bincount(sample_coordinates(strata, 300).parameter).tolist() == [126, 14, 20, 140]


def test_the_seed_decides_and_no_global_state_is_touched() -> None:
    strata = [Stratum("a", 5000, True)]
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    of_numpy: Any = np.random.get_state()
    before = torch.get_rng_state(), of_numpy[1].copy(), random.getstate()
    first, again, other = (sample_coordinates(strata, 100, seed=seed).index for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (cast(Any, np.random.get_state())[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_every_coordinate_is_as_likely() -> None:
    hits = np.zeros(40)
    for seed in range(400):
        hits[sample_coordinates([Stratum("a", 40, True)], 10, seed=seed).index] += 1
    # Binomial(400, 1/4): mean 100, standard deviation 8.7.
    assert hits.sum() == 4000
    assert np.abs(hits - 100).max() < 5 * 8.7
