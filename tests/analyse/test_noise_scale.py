from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import as_tree, make_rows, make_run, planted_run, write_run

from dominance import noise_scale, open_run
from dominance.analyse import window_sums
from dominance.analyse.noise_scale import measure
from dominance.analyse.tiling import TilePlan
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

ALL = "all shared"


def noisy(
    seed: int = 0, steps: int = 400, signal: Any = (3.0, 1.0), noise: Any = (1.0, 2.0), layers: Any = None
) -> xr.DataTree:
    """Gradients g_k + noise, with |g_k|² = signal and tr(Σ)/B = noise in every layer of 30 coordinates."""
    rng = np.random.default_rng(seed)
    layers = layers or {"x": 30, "y": 30}
    n = sum(layers.values())
    mean = rng.standard_normal((len(signal), n))
    start = 0
    for size in layers.values():
        part = mean[:, start : start + size]
        part *= (np.array(signal) ** 0.5 / np.linalg.norm(part, axis=1))[:, None]
        start += size
    spread = (np.array(noise) / 30) ** 0.5
    g = mean + spread[:, None] * rng.standard_normal((steps, len(signal), n))
    return make_run(g, g, layers=layers)


def test_planted_signal_and_noise() -> None:
    found = noise_scale(noisy())
    assert found.layer.values.tolist() == ["x", "y", ALL]
    for layer, times in (("x", 1), ("y", 1), (ALL, 2)):
        at = found.sel(layer=layer)
        np.testing.assert_allclose(at.signal_sq, np.array([3, 1]) * times, rtol=0.1)
        np.testing.assert_allclose(at.noise_sq, np.array([1, 2]) * times, rtol=0.05)
        np.testing.assert_allclose(at.snr, [3, 0.5], rtol=0.15)
        np.testing.assert_allclose(at.noise_scale, [1 / 3, 2], rtol=0.15)
    assert (abs(found.snr - np.array([3, 0.5])) < 4 * found.snr_se).all()
    assert found.attrs["steps_used"] == 400
    assert found.attrs["windows_used"] == 40


