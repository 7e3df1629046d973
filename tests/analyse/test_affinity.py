from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import make_run
from torch import nn

from dominance import Recorder, affinity, open_run
from dominance.analyse.kernels.affinity import first_order
from dominance.errors import BadOption, NothingRecorded
from dominance.probes import lookahead


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_kernel_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, layers, tasks, size = rng.integers(1, 4, 4)
    g = rng.standard_normal((steps, layers, tasks, size))
    rate, weight, loss = rng.random((steps, layers)), rng.random((steps, tasks)), rng.random((steps, tasks))
    found = first_order(np.einsum("slki,slmi->slkm", g, g), rate, weight, loss)
    for s, m, i, j in np.ndindex(*found.shape):
        raw_gradient = g[s, m, j] / weight[s, j]
        assert found[s, m, i, j] == pytest.approx(-float(raw_gradient @ (-rate[s, m] * g[s, m, i])) / loss[s, j])


def test_losses_and_weights_that_are_0_or_unknown() -> None:
    gram = np.ones((1, 1, 2, 2))
    one = np.ones((1, 1))
    for weight, loss in [([1.0, np.nan], [1.0, 1.0]), ([1.0, 1.0], [1.0, 0.0]), ([1.0, 0.0], [1.0, 1.0])]:
        found = first_order(gram, one, np.array([weight]), np.array([loss]))[0, 0]
        np.testing.assert_array_equal(found, [[1, np.nan], [1, np.nan]])


def test_parts_of_layers_add_up_and_private_layers_do_not_count() -> None:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 2, 12))
    run = make_run(
        g, g, layers={"x": 4, "head": 3, "y": 5}, private={"head": "a"}, loss=rng.random((4, 2)) + 1,
        weight=[[1, 2]] * 4, skipped=[0, 1, 0, 0], steps=[0, 1, 2, 2],
    )  # fmt: skip
    layered = affinity(run, by="layer")
    assert layered.layer.values.tolist() == ["x", "y"]
    assert layered.step.values.tolist() == [0, 1, 2]
    whole = affinity(run)
    np.testing.assert_allclose(
        whole.first_order.sel(layer="all shared"), layered.first_order.sum("layer", skipna=False)
    )
    assert np.isnan(whole.first_order.sel(step=1)).all()
    last = np.delete(g, np.s_[4:7], axis=2)[3].astype(np.float32).astype(float)
    expected = 1e-3 * float(last[0] @ last[1]) / float(2 * run["loss/loss"][3, 1])
    found = whole.first_order.sel(step=2, task="a", task_other="b", layer="all shared")
    assert float(found) == pytest.approx(expected)
    mean = whole.first_order.sel(layer="all shared", step=[0, 2]).mean("step")
    np.testing.assert_allclose(whole.mean_first_order.sel(layer="all shared"), mean)
    assert whole.attrs["steps_with_first_order"] == 2


class Bowls(nn.Module):
    """L_a = 1 + |θ|², L_b = 1 + |θ - c|²."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.float64))
        self.c = torch.tensor([2.0, 1.0], dtype=torch.float64)

    def losses(self, model: nn.Module) -> dict[str, torch.Tensor]:
        return {"a": 1 + self.theta.square().sum(), "b": 1 + (self.theta - self.c).square().sum()}


def test_measured_and_first_order_of_a_training(tmp_path: Path) -> None:
    """By hand: Z_ij = η <g_i, g_j> / L_j - η² |g_i|² / L_j, the second term by which first_order is too large."""
    torch.set_num_threads(1)
    model, lr = Bowls(), 0.05
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    hand: list[Any] = []
    with Recorder(tmp_path / "run", model, optimizer, every=1, exact=True, quiet=True) as recorder:
        for step in range(3):
            theta, c = model.theta.detach().numpy().copy(), model.c.numpy()
            gradients = np.stack([2 * theta, 2 * (theta - c)])
            values = np.array([1 + theta @ theta, 1 + (theta - c) @ (theta - c)])
            linear = lr * gradients @ gradients.T / values
            hand.append((linear, linear - lr**2 * (gradients**2).sum(1)[:, None] / values))
            measured = lookahead(model, model.losses, lr=lr)
            losses = model.losses(model)
            recorder.observe(losses)
            optimizer.zero_grad()
            (losses["a"] + losses["b"]).backward()
            optimizer.step()
            if step:
                recorder.log_affinity(measured)
        recorder.log_affinity({"a": {"c": 0.5}})
    found = affinity(open_run(tmp_path / "run"))
    assert found.step.values.tolist() == [0, 1, 2]
    for step in (0, 1, 2):
        np.testing.assert_allclose(found.first_order.sel(step=step, layer="all shared"), hand[step][0], rtol=1e-6)
        if step:
            np.testing.assert_allclose(found.affinity.sel(step=step), hand[step][1], rtol=1e-9)
    assert np.isnan(found.affinity.sel(step=0)).all()
    np.testing.assert_allclose(found.mean_affinity, (hand[1][1] + hand[2][1]) / 2)
    assert found.attrs["steps_probed"] == 2
    assert found.attrs["tasks_not_of_the_run"] == ["c"]


def test_a_later_probe_of_a_step_counts() -> None:
    event = {"step": 1, "epoch": 0, "task": "a", "split": "affinity", "name": "b"}
    other = {**event, "split": "train"}
    events = [
        {**event, "value": 0.25},
        {**event, "value": 0.5},
        {**event, "step": 7, "value": 1.5},
        {**other, "value": 9},
    ]
    found = affinity(make_run(np.ones((2, 2, 3)), metrics=events))
    assert found.step.values.tolist() == [0, 1, 7]
    np.testing.assert_array_equal(found.affinity.sel(task="a", task_other="b"), [np.nan, 0.5, 1.5])
    assert np.isnan(found.first_order.sel(step=7)).all()


def test_tasks_in_another_order() -> None:
    rng = np.random.default_rng(1)
    g = rng.standard_normal((3, 3, 5))
    loss = rng.random((3, 3)) + 1
    one = affinity(make_run(g, g, tasks=["a", "b", "c"], loss=loss))
    order = [2, 0, 1]
    two = affinity(make_run(g[:, order], g[:, order], tasks=["c", "a", "b"], loss=loss[:, order]))
    np.testing.assert_allclose(one.first_order, two.first_order.sel(task=["a", "b", "c"], task_other=["a", "b", "c"]))


def test_several_runs_and_bad_options() -> None:
    g = np.ones((2, 2, 3))
    run = make_run(g, g)
    assert affinity({"x": run, "y": run}).first_order.dims[0] == "run"
    with pytest.raises(BadOption, match="unknown"):
        affinity(run, by="parameter")
    with pytest.raises(NothingRecorded, match="two tasks"):
        affinity(make_run(g, g, private={"trunk": "a"}))
