from __future__ import annotations

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance import gcd
from dominance.errors import BadOption, NothingRecorded


def gradients_at(degrees: list[float]) -> np.ndarray:
    """(step, 2, 2) gradients that enclose these angles, in degrees, with lengths that differ."""
    angles = np.radians(degrees)
    one = np.stack([np.full(len(angles), 3.0), np.zeros(len(angles))], axis=-1)
    other = 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.stack([one, other], axis=1)


def test_by_hand() -> None:
    g = gradients_at([0, 60, 90, 120, 180])
    found = gcd(make_run(g, g)).sel(layer="trunk")
    np.testing.assert_allclose(found.gcd.sel(task="a", task_other="b"), [0, 0.5, 1, 1.5, 2], atol=1e-6)
    assert np.isnan(found.gcd.sel(task="a", task_other="a")).all()
    assert found.conflict_share.sel(task="b", task_other="a") == pytest.approx(0.4, abs=0.21)  # 90 degrees is a tie
    assert found.mean_gcd.sel(task="a", task_other="b") == pytest.approx(1.0)


def test_exactly_orthogonal_is_no_conflict() -> None:
    g = np.array([[[1, 0], [0, 1]], [[1, 0], [0, -5]]])
    assert gcd(make_run(g, g)).conflict_share.sel(task="a", task_other="b", layer="trunk") == 0


def test_the_trunk_sums_gram_matrices_of_shared_layers_only() -> None:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 3, 30))
    run = make_run(g, g, layers={"x": 10, "head": 8, "y": 12}, private={"head": "a"})
    whole = gcd(run, by="all")
    trunk = np.delete(g, np.s_[10:18], axis=2).astype(np.float32).astype(float)
    for step in range(4):
        norms = np.linalg.norm(trunk[step], axis=1)
        truth = 1 - trunk[step] @ trunk[step].T / norms[:, None] / norms
        np.fill_diagonal(truth, np.nan)
        np.testing.assert_allclose(whole.gcd[step].sel(layer="all shared"), truth)
    assert gcd(run).layer.values.tolist() == ["x", "y"]


def test_a_task_without_a_gradient_has_no_degree() -> None:
    g = gradients_at([120, 120, 60])
    g[1, 1] = 0
    found = gcd(make_run(g, g)).sel(layer="trunk", task="a", task_other="b")
    np.testing.assert_allclose(found.gcd, [1.5, np.nan, 0.5], atol=1e-6)
    assert found.conflict_share == 0.5  # of the two steps that have a degree
    g[:, 1] = 0
    found = gcd(make_run(g, g)).sel(layer="trunk", task="a", task_other="b")
    assert np.isnan(found.conflict_share)
    assert np.isnan(found.mean_gcd)


def test_skipped_steps_and_overruled_steps() -> None:
    g = gradients_at([120, 60, 120, 120])
    found = gcd(make_run(g, g, skipped=[1, 0, 0, 0], steps=[0, 1, 1, 2])).sel(layer="trunk", task="a", task_other="b")
    np.testing.assert_array_equal(found.step, [0, 1, 2])
    np.testing.assert_allclose(found.gcd, [np.nan, 1.5, 1.5])


def test_non_finite_gradients() -> None:
    g = gradients_at([120, 60])
    g[0, 0, 0] = np.inf
    np.testing.assert_allclose(
        gcd(make_run(np.ones_like(g), g)).gcd.sel(layer="trunk", task="a", task_other="b"), [np.nan, 0.5], atol=1e-6
    )


def test_planted_conflict() -> None:
    found = gcd(planted_run(steps=40)).mean_gcd.sel(task="price", task_other="rating")
    assert float(found.sel(layer="trunk.1")) == pytest.approx(1.5, abs=0.05)
    assert float(found.sel(layer="trunk.0")) == pytest.approx(1.0, abs=0.05)


def test_bad_input() -> None:
    with pytest.raises(BadOption, match="unknown"):
        gcd(planted_run(steps=2), by="parameter")
    with pytest.raises(NothingRecorded, match="no step"):
        gcd(make_run(np.zeros((0, 2, 3))))
    with pytest.raises(NothingRecorded, match="two tasks"):
        gcd(make_run(np.ones((2, 2, 3)), private={"trunk": "a"}))
