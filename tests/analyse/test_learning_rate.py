from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import as_tree, make_rows, make_run, write_run
from torch import nn

from dominance import Recorder, lr_dominance, open_run, optim
from dominance.analyse.learning_rate import choice
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

ADAGRAD = {"class": "Adagrad", "eps": 0.0}


def run_of(gradients: Any, optimizer: dict[str, Any] | None = None, **options: Any) -> xr.DataTree:
    gradients = np.asarray(gradients, dtype=np.float32)
    run = make_run(-1e-3 * gradients, gradients, **options)
    told = dict(optimizer or ADAGRAD)
    run.attrs["optimizers"] = [{"class": told.pop("class"), "groups": [told], "note": ""}]
    return run


def test_by_hand() -> None:
    # a: 3, 4; b: 0, -8; both: 3, -4
    found = lr_dominance(run_of([[[3], [0]], [[4], [-8]]], learning_rate=0.6))
    np.testing.assert_allclose(found.learning_rate_coord[:, 0].sel(task="a"), [0.6 / 3, 0.6 / 5])
    np.testing.assert_allclose(found.learning_rate_coord[:, 0].sel(task="b"), [np.nan, 0.6 / 8])
    np.testing.assert_allclose(found.whole_coord[:, 0], [0.6 / 3, 0.6 / 5])
    np.testing.assert_allclose(found.closeness.sel(layer="trunk"), [[1, np.nan], [1, 5 / 8]])
    assert found.learning_rate_coord.dims == ("step", "coord", "task")
    assert found.learning_rate.dims == found.closeness.dims == ("step", "layer", "task")


def test_layers_are_medians_and_closeness_is_a_mean() -> None:
    g = np.zeros((1, 2, 3))
    g[0, 0], g[0, 1] = [1, 2, 10], [1, 0, 0]
    found = lr_dominance(run_of(g, learning_rate=1.0)).isel(step=0).sel(layer="trunk")
    assert found.learning_rate.values.tolist() == [0.5, 1.0]  # of 1, 1/2, 1/10; of 1 alone
    assert found.whole == 0.5  # of 1/2, 1/2, 1/10
    assert found.closeness.values.tolist() == pytest.approx([(0.5 + 1 + 1) / 3, 0.5])


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_the_task_with_the_large_gradients_has_the_shared_rate(seed: int, ratio: float) -> None:
    g = np.random.default_rng(seed).standard_normal((40, 2, 60))
    g[:, 1] *= ratio
    found = lr_dominance(run_of(g, {"class": "Adam"}), per_layer=60).isel(step=-1).sel(layer="trunk")
    a, b = found.closeness.values
    # G of the sum is near the sum of both: own / whole = sqrt(own G / sum)
    truth = np.minimum(1 / np.hypot(1, ratio), 1), np.minimum(ratio / np.hypot(1, ratio), 1)
    assert (a, b) == pytest.approx(truth, abs=0.15)
    if not 0.8 < ratio < 1.25:
        assert (a > b) == (ratio < 1)
        assert (found.learning_rate[0] > found.learning_rate[1]) == (ratio > 1)


@pytest.mark.parametrize("k", [2, 4])
def test_tasks_of_equal_size_at_right_angles_have_one_over_root_k(k: int) -> None:
    g = np.random.default_rng(0).standard_normal((400, k, 200))
    found = lr_dominance(run_of(g), per_layer=200).closeness.isel(step=-1)
    np.testing.assert_allclose(found, 1 / np.sqrt(k), rtol=0.05)


# Against torch


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.heads = nn.ModuleDict({name: nn.Linear(2, 1) for name in ("a", "b")})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        out = torch.tanh(self.second(torch.tanh(self.first(x))))
        return {"a": self.heads["a"](out).square().mean(), "b": 5 * (self.heads["b"](out) - 1).square().mean()}


