from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from runs import make_run, planted_run

from dominance import gcd, geometry, noise_scale
from dominance.errors import BadOption, NothingRecorded


def test_by_hand() -> None:
    g = np.array([[[3, 0], [0, 1]], [[2, 0], [-1, 1]], [[1, 0], [0, 0]]])
    found = geometry(make_run(g, g)).sel(layer="trunk")
    pair = found.sel(task="a", task_other="b")
    half = 2**-0.5
    np.testing.assert_allclose(pair.cosine, [0, -half, np.nan], atol=1e-12)
    np.testing.assert_allclose(pair.magnitude_similarity, [0.6, 2 * 2 * 2**0.5 / 6, np.nan])
    np.testing.assert_allclose(pair.curvature_bound, [1, 0.5 * 10 / 2, np.nan])
    values = np.linalg.svd(g[1], compute_uv=False)
    np.testing.assert_allclose(found.condition_number, [3, values[0] / values[1], np.nan])
    np.testing.assert_array_equal(found.conflict_score, [0, 1, np.nan])
    np.testing.assert_allclose(found.norm.sel(task="b"), [1, 2**0.5, np.nan])
    assert pair.mean_cosine == pytest.approx(-half / 2)
    assert pair.median_curvature_bound == pytest.approx(1.75)
    assert found.median_condition_number == pytest.approx((3 + values[0] / values[1]) / 2)
    assert found.mean_conflict_score == 0.5
    assert found.attrs["steps_with_a_pair"] == 2


def test_one_step_of_cancelling_gradients_does_not_decide_the_median() -> None:
    g = np.array([[[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [-1, 1e-6]]])
    found = geometry(make_run(g, g)).sel(layer="trunk")
    assert found.condition_number[2] > 1e5
    assert found.median_condition_number == pytest.approx(1)
    assert found.median_curvature_bound.sel(task="a", task_other="b") == pytest.approx(1)


def test_agrees_with_gcd_and_noise_scale() -> None:
    run = planted_run(steps=40, tasks=("a", "b", "c"))
    for by in ("layer", "all", {"x": "trunk.0"}):
        found, conflict, noise = geometry(run, by=by), gcd(run, by=by), noise_scale(run, by=by)
        np.testing.assert_allclose(found.cosine, 1 - conflict.gcd)
        np.testing.assert_allclose(found.mean_cosine, 1 - conflict.mean_gcd)
        np.testing.assert_array_equal(found.snr, noise.snr.sel(layer=found.layer))
        np.testing.assert_array_equal(found.noise_scale, noise.noise_scale.sel(layer=found.layer))


def test_scale_and_order() -> None:
    g = np.random.default_rng(0).standard_normal((12, 3, 20))
    usual = geometry(make_run(g, g))
    scaled = geometry(make_run(g, 8 * g))
    xr.testing.assert_allclose(scaled.drop_vars("norm"), usual.drop_vars("norm"))
    np.testing.assert_allclose(scaled.norm, 8 * usual.norm)
    order = [2, 0, 1]
    other = geometry(make_run(g[:, order], g[:, order], tasks=["c", "a", "b"]))
    xr.testing.assert_allclose(other.sel(task=["a", "b", "c"], task_other=["a", "b", "c"]), usual)


def test_steps_left_out() -> None:
    g = np.random.default_rng(0).standard_normal((4, 2, 5))
    found = geometry(make_run(g, g, skipped=[0, 1, 0, 0], steps=[0, 1, 1, 2]))
    np.testing.assert_array_equal(found.step, [0, 1, 2])
    found = geometry(make_run(g, g, skipped=[0, 1, 0, 0])).sel(layer="trunk")
    assert np.isnan(found.condition_number[1])
    assert np.isnan(found.conflict_score[1])
    assert found.attrs["skipped"] == 1


def test_a_run_that_does_not_tell_the_noise() -> None:
    g = np.random.default_rng(0).standard_normal((3, 2, 5))
    found = geometry(make_run(g, g, steps=[0, 1000, 2000]))
    assert "snr" not in found
    assert "no task has two gradients within 100 training steps" in found.attrs["noise_scale"]


def test_several_runs() -> None:
    found = geometry({"one": planted_run(0, 12), "other": planted_run(1, 20)})
    assert found.cosine.dims == ("run", "step", "layer", "task", "task_other")
    assert found.sizes["step"] == 20


def test_bad_input() -> None:
    with pytest.raises(BadOption, match="unknown"):
        geometry(planted_run(steps=2), by="parameter")
    with pytest.raises(BadOption, match="one gradient"):
        geometry(planted_run(steps=2), window=1)
    with pytest.raises(NothingRecorded, match="no step"):
        geometry(make_run(np.zeros((0, 2, 3))))
