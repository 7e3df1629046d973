from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from runs import make_run, planted_run
from scipy import stats

from dominance import conflict_layers, gcd
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


def test_any_pair_of_the_tasks() -> None:
    g = np.zeros((4, 3, 2))
    g[:, 0] = [1, 0]
    g[1, 1] = g[2, 2] = [-1, 1]
    g[3] = 0
    found = gcd(make_run(g, g)).sel(layer="trunk")
    # step 0 and 3 have no two gradients; 1: a and b conflict; 2: a and c
    assert found.any_conflict_share == 1
    g[0, 1] = [1, 1]
    assert gcd(make_run(g, g)).any_conflict_share.sel(layer="trunk") == pytest.approx(2 / 3)


# Which layers


def test_ranked_by_hand() -> None:
    x, y = gradients_at([60, 60, 90.001, 120]), gradients_at([170, 10, 150, 120])
    g = np.concatenate([x, y], axis=2)
    found = conflict_layers(make_run(g, g, layers={"x": 2, "y": 2}))
    assert found.place.values.tolist() == [1, 2]
    assert found.layer.values.tolist() == ["y", "x"]
    assert (found.task == "a").all()
    assert (found.task_other == "b").all()
    degrees = 1 - np.cos(np.radians([[170.0, 10, 150, 120], [60, 60, 90.001, 120]]))
    np.testing.assert_allclose(found.mean_gcd, degrees.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.conflict_share, [0.75, 0.5])
    np.testing.assert_allclose(found.mean_gcd_se, degrees.std(axis=1, ddof=1) / 2, atol=1e-6)
    np.testing.assert_allclose(found.lower, found.mean_gcd - stats.t.ppf(1 - 0.05 / 2, 3) * found.mean_gcd_se)
    assert not found.conflict.any()
    over = conflict_layers(make_run(g, g, layers={"x": 2, "y": 2}), threshold=1.49)
    np.testing.assert_allclose(over.conflict_share, [0.75, 0.25])
    lower = conflict_layers(make_run(g, g, layers={"x": 2, "y": 2}), threshold=0.1)
    assert lower.conflict.values.tolist() == [False, True]


def test_planted_conflict_is_found_and_chance_is_not() -> None:
    found = conflict_layers(planted_run(steps=100, tasks=("a", "b", "c")))
    first = found.isel(place=0)
    assert (first.layer, first.task, first.task_other) == ("trunk.1", "a", "b")
    assert found.conflict.values.tolist() == [True] + [False] * 5
    assert found.layer_share.values[0] == pytest.approx(found.conflict_share[found.layer == "trunk.1"].mean())


def test_chance_in_many_layers_is_no_conflict() -> None:
    """Gradients at right angles on average, in 400 layers, whose degrees resemble those of the step before."""
    rng = np.random.default_rng(0)
    angle = np.zeros((200, 400))
    state = rng.standard_normal(400)
    for row in angle:
        state = 0.5 * state + rng.standard_normal(400)
        row[:] = 90 + 10 * state
    g = np.stack([np.ones_like(angle) + 0j, np.exp(1j * np.radians(angle))], axis=1)
    g = np.stack([g.real, g.imag], axis=-1).reshape(200, 2, 800)
    run = make_run(g, g, layers={f"l{i}": 2 for i in range(400)})
    assert not conflict_layers(run).conflict.any()
    found = conflict_layers(run)
    t = (found.mean_gcd - 1) / found.mean_gcd_se
    assert float((t > stats.t.ppf(0.95, 13)).mean()) == pytest.approx(0.05, abs=0.04)


def test_top_groups_and_what_is_left_out() -> None:
    g = np.random.default_rng(0).standard_normal((20, 3, 30))
    g[:, 2, :10] = 0
    run = make_run(g, g, layers={"x": 10, "y": 10, "z": 10})
    found = conflict_layers(run)
    assert found.sizes["place"] == 7
    assert found.attrs["left_out_without_degree"] == 2
    assert (np.diff(found.mean_gcd) <= 0).all()
    few = conflict_layers(run, top=2)
    xr.testing.assert_identical(few.drop_attrs(), found.isel(place=[0, 1]).drop_attrs())
    assert few.attrs["left_out_by_top"] == 5
    grouped = conflict_layers(run, by={"late": ["y", "z"]})
    assert set(grouped.layer.values) == {"late"}
    swapped = conflict_layers(make_run(g[:, [2, 0, 1]], g[:, [2, 0, 1]], layers={"x": 10, "y": 10, "z": 10}))
    np.testing.assert_allclose(swapped.mean_gcd, found.mean_gcd)
    both = conflict_layers({"one": run, "other": run})
    assert both.mean_gcd.dims == ("run", "place")


def test_few_steps_have_no_error() -> None:
    found = conflict_layers(planted_run(steps=3))
    assert np.isnan(found.mean_gcd_se).all()
    assert not found.conflict.any()


def test_bad_thresholds() -> None:
    run = planted_run(steps=3)
    for options in ({"threshold": 2}, {"threshold": -0.5}, {"confidence": 1.0}, {"confidence": 0.3}, {"top": 0}):
        with pytest.raises(BadOption, match=f"{next(iter(options))}={next(iter(options.values()))}"):
            conflict_layers(run, **options)
    with pytest.raises(NothingRecorded, match="no two tasks"):
        conflict_layers(make_run(np.zeros((3, 2, 4))))
