from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from runs import make_run, planted_run

from dominance import Recorder, alignment, open_run
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

LAYERS = {"x": 4, "head_a": 3, "y": 2, "head_b": 3}
PRIVATE = {"head_a": "a", "head_b": "b"}


def cosine(g: Any, u: Any) -> float:
    g, u = np.asarray(g, dtype=float), np.asarray(u, dtype=float)
    return float(-(g @ u) / np.linalg.norm(g) / np.linalg.norm(u))


def random_run(count: int = 30, **options: Any) -> tuple[xr.DataTree, np.ndarray, np.ndarray]:
    """Updates that follow the gradients by half; (step, coord) total gradient and total update beside the run."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((count, 2, 12))
    g[:, 1, 4:7] = g[:, 0, 9:] = 0
    u = -0.1 * (g + rng.standard_normal(g.shape) * (g != 0))
    run = make_run(u, g, layers=LAYERS, private=PRIVATE, **options)
    g, u = g.astype(np.float32).astype(float), u.astype(np.float32).astype(float)
    return run, g.sum(axis=1), u.sum(axis=1)


def test_from_the_definition() -> None:
    run, g, u = random_run()
    found = alignment(run)
    shared, specific = np.r_[0:4, 7:9], np.r_[4:7, 9:12]
    task = np.array([cosine(g[t, specific], u[t, specific]) for t in range(30)])
    share = np.array([cosine(g[t, shared], u[t, shared]) for t in range(30)])
    np.testing.assert_allclose(found.sim_task, task, rtol=1e-6)
    np.testing.assert_allclose(found.sim_shared, share, rtol=1e-6)
    diff = 2 * abs(task - share) / abs(task + share)
    np.testing.assert_allclose(found["diff"], diff, rtol=1e-5)
    np.testing.assert_allclose(found.mean_diff, diff.mean(), rtol=1e-5)
    a, b = task.mean(), share.mean()
    np.testing.assert_allclose([found.mean_sim_task, found.mean_sim_shared], [a, b], rtol=1e-6)
    np.testing.assert_allclose(found.diff_of_means, 2 * abs(a - b) / abs(a + b), rtol=1e-5)
    assert found.layer.values.tolist() == list(LAYERS)
    assert found.shared.values.tolist() == [True, False, True, False]
    np.testing.assert_allclose(found.sim.sel(layer="y"), [cosine(g[t, 7:9], u[t, 7:9]) for t in range(30)], rtol=1e-6)
    of_a = [cosine(g[t, 4:7], u[t, 4:7]) for t in range(30)]
    np.testing.assert_allclose(found.sim_task_of.sel(task="a"), of_a, rtol=1e-6)
    np.testing.assert_allclose(found.sim.sel(layer="head_a"), of_a, rtol=1e-6)
    assert [found.attrs[f"layers_{kind}"] for kind in ("shared", "task_specific", "mixed")] == [2, 2, 0]


def test_gradient_descent_has_similarity_one() -> None:
    found = alignment(planted_run(steps=5))  # updates are -1e-3 of the gradients
    for name in ("sim_task", "sim_shared", "sim", "sim_task_of"):
        np.testing.assert_allclose(found[name], 1, rtol=1e-6)
    np.testing.assert_allclose(found.mean_diff, 0, atol=1e-6)
    np.testing.assert_allclose(found.diff_of_means, 0, atol=1e-6)


def test_sign_descent() -> None:
    """The first step of Adam: Sim = |g|_1 / (√n |g|_2)."""
    g = np.random.default_rng(0).standard_normal((1, 1, 12))
    g = np.concatenate([g, np.zeros_like(g)], axis=1)
    found = alignment(make_run(-np.sign(g), g, layers=LAYERS, private=PRIVATE))
    one = np.abs(g[0, 0, np.r_[0:4, 7:9]])
    assert found.sim_shared.item() == pytest.approx(one.sum() / 6**0.5 / np.linalg.norm(one), rel=1e-6)


def test_sgd_with_momentum() -> None:
    """g_t = 1, then 0 on one coordinate and 1 on the other: Δθ = -(g_1 + 0.5 g_0)."""
    g = np.zeros((2, 2, 2))
    g[0, 0], g[1, 0] = [1, 0], [0, 1]
    u = np.zeros_like(g)
    u[0, 0], u[1, 0] = [-1, 0], [-0.5, -1]
    np.testing.assert_allclose(alignment(make_run(u, g)).sim_shared, [1, 1 / 1.25**0.5])


def test_means_with_and_without_warmup_and_by_epoch() -> None:
    steps = np.arange(10, 40)
    run, *_ = random_run(steps=steps)
    run.dataset = run.to_dataset().assign_coords(epoch=("step", np.repeat([-1, 0, 2], 10)))
    found = alignment(run, warmup=15)
    for name in ("sim_task", "sim_shared", "diff"):
        np.testing.assert_allclose(found[f"mean_{name}"], found[name].mean())
        np.testing.assert_allclose(found[f"mean_{name}_after_warmup"], found[name][5:].mean())
    a, b = found.mean_sim_task_after_warmup, found.mean_sim_shared_after_warmup
    np.testing.assert_allclose(found.diff_of_means_after_warmup, 2 * abs(a - b) / abs(a + b))
    assert found.attrs["steps_in_warmup"] == 5
    np.testing.assert_array_equal(found.epoch, [0, 2])
    np.testing.assert_allclose(found.sim_task_by_epoch, [found.sim_task[10:20].mean(), found.sim_task[20:].mean()])
    a, b = found.sim_task_by_epoch[1], found.sim_shared_by_epoch[1]
    np.testing.assert_allclose(found.diff_by_epoch[1], 2 * abs(a - b) / abs(a + b))
    late = alignment(run, warmup=1000)
    assert np.isnan(late.mean_sim_task_after_warmup)
    assert not np.isnan(late.mean_sim_task)


def test_the_step_taken_counts_with_decay_and_what_belongs_to_no_task() -> None:
    g = np.zeros((1, 2, 2))
    g[0] = 1
    parts = {"residual": [[0, -1]], "unattributed": [[0, -1]], "decay": [[-1, 0]]}
    found = alignment(make_run(-g, g, **parts))
    assert found.sim_shared.item() == pytest.approx(cosine([2, 2], [-3, -4]))


def test_mixed_layers_are_shared() -> None:
    parameters = [
        Parameter("m.w", "m", (2,), ("a", "b")),
        Parameter("m.gate", "m", (1,), ("a",)),
        Parameter("h.w", "h", (1,), ("a",)),
        Parameter("idle.w", "idle", (1,), ()),
        Parameter("heads.a", "heads", (1,), ("a",)),
        Parameter("heads.b", "heads", (1,), ("b",)),
    ]
    g = np.zeros((1, 2, 7))
    g[0, 0] = [1, 2, 3, 4, 0, 1, 1]
    u = np.zeros_like(g)
    u[0, 0] = [-1, -1, -1, -1, 7, 1, -1]
    found = alignment(make_run(u, g, parameters=parameters))
    assert found.sim_shared.item() == pytest.approx(cosine([1, 2, 3], [-1, -1, -1]))
    assert found.sim_task.item() == pytest.approx(cosine([4, 1, 1], [-1, 1, -1]))
    assert found.sim_task_of.sel(task="a").item() == pytest.approx(1)  # h: heads is not of a alone
    assert found.layer.values.tolist() == ["m", "h", "heads"]
    counts = [found.attrs[f"layers_{kind}"] for kind in ("mixed", "without_task", "of_several_tasks")]
    assert counts == [1, 1, 1]


def test_without_parameters_of_one_kind() -> None:
    g = np.random.default_rng(0).standard_normal((20, 2, 4))
    found = alignment(make_run(-g, g))
    assert np.isnan(found.sim_task).all()
    assert np.isnan(found.diff_of_means)
    assert found.mean_sim_shared == pytest.approx(1)
    assert found.attrs["layers_task_specific"] == 0
    g[:, 1] = 0
    found = alignment(make_run(-g, g, private={"trunk": "a"}))
    assert np.isnan(found.sim_shared).all()
    assert found.mean_sim_task == pytest.approx(1)


def test_groups_of_layers() -> None:
    run, g, u = random_run()
    found = alignment(run, by={"heads": "head_*", "x": "x"})
    np.testing.assert_allclose(found.sim.sel(layer="heads"), found.sim_task)
    assert found.shared.values.tolist() == [False, True]
    whole = alignment(run, by="all")
    assert whole.layer.values.tolist() == ["all"]
    np.testing.assert_allclose(whole.sim[:, 0], [cosine(g[t], u[t]) for t in range(30)], rtol=1e-6)


def test_steps_without_a_value() -> None:
    run, *_ = random_run(8)
    usual = alignment(run)
    run["skipped"][2] = 1
    run["layer/total_update_sq"][3, 1] = np.inf  # in head_a
    run["layer/total_gradient_sq"][4, 0] = 0
    found = alignment(run)
    bad = np.isnan([found.sim_task, found.sim_shared, found.sim_task_of.sel(task="b")])
    np.testing.assert_array_equal(np.flatnonzero(bad[0]), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(bad[1]), [2])
    np.testing.assert_array_equal(np.flatnonzero(bad[2]), [2])
    assert np.isnan(found.sim.sel(layer="x")[4])
    np.testing.assert_array_equal(found.sim_task[4:], usual.sim_task[4:])
    assert (found.attrs["skipped"], found.attrs["steps_with_diff"]) == (1, 6)


def test_resumed_and_long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    run, *_ = random_run(9, steps=[0, 1, 2, 3, 4, 3, 4, 5, 6])
    found = alignment(run)
    np.testing.assert_array_equal(found.step, range(7))
    assert found.attrs["left_out_superseded"] == 2
    xr.testing.assert_identical(found, alignment(run.isel(step=[0, 1, 2, 5, 6, 7, 8])).assign_attrs(found.attrs))
    monkeypatch.setattr("dominance.analyse.steps._ROWS", 2)
    xr.testing.assert_identical(found, alignment(run))


def test_the_order_of_tasks_and_several_runs() -> None:
    run, *_ = random_run()
    g, u = run["gradient/gradient"].values[:, ::-1], run["update/update"].values[:, ::-1]
    other = alignment(make_run(u, g, layers=LAYERS, private=PRIVATE, tasks=["b", "a"]))
    xr.testing.assert_allclose(other.sel(task=["a", "b"]), alignment(run))
    both = alignment({"one": run, "other": planted_run(steps=4)})
    assert both["diff"].dims == ("run", "step")
    np.testing.assert_allclose(both.mean_sim_shared.sel(run="other"), 1, rtol=1e-6)


def test_bad_input() -> None:
    with pytest.raises(BadOption, match="warmup=-1"):
        alignment(planted_run(steps=2), warmup=-1)
    with pytest.raises(BadOption, match="unknown"):
        alignment(planted_run(steps=2), by="parameter")
    with pytest.raises(NothingRecorded, match="no step"):
        alignment(make_run(np.zeros((0, 2, 3))))
    with pytest.raises(NothingRecorded, match="reached by a task"):
        alignment(make_run(np.zeros((1, 2, 3)), parameters=[Parameter("p", "p", (3,))]))


class Two(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = torch.nn.Linear(5, 4)
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(4, 1) for name in "ab"})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.tanh(self.trunk(x))
        return {name: head(hidden) for name, head in self.heads.items()}


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_recorded_with_torch(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Two()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.01)
    shared, specific = list(model.trunk.parameters()), list(model.heads.parameters())
    truth = []
    with Recorder(tmp_path / "run", model, optimizer, tasks=["a", "b"]) as recorder:
        for _ in range(4):
            out = model(torch.randn(8, 5))
            losses = {task: (value**2).mean() for task, value in out.items()}
            optimizer.zero_grad()
            recorder.observe(losses)
            sum(losses.values()).backward()
            before = [p.detach().clone() for p in (*shared, *specific)]
            optimizer.step()
            moved = [p.detach() - old for p, old in zip((*shared, *specific), before, strict=True)]
            grads = [p.grad.detach().clone() for p in (*shared, *specific)]
            parts = (slice(2, None), slice(0, 2))
            truth.append(
                [cosine(*(torch.cat([t.flatten() for t in each[part]]) for each in (grads, moved))) for part in parts]
            )
    found = alignment(open_run(tmp_path / "run"))
    np.testing.assert_allclose(np.stack([found.sim_task, found.sim_shared], axis=1), truth, rtol=1e-5)
    if name == "SGD":
        np.testing.assert_allclose(truth, 1, atol=1e-5)
    else:
        assert np.max(truth) < 0.99
