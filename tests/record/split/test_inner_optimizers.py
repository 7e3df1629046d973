"""Optimizers that are no trainers of the model: those that rescale gradients, and those of the task weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from record.in_session import in_session
from record.losses import Data, Net
from torch import Tensor
from torch.optim import Optimizer

from dominance import Recorder, open_run
from dominance.config import RecordOptions
from dominance.record.split.mixtures import unmixed


@pytest.fixture(autouse=True)
def _same() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def recording(path: Path) -> AbstractContextManager[object]:
    return in_session(path, RecordOptions(every=1, exact=True, quiet=True), [])


class Balancer(torch.optim.Optimizer):
    """Runs a backward() for each loss, and leaves a sum in ``.grad`` that it has rescaled parameter by parameter."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, losses: Sequence[Tensor]) -> None:  # type: ignore[override]
        held = [p for group in self.param_groups for p in group["params"]]
        sums = [torch.zeros_like(p) for p in held]
        for loss in losses:
            loss.backward(retain_graph=True)
            for total, p in zip(sums, held, strict=True):
                assert p.grad is not None
                total += p.grad / p.grad.norm()
                p.grad.zero_()
        for total, p in zip(sums, held, strict=True):
            p.grad = total


def test_one_that_balances_gradients_for_another_is_no_step(tmp_path: Path) -> None:
    net, data = Net(), Data()
    shared, heads = list(net.trunk.parameters()), [*net.depth_head.parameters(), *net.seg_head.parameters()]
    balancer = Balancer(shared)
    trunk, own = torch.optim.SGD(shared, lr=0.1), torch.optim.SGD(heads, lr=0.1)
    with recording(tmp_path / "run"):
        for _ in range(4):
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            trunk.zero_grad()
            own.zero_grad()
            balancer.step([depth, seg])
            trunk.step()
            own.step()
    run = open_run(tmp_path / "run")
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    assert run.attrs["steps_taken"] == run.sizes["step"] == 4
    assert np.isnan(run["loss/weight"].values).all(), "no one weight says what each parameter was fed"
    assert np.isfinite(run["loss/loss"].values).all()
    assert float(run["layer/residual_gradient_sq"].max()) < 1e-9


