"""Weights of a mixture: from gradients of single examples, by brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from runs import make_run
from torch import nn

import dominance
from dominance import Recorder, mixture, open_run
from dominance.analyse.kernels import mixture as formulas
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import GROUPS

NAMES = ["a", "b", "c"]


def counted(counts: np.ndarray, names: list[str] = NAMES) -> list[dict[str, Any]]:
    return [
        {"step": step, "epoch": 0, "task": name, "split": GROUPS, "name": "examples", "value": float(number)}
        for step, row in enumerate(counts.tolist())
        for name, number in zip(names, row, strict=True)
    ]


def sampled(seed: int = 0, steps: int = 40, extra: int = 0) -> tuple[xr.DataTree, list[list[np.ndarray]]]:
    """A run of groups whose examples' gradients are drawn; and these, [step][group] (example, coord)."""
    rng = np.random.default_rng(seed)
    means = np.array([[1.0, 0, 0, 0, 0.5], [0.6, 0.8, 0, 0, 0], [0, 0, 0.3, 0, 0]])
    counts = rng.integers(0, 5, (steps, 3))
    examples = [
        [means[k] + [0.5, 2.0, 0.1][k] * rng.standard_normal((n, 5)) for k, n in enumerate(row)] for row in counts
    ]
    gradients = np.array([[part.sum(axis=0) for part in row] for row in examples])
    gradients /= np.maximum(counts.sum(axis=1), 1)[:, None, None]
    aux = rng.standard_normal((steps, extra, 5))
    tasks = [*NAMES, *[f"aux{i}" for i in range(extra)]]
    gradients = np.concatenate([gradients, aux], axis=1)
    run = make_run(gradients, gradients, tasks=tasks, layers={"x": 3, "y": 2}, metrics=counted(counts))
    return run, examples