def test_the_errors_are_the_spread_over_runs() -> None:
    several = [noise_scale(noisy(seed, 80)).sel(layer=ALL) for seed in range(30)]
    for name in ("signal_sq", "noise_sq", "snr"):
        values = np.stack([found[name] for found in several])
        errors = np.stack([found[f"{name}_se"] for found in several])
        np.testing.assert_allclose(np.sqrt((errors**2).mean(axis=0)), values.std(axis=0), rtol=0.45)


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 9), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_brute_force(seed: int, window: int, span: int, tasks: int) -> None:
    """Every pair of different steps of a window, one by one."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.integers(1, 4, 11))
    g = rng.integers(-4, 5, (11, tasks + 1, 7)).astype(float)
    weight = np.where(rng.random((11, tasks + 1)) < 0.2, np.nan, 1.0)
    run = make_run(g, g, layers={"x": 3, "y": 4}, steps=steps, weight=weight)
    here = ~np.isnan(weight)
    here[~here.any(axis=1)] = True  # no weight is known: all took part
    groups: list[list[int]] = []
    for row in range(11):
        if not groups or len(groups[-1]) == window or steps[row] - steps[groups[-1][0]] > span:
            groups.append([])
        groups[-1].append(row)
    totals = np.zeros((2, tasks + 1))
    counts = np.zeros(tasks + 1)
    for rows in groups:
        for k in range(tasks + 1):
            inside = [row for row in rows if here[row, k]]
            if len(inside) < 2:
                continue
            pairs = np.mean([g[i, k] @ g[j, k] for i, j in permutations(inside, 2)])
            squares = np.mean([g[i, k] @ g[i, k] for i in inside])
            totals[:, k] += len(inside) * np.array([pairs, squares - pairs])
            counts[k] += len(inside)
    if not counts.any():
        with pytest.raises(NothingRecorded, match="no task has two gradients"):
            noise_scale(run, window=window, max_span=span)
        return
    found = noise_scale(run, window=window, max_span=span).sel(layer=ALL)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found.signal_sq, totals[0] / counts, atol=1e-9)
        np.testing.assert_allclose(found.noise_sq, totals[1] / counts, atol=1e-9)


def test_by_window() -> None:
    g = np.array([1, 3, -1, 1, 5])[:, None, None] * np.ones((1, 2, 1))
    found = noise_scale(make_run(g, g, steps=[0, 1, 7, 8, 30]), window=2, max_span=4)
    np.testing.assert_array_equal(found.signal_sq_at.sel(task="a", layer="trunk"), [3, -1, np.nan])
    np.testing.assert_array_equal(found.noise_sq_at.sel(task="a", layer="trunk"), [2, 2, np.nan])
    np.testing.assert_array_equal(found.first_step, [0, 7, 30])
    np.testing.assert_array_equal(found.last_step, [1, 8, 30])
    np.testing.assert_array_equal(found.steps.sel(task="a"), [2, 2, 1])
    assert found.attrs["steps_used"] == 4
    assert found.attrs["windows_used"] == 2


def test_no_signal_and_no_gradient() -> None:
    g = np.zeros((4, 2, 2))
    g[:, 0, 0] = [1, -1, 1, -1]
    found = noise_scale(make_run(g, g)).sel(layer="trunk")
    np.testing.assert_array_equal(found.snr, [0, np.nan])
    np.testing.assert_array_equal(found.noise_scale, [np.inf, np.nan])
    assert found.signal_sq.sel(task="a") < 0
    np.testing.assert_array_equal(found.signal_sq.sel(task="b"), 0)


def test_a_weight_changes_the_size_and_no_ratio() -> None:
    rng = np.random.default_rng(0)
    g = 1 + rng.standard_normal((40, 2, 8))
    one, other = noise_scale(make_run(g, g)), noise_scale(make_run(g, 4 * g))
    np.testing.assert_allclose(other.signal_sq, 16 * one.signal_sq)
    np.testing.assert_allclose(other.noise_sq, 16 * one.noise_sq)
    np.testing.assert_allclose(other.snr, one.snr)
    np.testing.assert_allclose(other.snr_se, one.snr_se)
    np.testing.assert_allclose(other.noise_scale, one.noise_scale)


def test_steps_that_are_left_out() -> None:
    rng = np.random.default_rng(0)
    g = 1 + rng.standard_normal((12, 2, 4))
    bad = g.copy()
    bad[2, 0, 1] = np.nan  # a has no gradient there, b has
    run = make_run(np.zeros_like(g), bad, skipped=np.arange(12) == 5, steps=[*range(8), 7, 8, 9, 10])
    found = noise_scale(run)
    kept = np.delete(np.arange(12), [5, 7])
    of_b = noise_scale(make_run(g[kept], g[kept], steps=[*range(5), *range(6, 11)]))
    np.testing.assert_allclose(found.signal_sq.sel(task="b"), of_b.signal_sq.sel(task="b"))
    kept = np.delete(np.arange(12), [2, 5, 7])
    of_a = noise_scale(make_run(g[kept], g[kept], steps=[0, 1, 3, 4, *range(6, 11)]))
    np.testing.assert_allclose(found.noise_sq.sel(task="a"), of_a.noise_sq.sel(task="a"))
    told = [found.attrs[f"left_out_{reason}"] for reason in ("superseded", "skipped")]
    assert [*told, found.attrs["non_finite"], found.attrs["steps_used"]] == [1, 1, 1, 10]


def test_only_shared_layers_count() -> None:
    g = 1 + np.random.default_rng(0).standard_normal((20, 2, 9))
    run = make_run(g, g, layers={"x": 3, "head": 4, "y": 2}, private={"head": "a"})
    g = np.delete(g, np.s_[3:7], axis=2)
    truth = noise_scale(make_run(g, g, layers={"x": 3, "y": 2}))
    xr.testing.assert_allclose(noise_scale(run), truth)
    xr.testing.assert_allclose(noise_scale(run, by="all"), truth.isel(layer=[-1]))


def test_sampled_coordinates_give_the_share_and_statistics_the_size() -> None:
    """Half of the coordinates are kept; what was not kept is larger, and the exact squares know."""
    rng = np.random.default_rng(0)
    g = 0.5 + rng.standard_normal((200, 2, 400))
    layout, rows = make_rows(g[..., :200], g[..., :200], parameters=[Parameter("x", "x", (200,), ("a", "b"))])
    full = make_rows(g, g)[1]
    rows["layer/task"], rows["layer/gram"] = 9 * full["layer/task"], 9 * full["layer/gram"]
    layout.coord_weight = np.full(200, 2.0)
    found, truth = noise_scale(as_tree(layout, rows)), noise_scale(make_run(g, g))
    total = found.signal_sq + found.noise_sq
    np.testing.assert_allclose(total, 9 * (truth.signal_sq + truth.noise_sq).values)
    np.testing.assert_allclose(found.snr, truth.snr.values, rtol=0.1)


def test_a_coordinate_counts_for_as_many_as_it_stands_for() -> None:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((20, 2, 6)) + np.array([2, 2, 0, 0, 0, 0])
    parameters = [Parameter("x.w", "x", (20,), ("a", "b")), Parameter("x.b", "x", (4,), ("a", "b"))]
    found = noise_scale(make_run(g, g, parameters=parameters, coord_weight=[10, 10, 1, 1, 1, 1]))
    wide = np.concatenate([np.repeat(g[..., :2], 10, axis=2), g[..., 2:]], axis=2)
    truth = noise_scale(make_run(wide, wide, layers={"x": 24}))
    xr.testing.assert_allclose(found.drop_attrs(), truth.drop_attrs())


# What a result may not depend on


@pytest.mark.parametrize(
    "plan",
    [
        TilePlan(steps=1, coords=1000, threads=1),
        TilePlan(steps=7, coords=13, threads=2),
        TilePlan(memory=3000, threads=3),
    ],
)
def test_the_plan_changes_nothing(plan: TilePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    run = noisy(steps=40, layers={"x": 40, "y": 25})
    usual = noise_scale(run)
    xr.testing.assert_allclose(measure(run, plan=plan), usual, rtol=1e-10)
    monkeypatch.setattr(window_sums, "PIECE", 2 * 17)
    xr.testing.assert_allclose(noise_scale(run), usual, rtol=1e-10)


def test_the_order_of_tasks_and_coordinates_changes_nothing() -> None:
    run = noisy(steps=40, signal=(1, 2, 3), noise=(1, 1, 1))
    usual = noise_scale(run)
    order = np.random.default_rng(0).permutation(run.sizes["coord"])
    other = run.map_over_datasets(lambda group: group.isel(coord=order, missing_dims="ignore"))
    xr.testing.assert_allclose(noise_scale(other), usual, rtol=1e-10)
    g = run["gradient/gradient"].values[:, [2, 0, 1]]
    swapped = noise_scale(make_run(g, g, layers={"x": 30, "y": 30}, tasks=["c", "a", "b"]))
    xr.testing.assert_allclose(swapped.sel(task=["a", "b", "c"]), usual, rtol=1e-10)


def test_from_the_store(tmp_path: Path) -> None:
    g = (0.1 + np.random.default_rng(0).standard_normal((70, 2, 2500))).astype(np.float32)
    layout, rows = make_rows(g, g, layers={"a": 1000, "head": 500, "b": 1000}, private={"head": "a"})
    run = open_run(write_run(tmp_path / "run", layout, rows))
    memory = make_run(g, g, layers={"a": 1000, "head": 500, "b": 1000}, private={"head": "a"})
    xr.testing.assert_allclose(noise_scale(run), noise_scale(memory), rtol=1e-10)


def test_several_runs() -> None:
    one, other = noisy(0, 40), noisy(1, 60)
    found = noise_scale({"one": one, "other": other})
    assert found.snr.dims == ("run", "layer", "task")
    np.testing.assert_array_equal(found.snr.sel(run="other"), noise_scale(other).snr)
    assert found.attrs["steps_used"] == [40, 60]


# What cannot be done


@pytest.mark.parametrize(
    ("options", "message"),
    [({"window": 1}, "one gradient"), ({"max_span": 0}, "holds one step"), ({"by": "parameter"}, "unknown")],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        noise_scale(planted_run(steps=3), **options)


def test_nothing_recorded() -> None:
    with pytest.raises(NothingRecorded, match="no step"):
        noise_scale(make_run(np.zeros((0, 2, 3))))
    with pytest.raises(NothingRecorded, match="two tasks"):
        noise_scale(make_run(np.ones((2, 2, 3)), private={"trunk": "a"}))
    with pytest.raises(NothingRecorded, match="two gradients within 100 training steps"):
        noise_scale(make_run(np.ones((2, 2, 3)), steps=[0, 200]))
    run = planted_run(steps=3)
    bare = xr.DataTree.from_dict(
        {"/": run.to_dataset().drop_dims("coord"), **{f"/{n}": run[n].to_dataset() for n in ("layer", "loss")}}
    )
    with pytest.raises(NothingRecorded, match="no gradients by coordinate"):
        noise_scale(bare)


def test_gradients_that_are_not_finite_are_named_as_the_reason():
    with pytest.raises(NothingRecorded, match=r"3 steps with gradients that are not finite.*diverged"):
        noise_scale(make_run(np.ones((3, 2, 2)), np.full((3, 2, 2), np.nan)))
