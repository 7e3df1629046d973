from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, matrices
from optim.properties import (
    assert_equivariant,
    assert_same_sum,
    assert_scale_free,
    conflict_averse_objective,
    stationary,
)

from dominance.optim import CAGrad
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import conflict_averse

LOSSES = np.ones(12)
TASKS = tuple("abcdefghijkl")


def weights(gram: Matrix, c: float = 0.4) -> Matrix:
    return CAGrad(c).weights(gram, LOSSES[: len(gram)], TASKS[: len(gram)])


def test_algorithm_3_of_adatask() -> None:
    """(g_k)_CA = 1/K (1 + φ^½ / |g_w| w_k) g_k with g_w = 1/K Σ w_k g_k, where w minimises F."""
    for _, g in matrices(100, kinds=INDEPENDENT):
        gram, k = g @ g.T, len(g)
        v = conflict_averse(gram, 0.4)
        w = v / v.sum()
        root_phi = 0.4 * np.linalg.norm(g.mean(axis=0))
        expected = 1 / k * (1 + root_phi / np.linalg.norm(w @ g / k) * w)
        np.testing.assert_allclose(weights(gram), expected, rtol=1e-7)


def test_c_zero_is_the_mean_and_rescaling_divides() -> None:
    gram = np.array([[1.0, -0.5], [-0.5, 4.0]])
    assert weights(gram, 0).tolist() == [0.5, 0.5]
    plain = weights(gram, 0.5)
    assert CAGrad(0.5, "1+c^2").weights(gram, LOSSES[:2], TASKS[:2]) == pytest.approx(plain / 1.25)
    assert CAGrad(0.5, "1+c").weights(gram, LOSSES[:2], TASKS[:2]) == pytest.approx(plain / 1.5)


def test_order_and_scale() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(100, kinds=INDEPENDENT, seed=1):
        assert_equivariant(weights, g, rng.permutation(len(g)), 1e-7)
        assert_scale_free(weights, g, 1e-7)


@pytest.mark.filterwarnings("ignore")
def test_against_torchjd() -> None:
    """The same weights but for their solver's tolerance; where they differ, F is no worse here."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    theirs = torchjd.CAGradWeighting(c=0.4, norm_eps=0.0)
    for kind, g in matrices(60, kinds=("random", "agreeing", "decades apart", "equal"), sizes=range(2, 9), seed=2):
        gram, k = g @ g.T, len(g)
        if stationary(gram):
            continue
        found = weights(gram)
        other = theirs(torch.from_numpy(gram)).numpy()
        own = conflict_averse_objective(gram, (found - 1 / k) / (found - 1 / k).sum(), 0.4)
        w = np.maximum(other - 1 / k, 0)
        length = np.linalg.norm(g.mean(axis=0))
        assert own <= conflict_averse_objective(gram, w / w.sum(), 0.4) + 1e-12 * length * np.abs(g).max()
        if kind != "decades apart":
            assert_same_sum(g, found, other, 1e-3)


@pytest.mark.parametrize(("c", "rescale"), [(-1, None), (float("nan"), None), (0.4, "2")])
def test_bad_arguments(c: float, rescale: str | None) -> None:
    with pytest.raises(ValueError, match=r"must not be negative|give one of"):
        CAGrad(c, rescale)  # type: ignore[arg-type]