def by_pairs(examples: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """|∇L|² of each group, over pairs of examples of different steps; and inner products of two groups, over pairs of
    one step: what they are estimated from."""
    k = len(examples[0])
    inner = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            pairs = [
                float(x @ y)
                for s, one in enumerate(examples)
                for t, other in enumerate(examples)
                if (s != t if i == j else s == t)
                for x in one[i]
                for y in other[j]
            ]
            inner[i, j] = np.mean(pairs) if pairs else np.nan
    return np.diag(inner), inner


def test_each_window_by_brute_force() -> None:
    run, examples = sampled()
    found = mixture(run, window=8)
    assert found.sizes["window"] == 5
    for number in range(5):
        part = examples[8 * number : 8 * number + 8]
        at = found.isel(window=number)
        assert (int(at.first_step), int(at.last_step)) == (8 * number, 8 * number + 7)
        squared, inner = by_pairs(part)
        np.testing.assert_allclose(at.squared_gradient, squared, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(at.alignment, inner.mean(axis=1), rtol=1e-4, atol=1e-6)
        seen = np.array([[len(each) for each in row] for row in part], dtype=float)
        sums = np.array([[each.sum(axis=0) for each in row] for row in part])
        variance = ((sums**2).sum(axis=(0, 2)) - squared * (seen**2).sum(axis=0)) / seen.sum(axis=0)
        np.testing.assert_allclose(at.variance, variance, rtol=1e-4)
        present = seen.sum(axis=0) / seen.sum()
        np.testing.assert_allclose(at.present, present)
        batch = np.array(seen.sum() / 8)
        step = formulas.best_step(present, squared, variance, batch)
        np.testing.assert_allclose(at.pike, formulas.pike(present, squared, variance, batch, step), rtol=1e-4)
        np.testing.assert_allclose(at.dga, formulas.dga(present, inner.mean(axis=1)), rtol=1e-4)


def test_all_windows_together_are_near_the_truth_and_their_errors_say_how_near() -> None:
    """Of many runs: |∇L|² 1.25, 1, 0.09 and σ² 1.25, 20, 0.05; the third group has almost no noise, the second much."""
    squared, variance = np.array([1.25, 1.0, 0.09]), 5 * np.array([0.25, 4.0, 0.01])
    inner = np.array([[1.25, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.09]])
    present, batch = np.full(3, 1 / 3), np.array(6.0)
    several = [mixture(sampled(seed, 200)[0]) for seed in range(30)]
    step = formulas.best_step(present, squared, variance, batch)
    truth = {
        "pike": formulas.pike(present, squared, variance, batch, step),
        "dga": formulas.dga(present, inner.mean(axis=1)),
    }
    for name, expected in truth.items():
        values = np.stack([found[f"mean_{name}"] for found in several])
        assert (abs(values.mean(axis=0) - expected) < 4 * values.std(axis=0) / 30**0.5 + 0.01).all()
        errors = np.stack([found[f"{name}_se"] for found in several])
        np.testing.assert_allclose(np.sqrt((errors**2).mean(axis=0)), values.std(axis=0), rtol=0.5)
        np.testing.assert_allclose(values.sum(axis=1), 1)


def test_a_target_is_one_group() -> None:
    run, examples = sampled(steps=8)
    found = mixture(run, target="b")
    np.testing.assert_allclose(found.alignment[0], by_pairs(examples)[1][:, 1], rtol=1e-4, atol=1e-6)
    assert found.attrs["target"] == "b"


def test_losses_beside_the_groups_are_left_out() -> None:
    beside, alone = mixture(sampled(extra=1)[0]), mixture(sampled()[0])
    assert beside.task.values.tolist() == NAMES
    assert beside.attrs["left_out"] == ["aux0"]
    for name in ("squared_gradient", "mean_dga", "mean_gradient", "mean_update", "mean_present"):
        np.testing.assert_allclose(beside[name], alone[name])


def test_gradients_are_those_of_the_examples_in_a_training(tmp_path: Path) -> None:
    """A network of two layers, recorded; its examples' gradients one by one, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    examples: list[list[np.ndarray]] = []
    with Recorder(tmp_path / "run", model, optimizer, exact=True):
        for _ in range(6):
            x, ids = torch.randn(7, 3, dtype=torch.float64), torch.randint(2, (7,))
            y = x.sum(dim=1) * (1 + ids)
            losses = (model(x)[:, 0] - y).square()
            each = [
                torch.cat([g.flatten() for g in torch.autograd.grad(one, list(model.parameters()), retain_graph=True)])
                for one in losses
            ]
            examples.append([torch.stack(each)[ids == k].numpy() for k in range(2)])
            optimizer.zero_grad()
            dominance.observe(at=losses, shares=dominance.by_group(ids, names=["one", "two"]))
            losses.mean().backward()
            optimizer.step()
    found = mixture(open_run(tmp_path / "run"))
    squared, inner = by_pairs(examples)
    order = [found.task.values.tolist().index(name) for name in ("one", "two")]
    np.testing.assert_allclose(found.squared_gradient[0, order], squared, rtol=1e-5)
    np.testing.assert_allclose(found.alignment[0, order], inner.mean(axis=1), rtol=1e-5)
    assert found.attrs["batch"] == 7


def test_terms_of_a_loss_have_loss_weights_and_no_sampling() -> None:
    rng = np.random.default_rng(0)
    raw = np.array([[2.0, 0, 0], [0, 1.0, 0]]) + 0.1 * rng.standard_normal((30, 2, 3))
    weight = np.tile([0.5, 2.0], (30, 1))
    run = make_run(raw, raw * weight[..., None], weight=weight)
    found = mixture(run)
    assert found.attrs["weights"] == "loss"
    assert np.isnan(found.mean_pike).all()
    np.testing.assert_allclose(found.mean_present, [0.2, 0.8])
    np.testing.assert_allclose(found.squared_gradient.mean("window"), [4, 1], atol=0.1)
    np.testing.assert_allclose(found.mean_dga, formulas.dga(np.array([0.2, 0.8]), np.array([2.0, 0.5])), atol=0.01)


def test_scale_and_order() -> None:
    g = np.random.default_rng(3).standard_normal((20, 3, 4)) + 1
    counts = np.random.default_rng(4).integers(1, 5, (20, 3))
    one = mixture(make_run(g, g, metrics=counted(counts)))
    order = [2, 0, 1]
    names = [NAMES[i] for i in order]
    other = mixture(make_run(g[:, order], 1000 * g[:, order], tasks=names, metrics=counted(counts)))
    for name in ("mean_pike", "mean_dga", "mean_present", "mean_gradient"):
        np.testing.assert_allclose(other[name].sel(task=NAMES), one[name], rtol=1e-5)


def test_a_resumed_training_counts_what_was_seen_last() -> None:
    g = np.random.default_rng(3).standard_normal((6, 3, 4)) + 1
    counts = np.ones((6, 3))
    events = [*counted(9 * np.ones((4, 3))), *counted(counts)]
    found = mixture(make_run(g, g, steps=[0, 1, 2, 1, 2, 3], metrics=events))
    assert found.attrs["left_out_superseded"] == 2
    assert found.attrs["batch"] == 3


def test_what_it_needs_is_asked_for() -> None:
    g = np.ones((4, 2, 3))
    with pytest.raises(BadOption, match=r"target 'x' is no group of this run; choose from a, b, c"):
        mixture(sampled()[0], target="x")
    with pytest.raises(NothingRecorded, match=r"a mixture has several groups, and this run has one group \(a\)"):
        mixture(make_run(g, g, metrics=counted(np.ones((4, 1)), ["a"])))
    flip = np.array([1.0, -1, 1, -1])[:, None, None] * g
    with pytest.raises(NothingRecorded, match="no gradient is told from its noise"):
        mixture(make_run(flip, flip, metrics=counted(np.ones((4, 2)), ["a", "b"])))
    with pytest.raises(NothingRecorded, match="the weight of a in the loss is not known"):
        mixture(make_run(g, g, weight=np.full((4, 2), np.nan)))
    with pytest.raises(NothingRecorded, match="the weight of b in the loss is not above 0"):
        mixture(make_run(g, g, weight=np.tile([1.0, -1.0], (4, 1))))
    rare = np.zeros((4, 2))
    rare[[0, 1], [0, 1]] = 1
    with pytest.raises(NothingRecorded, match="no two of a, b have gradients at two steps"):
        mixture(make_run(g, g, metrics=counted(rare, ["a", "b"])))
    with pytest.raises(NothingRecorded, match="no step was recorded"):
        mixture(make_run(np.ones((0, 2, 3))))


def test_a_group_that_is_too_rare_is_left_out_and_named() -> None:
    g = np.ones((4, 3, 3))
    counts = np.ones((4, 3))
    counts[1:, 2] = 0
    g[1:, 2] = 0
    run = make_run(g, g, metrics=counted(counts))
    found = mixture(run)
    assert found.attrs["left_out"] == ["c"]
    np.testing.assert_allclose(found.mean_dga, [0.5, 0.5])
    with pytest.raises(BadOption, match="target 'c' is too rare to be told from its noise"):
        mixture(run, target="c")


def test_several_runs() -> None:
    found = mixture({"x": sampled(0)[0], "y": sampled(1)[0]})
    assert found.mean_pike.dims == ("run", "task")


def test_a_prepared_run_gives_the_same() -> None:
    run, _ = sampled()
    xr.testing.assert_identical(mixture(PreparedRun(run)), mixture(run))