def test_weights_by_parameter_where_no_common_ones_explain_the_gradients() -> None:
    p, q, small = torch.zeros(20), torch.zeros(30), torch.zeros(3)
    parts = {each: {"a": torch.randn_like(each), "b": torch.randn_like(each)} for each in (p, q, small)}
    totals = {p: 2 * parts[p]["a"] + parts[p]["b"], q: parts[q]["a"] - 3 * parts[q]["b"], small: torch.randn(3)}
    splits, ((members, weights),) = unmixed(totals, parts)
    torch.testing.assert_close(splits[p].tasks["a"], 2 * parts[p]["a"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(splits[q].tasks["b"], -3 * parts[q]["b"], rtol=1e-4, atol=1e-5)
    assert splits[small].residual is not None, "of so few numbers any would be a mixture"
    assert len(members) == 3
    assert all(np.isnan(weight) for weight in weights.values())


@pytest.mark.parametrize("way", ["grad", "backward", "first"])
def test_a_step_of_the_task_weights_alone_is_no_training_step(way: str, tmp_path: Path) -> None:
    net, data = Net(), Data()
    logits = torch.zeros(2, requires_grad=True)
    optimizer, inner = torch.optim.SGD(net.parameters(), lr=0.1), torch.optim.Adam([logits], lr=0.1)

    def update() -> None:
        change = torch.tensor([0.3, -0.3])
        inner.zero_grad()
        if way == "backward":
            (torch.softmax(logits, 0) * change).sum().backward()
        else:
            (logits.grad,) = torch.autograd.grad(torch.softmax(logits, 0), logits, change)
        inner.step()

    with recording(tmp_path / "run"):
        for _ in range(5):
            if way == "first":
                update()
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            z = torch.softmax(logits, 0)
            optimizer.zero_grad()
            (z[0] * depth + z[1] * seg).backward()
            optimizer.step()
            if way != "first":
                update()
    run = open_run(tmp_path / "run")
    assert run.attrs["steps_taken"] == run.sizes["step"] == 5
    assert list(run.attrs["tasks"]) == ["depth", "seg"]
    assert run.attrs["unrecorded"] == []


def test_losses_in_a_list_of_a_function_have_the_names_that_its_caller_gave_them(tmp_path: Path) -> None:
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def one_by_one(losses: Sequence[Tensor]) -> None:
        for loss in losses:
            loss.backward(retain_graph=True)

    with Recorder(tmp_path / "run", net, optimizer, every=1):
        for _ in range(2):
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            optimizer.zero_grad()
            one_by_one([depth, seg])
            optimizer.step()
    assert list(open_run(tmp_path / "run").attrs["tasks"]) == ["depth", "seg"]


def after_adam(path: Path, later: Callable[[Iterator[Tensor]], Optimizer], *, steps: int) -> xr.DataTree:
    """The run of three steps of Adam, and as many as are asked for of another optimizer, which evaluates a closure."""
    net, data = Net(), Data()
    adam = torch.optim.Adam(net.parameters(), lr=0.01)

    def evaluate() -> Tensor:
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        adam.zero_grad()
        loss = depth + seg
        loss.backward()
        return loss

    with recording(path):
        for _ in range(3):
            evaluate()
            adam.step()
        optimizer = later(net.parameters())
        for _ in range(steps):
            optimizer.step(evaluate)  # type: ignore[arg-type]
    return open_run(path)


def test_an_optimizer_that_comes_later_and_is_not_linear_is_said_not_to_be_split(tmp_path: Path) -> None:
    run = after_adam(tmp_path / "run", lambda parameters: torch.optim.Rprop(parameters, lr=0.01), steps=2)
    assert run.sizes["step"] == 5
    (remark,) = run.attrs["remarks"]
    assert remark.startswith("steps of Rprop are not split: ")
    assert [each["class"] for each in run.attrs["optimizers"]] == ["Adam", "Rprop"]
    assert np.isfinite(run["gradient/gradient"].values).any(axis=(1, 2)).all()


def test_the_steps_of_an_lbfgs_that_follows_adam_are_split_as_adams_are(tmp_path: Path) -> None:
    def lbfgs(parameters: Iterator[Tensor]) -> Optimizer:
        return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3, line_search_fn="strong_wolfe")

    run = after_adam(tmp_path / "run", lbfgs, steps=3)
    assert [each["class"] for each in run.attrs["optimizers"]] == ["Adam", "LBFGS"]
    update, total = run["update/update"].values, run["update/total"].values
    assert np.allclose(np.nansum(update, axis=1), total, atol=1e-3 * np.abs(total).max())
    assert np.isfinite(update).any(axis=2).all()
    assert not run.attrs.get("remarks")


def test_a_backward_inside_a_hook_leaves_its_step_out_with_a_reason(tmp_path: Path) -> None:
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with recording(tmp_path / "run"):
        for step in range(4):
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            optimizer.zero_grad()
            if step % 2:
                again = data.mse(net(data.x))
                depth.register_hook(lambda gradient, again=again: again.backward())
            (depth + seg).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.dataset["step"].values.tolist() == [0, 2]
    (reason,) = run.attrs["unrecorded"]
    assert "a gradient hook runs a backward() of its own" in reason["reason"]
    assert (reason["steps"], reason["first"]) == (2, 1)


def test_a_temperature_that_is_trained_first_is_no_task_of_the_model(tmp_path: Path) -> None:
    net, data = Net(), Data()
    temperature = torch.zeros((), requires_grad=True)
    of_net, of_temperature = torch.optim.Adam(net.parameters(), lr=0.01), torch.optim.Adam([temperature], lr=0.01)
    with recording(tmp_path / "run"):
        for _ in range(3):
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            heat_loss = -temperature * (depth.detach() + 1)
            of_temperature.zero_grad()
            heat_loss.backward()
            of_temperature.step()
            of_net.zero_grad()
            (depth + temperature.exp().detach() * seg).backward()
            of_net.step()
    assert open_run(tmp_path / "run").attrs["tasks"] == ["depth", "seg"]


class Partly(Optimizer):
    """Has an optimizer within for some of its parameters, and moves the others itself."""

    def __init__(self, params: Any, inner: Optimizer) -> None:
        super().__init__(params, {"lr": 0.1})
        self.inner = inner

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()
        own = {p for group in self.inner.param_groups for p in group["params"]}
        for group in self.param_groups:
            for p in group["params"]:
                if p not in own and p.grad is not None:
                    p.sub_(0.5 * p.grad.sign())


def test_what_only_the_outer_optimizer_steps_has_its_gradient_and_moves_outside(tmp_path: Path) -> None:
    data, net = Data(), Net()
    with recording(tmp_path / "run"):
        optimizer = Partly(net.parameters(), torch.optim.SGD(net.trunk.parameters(), lr=0.1))
        out = net(data.x)
        depth_loss, seg_loss = data.mse(out), data.ce(out)
        (depth_loss + seg_loss).backward()
        optimizer.step()
    fed = net.depth_head.weight.grad
    assert fed is not None
    with open_run(tmp_path / "run") as run:
        gradient, update = (run[name].to_dataset().isel(step=0) for name in ("gradient", "update"))
        head = gradient["parameter"].to_numpy() == "depth_head.weight"
        assert np.array_equal(gradient["total"].to_numpy()[head], fed.flatten())
        assert np.array_equal(gradient["gradient"].sel(task="depth_loss").to_numpy()[head], fed.flatten())
        for part in ("outside", "total"):
            np.testing.assert_allclose(update[part].to_numpy()[head], -0.5 * fed.sign().flatten(), rtol=1e-5)