def trained(path: Path, make: Any, steps: int = 7, **options: Any) -> tuple[Any, Net, Any]:
    """The recorded run, the trained net and its optimizer."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = Net()
    optimizer = make(net.named_parameters() if "dominance" in make.__module__ else net.parameters())
    scheduler = (
        None if isinstance(optimizer, optim.AdaTaskAdam) else torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    )
    with Recorder(path, net, optimizer, exact=True, **options):
        for _ in range(steps):
            losses = net(torch.randn(8, 3))
            optimizer.zero_grad()
            if scheduler is None:
                optimizer.backward(losses)
            else:
                (losses["a"] + losses["b"]).backward()
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
    net.last_rate = rates[0]
    return open_run(path), net, optimizer


def of_coords(found: xr.Dataset, net: Net, value: Any) -> np.ndarray:
    """``value(parameter)`` at the chosen coordinates."""
    named = dict(net.named_parameters())
    pairs = zip(found.parameter.values, found["index"].values, strict=True)
    return np.array([float(value(named[name]).flatten()[i]) for name, i in pairs])


T = torch.optim


@pytest.mark.parametrize(
    ("make", "denominator"),
    [
        (lambda p: T.Adagrad(p, lr=0.1), lambda s, t: s["sum"].sqrt() + 1e-10),
        (
            lambda p: T.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, eps=0.01),
            lambda s, t: (s["sum"].sqrt() + 0.01) * (1 + (t - 1) * 0.1),
        ),
        (lambda p: T.RMSprop(p, lr=0.1, alpha=0.9, momentum=0.5), lambda s, t: s["square_avg"].sqrt() + 1e-8),
        (
            lambda p: T.RMSprop(p, lr=0.1, centered=True, eps=1e-3),
            lambda s, t: (s["square_avg"] - s["grad_avg"] ** 2).sqrt() + 1e-3,
        ),
        (lambda p: T.Adam(p, lr=0.1), lambda s, t: (s["exp_avg_sq"] / (1 - 0.999**t)).sqrt() + 1e-8),
        (
            lambda p: T.Adam(p, lr=0.1, betas=(0.5, 0.6), amsgrad=True, eps=1e-2),
            lambda s, t: (s["max_exp_avg_sq"] / (1 - 0.6**t)).sqrt() + 1e-2,
        ),
        (lambda p: T.AdamW(p, lr=0.1), lambda s, t: (s["exp_avg_sq"] / (1 - 0.999**t)).sqrt() + 1e-8),
    ],
    ids=["adagrad", "adagrad-options", "rmsprop", "rmsprop-centered", "adam", "amsgrad", "adamw"],
)
def test_the_whole_rate_is_that_of_the_optimizers_own_state(make: Any, denominator: Any, tmp_path: Path) -> None:
    run, net, optimizer = trained(tmp_path / "run", make)
    found = lr_dominance(run, per_layer=100)
    assert found.attrs["exact"], found.attrs["inexact_because"]
    assert found.layer.values.tolist() == ["first", "second"]
    assert found.sizes["coord"] == 16 + 10
    truth = net.last_rate / of_coords(found, net, lambda p: denominator(optimizer.state[p], 7))
    np.testing.assert_allclose(found.whole_coord.isel(step=-1), truth, rtol=1e-5)


def test_a_tasks_own_rate_is_that_of_its_own_training(tmp_path: Path) -> None:
    """AdaTask keeps the accumulator of each task: what the analysis works out from the gradients alone."""
    run, net, optimizer = trained(tmp_path / "run", lambda p: optim.AdaTaskAdam(p, lr=0.1, betas=(0.9, 0.95)))
    found = lr_dominance(run, per_layer=100)
    assert found.attrs["own_rates"]
    assert found.attrs["exact"]
    for task in ("a", "b"):

        def root(p: Any, task: str = task) -> torch.Tensor:
            return (optimizer.state[p]["tasks"][task]["exp_avg_sq"] / (1 - 0.95**7)).sqrt() + 1e-8

        truth = 0.1 / of_coords(found, net, root)
        np.testing.assert_allclose(found.learning_rate_coord.isel(step=-1).sel(task=task), truth, rtol=1e-5)


def test_coupled_weight_decay_and_sparse_recording_are_told(tmp_path: Path) -> None:
    run, _, _ = trained(tmp_path / "decay", lambda p: T.Adam(p, lr=0.1, weight_decay=0.1))
    found = lr_dominance(run)
    assert not found.attrs["exact"]
    assert "accumulates the weight decay" in found.attrs["inexact_because"]
    run, _, _ = trained(tmp_path / "sparse", lambda p: T.RMSprop(p, lr=0.1), every=3, burst=1)
    found = lr_dominance(run)
    assert not found.attrs["exact"]
    assert "count the 3 recorded of the first 7 steps" in found.attrs["inexact_because"]


def test_sgd_has_nothing_to_compare(tmp_path: Path) -> None:
    run, _, _ = trained(tmp_path / "run", lambda p: T.SGD(p, lr=0.1), steps=2)
    with pytest.raises(NothingRecorded, match="SGD has one learning rate"):
        lr_dominance(run)
    assert lr_dominance(run, optimizer="Adam").attrs["family"] == "adam"


# The choice


def test_the_choice() -> None:
    g = np.random.default_rng(0).standard_normal((2, 2, 60))
    run = run_of(g, layers={"x": 30, "head": 10, "y": 20}, private={"head": "a"})
    found = lr_dominance(run, per_layer=7, seed=3)
    assert found.coord_layer.values.tolist() == ["x"] * 7 + ["y"] * 7
    assert len(set(zip(found.parameter.values, found["index"].values, strict=True))) == 14
    xr.testing.assert_identical(found, lr_dominance(run, per_layer=7, seed=3))
    assert found["index"].values.tolist() != lr_dominance(run, per_layer=7, seed=4)["index"].values.tolist()
    other = run_of(np.concatenate([g[..., :30], g], axis=2), layers={"x": 30, "w": 60})
    same = lr_dominance(other, per_layer=7, seed=3)
    np.testing.assert_array_equal(same["index"][:7], found["index"][:7], "a layer's choice is its own")
    assert lr_dominance(run, per_layer=25).coord_layer.values.tolist() == ["x"] * 25 + ["y"] * 20


def test_the_choice_is_uniform_over_parameters_sampled_or_not() -> None:
    """Of 90 coordinates, sampled at one in ten, and 10 that were all kept, the first are chosen nine times in ten."""
    parts = [Parameter("big", "w", (900,), ("a", "b")), Parameter("small", "w", (100,), ("a", "b"))]
    run = run_of(np.ones((1, 2, 190)), parameters=parts, coord_weight=np.repeat([10.0, 1.0], [90, 100]))
    big = [choice(PreparedRun(run), 5, seed)[:90].mean() * 90 / 5 for seed in range(200)]
    assert np.mean(big) == pytest.approx(0.9, abs=0.04)


# Steps


def test_skipped_steps_and_overruled_steps_leave_no_trace() -> None:
    g = np.random.default_rng(0).standard_normal((7, 2, 5))
    wild = g.copy()
    wild[[1, 4]] = 1e6
    found = lr_dominance(run_of(wild, skipped=[0, 1, 0, 0, 1, 0, 0]))
    truth = lr_dominance(run_of(g[[0, 2, 3, 5, 6]], steps=[0, 2, 3, 5, 6]))
    xr.testing.assert_equal(found, truth)
    assert (found.attrs["left_out_skipped"], found.attrs["exact"], truth.attrs["exact"]) == (2, True, False)
    resumed = lr_dominance(run_of(g, steps=[0, 1, 2, 3, 2, 3, 4]))
    np.testing.assert_array_equal(resumed.whole, lr_dominance(run_of(g[[0, 1, 4, 5, 6]])).whole)
    assert resumed.attrs["exact"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_is_left_out_and_counted(bad: float) -> None:
    g = np.random.default_rng(0).standard_normal((5, 2, 4))
    wild = g.copy()
    wild[2, 1, 0] = bad
    found = lr_dominance(run_of(wild))
    assert (found.attrs["left_out_non_finite"], found.attrs["exact"]) == (1, False)
    kept = [0, 1, 3, 4]
    xr.testing.assert_equal(found, lr_dominance(run_of(g[kept], steps=kept)))


def test_a_task_that_took_no_part_keeps_its_average() -> None:
    g = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    weight = np.array([[1, 1], [1, np.nan], [1, np.nan], [1, 1]])
    absent = g.copy()
    absent[1:3, 1] = np.nan
    options = {"class": "Adam", "betas": [0.9, 0.5]}
    found = lr_dominance(run_of(absent, options, weight=weight))
    alone = lr_dominance(run_of(g[[0, 3]], options)).learning_rate_coord.sel(task="b")
    np.testing.assert_array_equal(found.learning_rate_coord.sel(task="b").isel(step=[0, 3]), alone)
    np.testing.assert_array_equal(found.learning_rate_coord.sel(task="b")[1], alone[0])
    np.testing.assert_array_equal(
        found.learning_rate_coord.sel(task="a"), lr_dominance(run_of(g, options)).learning_rate_coord.sel(task="a")
    )


def test_a_layer_that_was_not_stepped_takes_nothing_in() -> None:
    g = np.random.default_rng(0).standard_normal((3, 2, 4))
    run = run_of(g, {"class": "Adam"}, layers={"x": 2, "y": 2})
    run["learning_rate/learning_rate"][1, 0] = np.nan  # frozen for a step
    found = lr_dominance(run)
    truth = lr_dominance(run_of(g[[0, 2]], {"class": "Adam"}, layers={"x": 2, "y": 2}))
    np.testing.assert_array_equal(found.whole.sel(layer="x"), [truth.whole[0, 0], np.nan, truth.whole[1, 0]])
    np.testing.assert_array_equal(found.learning_rate.sel(layer="x", step=2), truth.learning_rate[1, 0])
    run["learning_rate/learning_rate"][:] = np.nan
    with pytest.raises(NothingRecorded, match="no learning rate was recorded"):
        lr_dominance(run)


def test_points() -> None:
    run = run_of(np.random.default_rng(0).standard_normal((50, 2, 4)))
    whole = lr_dominance(run)
    assert whole.step.values.tolist() == list(range(50))
    few = lr_dominance(run, points=5)
    assert few.step.values[[0, -1]].tolist() == [0, 49]
    xr.testing.assert_equal(few, whole.sel(step=few.step))
    assert lr_dominance(run, points=1).step.values.tolist() == [49]


# What a result may not depend on


def test_the_order_of_tasks_and_of_coordinates() -> None:
    g = np.random.default_rng(0).standard_normal((20, 3, 30)) * np.array([[1], [2], [3]])
    usual = lr_dominance(run_of(g, {"class": "Adam"}))
    other = lr_dominance(run_of(g[:, [2, 0, 1]], {"class": "Adam"}, tasks=["c", "a", "b"]))
    xr.testing.assert_allclose(usual, other.sel(task=["a", "b", "c"]))
    order = np.random.default_rng(1).permutation(30)
    shuffled = run_of(g, {"class": "Adam"}).map_over_datasets(
        lambda node: node.isel(coord=order, missing_dims="ignore")
    )
    back = lr_dominance(shuffled)
    assert sorted(back["index"].values.tolist()) == usual["index"].values.tolist()
    for name in ("learning_rate", "whole", "closeness"):
        xr.testing.assert_allclose(usual[name], back[name])


def test_the_scale_of_the_losses_changes_no_closeness() -> None:
    g = np.random.default_rng(0).standard_normal((20, 2, 30))
    usual, scaled = (lr_dominance(run_of(factor * g)).closeness for factor in (1, 2**10))
    xr.testing.assert_allclose(usual, scaled)


@pytest.mark.parametrize(("steps", "coords"), [(70, 300), (5, 60_000)])
def test_from_the_store(steps: int, coords: int, tmp_path: Path) -> None:
    """Over chunks of steps and coordinates with ragged ends."""
    g = np.random.default_rng(0).standard_normal((steps, 2, coords)).astype(np.float32)
    layout, rows = make_rows(-1e-3 * g, g, layers={"a": 100, "head": 50, "b": coords - 150}, private={"head": "a"})
    layout.attrs["optimizers"] = [{"class": "RMSprop", "groups": [{"alpha": 0.9}], "note": ""}]
    memory = as_tree(layout, rows)
    memory.attrs["optimizers"] = layout.attrs["optimizers"]
    run = open_run(write_run(tmp_path / "run", layout, rows))
    found = lr_dominance(run, per_layer=40)
    xr.testing.assert_equal(found, lr_dominance(memory, per_layer=40))
    assert found["index"].max() > coords - 150 - 10_000
    xr.testing.assert_equal(found, lr_dominance(run.chunk(), per_layer=40))  # dask's arrays


def test_several_runs() -> None:
    g = np.random.default_rng(0).standard_normal((3, 2, 30))
    found = lr_dominance({"one": run_of(g), "two": run_of(g[:2])}, per_layer=4)
    assert found.whole.dims == ("run", "step", "layer")
    assert np.isnan(found.whole.sel(run="two", step=2)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_layer": 0}, "per_layer=0 chooses nothing"),
        ({"points": 0}, "points=0"),
        ({"optimizer": 1}, "the run has 1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        lr_dominance(run_of(np.ones((2, 2, 3))), **options)


def test_nothing_recorded() -> None:
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        lr_dominance(run_of(np.zeros((0, 2, 3))))
    with pytest.raises(NothingRecorded, match="reached by two tasks"):
        lr_dominance(run_of(np.ones((2, 2, 3)), private={"trunk": "a"}))
    with pytest.raises(NothingRecorded, match=r"2 non-finite"):
        lr_dominance(run_of(np.full((2, 2, 3), np.nan)))
