"""Tasks found in the graph, against gradients taken of each task's loss alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from record.losses import WAYS, Data, Net
from record.more_losses import CURVED, MORE
from torch import Tensor

from dominance import Recorder, open_run

STEPS = 3
ALL = WAYS | MORE


def truth_of(way: str, net: Net, data: Data) -> dict[str, dict[str, Tensor | None]]:
    """Gradient of each task's weighted loss by each parameter, one plain autograd.grad per task."""
    net = copy.deepcopy(net)  # another model: its gradients are not the recorder's business
    losses = ALL[way].truth(net, data)
    parameters = dict(net.named_parameters())
    found = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        found[name] = dict(zip(parameters, gradients, strict=True))
    return found


@pytest.mark.parametrize("way", ALL)
def test_gradients_of_the_tasks_found(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    truths, fed = [], []
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for _ in range(STEPS):
            truths.append(truth_of(way, net, data))
            optimizer.zero_grad()
            ALL[way].step(net, data)
            fed.append({name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()})
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert set(run.attrs["tasks"]) == set(truths[0])
    assert run.attrs["residual_terms"] == ALL[way].residual
    assert run.dataset["step"].values.tolist() == list(range(STEPS))
    gradient, total = run["gradient/gradient"], run["gradient/total"]
    for step in range(STEPS):
        for name in dict(net.named_parameters()):
            here = gradient["parameter"].values == name
            given = fed[step][name]
            np.testing.assert_array_equal(total.values[step, here], 0 if given is None else given.flatten())
            for task, parts in truths[step].items():
                part = parts[name]
                want = np.zeros(here.sum()) if part is None else part.flatten().numpy()
                got = gradient.sel(task=task).values[step, here]
                np.testing.assert_allclose(
                    got, want, atol=2e-6 * max(1e-3, np.abs(want).max()), err_msg=f"{task} {name}"
                )
    said = capsys.readouterr().err
    expected = f"{len(truths[0])} task"
    assert said.startswith("dominance: ")
    assert expected in said
    assert said.count("\n") == 1


def test_weights_and_losses_are_those_of_the_sum(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        out = net(data.x)
        want = [data.mse(out).item(), data.ce(out).item()]
        WAYS["made_in_a_function"].step(net, data)
        optimizer.step()
    run = open_run(tmp_path / "run")
    np.testing.assert_allclose(run["loss/loss"].values[0], want, rtol=1e-6)
    np.testing.assert_allclose(run["loss/weight"].values[0], [1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(run["loss/total"].values[0], want[0] + 0.3 * want[1], rtol=1e-6)


def test_the_weight_is_that_of_the_named_loss(tmp_path: Path) -> None:
    """0.5 in front of a sum belongs to the loss that was named, not to its weight."""
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    want = WAYS["made_in_a_function_with_factors"].truth(net, data)["fit"].item()
    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            WAYS["made_in_a_function_with_factors"].step(net, data)
            optimizer.step()
    run = open_run(tmp_path / "run")
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 2], [1, 2]], rtol=1e-6)
    np.testing.assert_allclose(run["loss/loss"].sel(task="fit").values[0], want, rtol=1e-6)


def test_a_task_of_weight_zero_keeps_its_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    want = data.ce(net(data.x)).item()
    with Recorder(tmp_path / "run", net, optimizer):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        (depth + 0.0 * seg).backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run["loss/weight"].values.tolist() == [[1, 0]]
    np.testing.assert_allclose(run["loss/loss"].sel(task="seg").values[0], want, rtol=1e-6)


@pytest.mark.parametrize(
    "combine", [torch.max, lambda both: both.logsumexp(0), torch.prod, lambda both: both.log().sum()]
)
def test_any_function_of_named_losses(combine: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        combine(torch.stack([depth, seg])).backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth", "seg"]
    parts, total = run["gradient/gradient"].values[0].sum(0), run["gradient/total"].values[0]
    np.testing.assert_allclose(parts, total, atol=1e-6 * np.abs(total).max())


@pytest.mark.parametrize("curve", CURVED)
def test_a_loss_through_a_curve_has_its_own_value_and_its_derivative_as_weight(curve: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    out = net(data.x)
    held = [each.detach().requires_grad_() for each in (data.mse(out), data.ce(out))]
    weights = torch.autograd.grad(CURVED[curve](*held), held)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        MORE[f"{curve}_of_each"].step(net, data)
        optimizer.step()
    run = open_run(tmp_path / "run")
    np.testing.assert_allclose(run["loss/loss"].values[0], [each.item() for each in held], rtol=1e-6)
    np.testing.assert_allclose(run["loss/weight"].values[0], [each.item() for each in weights], rtol=1e-5)


def test_a_mean_by_hand_in_a_vector_is_the_loss(tmp_path: Path) -> None:
    """Also below a function that is not linear, and where the vector was made by ``hstack``."""
    torch.manual_seed(0)
    net, data = Net(), Data()
    out = net(data.x)
    want = [(out[0] - data.t).square().sum().item() / len(data.x), data.ce(out).item()]
    for number, function in enumerate((lambda v: (v * torch.tensor([1.0, 2.0])).sum(), lambda v: v.log().sum())):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        with Recorder(tmp_path / f"run{number}", net, optimizer):
            out = net(data.x)
            losses = torch.hstack(((out[0] - data.t).square().sum() / len(data.x), data.ce(out)))
            function(losses).backward()
            optimizer.step()
        run = open_run(tmp_path / f"run{number}")
        np.testing.assert_allclose(run["loss/loss"].values[0], want, rtol=1e-6)


def clip_norm(net: Net) -> None:
    torch.nn.utils.clip_grad_norm_(net.parameters(), 0.01)


def clip_value(net: Net) -> None:
    torch.nn.utils.clip_grad_value_(net.parameters(), 0.02)


@pytest.mark.parametrize("clip", [clip_norm, clip_value])
def test_clipping_scales_every_task_alike(clip: Callable[[Net], None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    truth = truth_of("sum_of_dict", net, data)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        WAYS["sum_of_dict"].step(net, data)
        before = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        clip(net)
        after = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        optimizer.step()
    run = open_run(tmp_path / "run")
    gradient = run["gradient/gradient"]
    for name, grad in before.items():
        here = gradient["parameter"].values == name
        scale = torch.where(grad == 0, torch.ones(()), after[name] / grad).flatten().numpy()
        for task in ("depth", "seg"):
            part = truth[task][name]
            want = np.zeros(here.sum()) if part is None else part.flatten().numpy() * scale
            np.testing.assert_allclose(gradient.sel(task=task).values[0, here], want, atol=1e-7)
    weights = run["loss/weight"].values[0]
    if clip is clip_norm:
        norm = float(torch.sqrt(sum(g.square().sum() for g in before.values())))
        np.testing.assert_allclose(weights, 0.01 / (norm + 1e-6), rtol=1e-5)
    else:
        assert np.isnan(weights).all()


def test_a_bare_leaf_is_a_shared_parameter(tmp_path: Path) -> None:
    theta = torch.tensor([1.0, -2.0])
    module = torch.nn.Module()
    module.theta = torch.nn.Parameter(theta)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", module, optimizer, exact=True):
        up = (module.theta[0] * 3).exp().log()
        down = module.theta.square().sum()
        (up + down).backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["up", "down"]
    np.testing.assert_allclose(run["gradient/gradient"].values[0], [[3, 0], [2, -4]], rtol=1e-6)


def test_named_tasks_and_the_rest_is_residual(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, tasks=["depth", "seg"], exact=True):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        extra = out[0].abs().mean()
        (depth + seg + extra).backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth", "seg"]
    assert run.attrs["residual_terms"] == ["extra"]
    rest = run["gradient/total"].values[0] - run["gradient/gradient"].values[0].sum(0)
    want = torch.autograd.grad(net(data.x)[0].abs().mean(), net.depth_head.bias)
    assert np.abs(rest).max() > 1e-3
    assert want[0].abs().max() > 0


def test_a_loss_of_many_structures_keeps_its_names(tmp_path: Path) -> None:
    """A sequence of another length has another graph, but its terms look the same: no step is lost."""
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", net, optimizer):
        for length in (3, 3, 2, 4, 3, 5, 2):
            z, seg = data.x, data.ce(net(data.x))
            loss = 1.0 * seg
            for _ in range(length):
                z = z + 0.1 * net.depth_head(net.trunk(z)).repeat(1, 2)
                loss = loss + torch.nn.functional.mse_loss(net.depth_head(net.trunk(z)), data.t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["seg", "mse_loss"]
    assert run.dataset["step"].values.tolist() == list(range(7))
    np.testing.assert_allclose(run["loss/weight"].sel(task="mse_loss").values, [3, 3, 2, 4, 3, 5, 2])
    assert not torch.is_anomaly_enabled()


def test_a_task_that_comes_late_and_one_that_is_absent(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        for step in range(4):
            out = net(data.x)
            losses = {"depth": data.mse(out)}
            if step % 2:
                losses["seg"] = data.ce(out)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth", "seg"]
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, False], [True, True], [True, False], [True, True]]
    seg = run["update/update"].sel(task="seg").values
    assert np.isnan(seg[0]).all(), "not yet known"
    assert (seg[2] == 0).all(), "known, and absent"
    assert (seg[3] != 0).any()


def test_an_unnamed_loss_under_autograd_grad_does_not_end_the_recording(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    shared = list(net.trunk.parameters())
    with Recorder(tmp_path / "run", net, optimizer):
        for step in range(4):
            out = net(data.x)
            make = data.ce if step == 1 else data.mse
            torch.autograd.grad(2 * make(out), shared, retain_graph=True)
            depth, seg = data.mse(out), data.ce(out)
            optimizer.zero_grad()
            (depth + seg).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert "failure" not in run.attrs
    assert run.dataset["step"].values.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(run["loss/weight"].sel(task=["depth", "seg"]).values, 1)
