"""What a task is over a whole run: one that is absent, joins late, shares nothing, or is told apart by its head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.losses import Data, Net
from torch import Tensor, nn
from xarray import DataTree

import dominance
from dominance import Recorder, open_run

Train = Callable[[nn.Module, int], None]


def recorded(folder: Path, net: nn.Module, train: Train, steps: int, extra: list[Tensor] | None = None) -> DataTree:
    """The run of a training of ``net``; ``train`` makes the gradients of one step."""
    torch.set_num_threads(1)
    optimizer = torch.optim.SGD([*net.parameters(), *(extra or [])], lr=0.01)
    with Recorder(folder / "run", net, optimizer, exact=True):
        for step in range(steps):
            optimizer.zero_grad()
            train(net, step)
            optimizer.step()
    return open_run(folder / "run")


def residual(run: DataTree) -> float:
    """The largest part of the gradient that belongs to no task, over the largest of the gradient."""
    total = run["gradient/total"].values
    tasks = np.nan_to_num(run["gradient/gradient"].values).sum(1)
    return float(np.abs(tasks - total).max() / np.abs(total).max())


DATA = Data()


def test_a_task_of_a_dict_keeps_its_key_where_it_is_alone(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        loss_a, loss_b = DATA.mse(out), DATA.ce(out)
        losses = {"a": loss_a, "b": loss_b}
        if step % 2:
            losses.pop("b")
        sum(losses.values()).backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["a", "b"]
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, True], [True, False]] * 2


def test_a_mean_by_hand_that_is_the_whole_loss_has_no_weight(tmp_path: Path) -> None:
    def losses(net: nn.Module, step: int) -> dict[str, Tensor]:
        out = net(DATA.x)
        if step % 2:
            return {"loss": DATA.ce(out)}
        click_loss = (out[0] - DATA.t).square().sum() / len(DATA.x)
        return {"loss": click_loss}

    def train(net: nn.Module, step: int) -> None:
        output = losses(net, step)
        output["loss"].backward()

    net = Net()
    first = float((net(DATA.x)[0].detach() - DATA.t).square().sum() / len(DATA.x))
    run = recorded(tmp_path, net, train, 4)
    assert run["loss/weight"].values[0, 0] == 1
    assert run["loss/loss"].values[0, 0] == pytest.approx(first)


def test_a_mean_by_hand_is_the_same_task_where_it_is_alone(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        click_loss = (out[0] - DATA.t).square().sum() / len(DATA.x)
        loss = click_loss
        if step % 2 == 0:
            buy_loss = DATA.ce(out)
            loss = loss + 1.7 * buy_loss
        loss.backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["click_loss", "buy_loss"]
    np.testing.assert_allclose(run["loss/weight"].sel(task="click_loss").values, 1, rtol=1e-6)


def test_means_by_hand_that_take_turns(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        if step % 2:
            far_loss = (out[1] - DATA.t).square().sum() / len(DATA.x)
            loss = far_loss
        else:
            near_loss = (out[0] - DATA.t).abs().mean()
            loss = near_loss
        loss.backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["near_loss", "far_loss"]
    assert run.dataset["step"].values.tolist() == [0, 1, 2, 3]
    assert np.isfinite(run["loss/weight"].values).tolist() == [[True, False], [False, True]] * 2


def test_a_list_of_a_loss_for_each_row_of_a_batch_is_one_task(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        depth, seg = net(DATA.x)
        near = [(p - t).square().sum() for p, t in zip(depth, DATA.t, strict=True)]
        far = [(p - t).abs().sum() for p, t in zip(seg, DATA.t, strict=True)]
        (torch.stack(near).mean() + 0.5 * torch.stack(far).mean()).backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.attrs["tasks"] == ["near", "far"]
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 0.5]] * 2, rtol=1e-6)
    assert residual(run) < 1e-6


def test_a_list_of_a_loss_for_each_column_is_a_task_each(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        depth, _ = net(DATA.x)
        losses = [F.mse_loss(depth[:, i], DATA.t[:, i]) for i in range(3)]
        sum(losses).backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.attrs["tasks"] == ["losses[0]", "losses[1]", "losses[2]"]


def test_a_list_of_a_loss_for_each_of_several_stacked_heads_is_a_task_each(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        both = torch.stack(net(DATA.x))
        losses = [F.mse_loss(each, DATA.t) for each in both]
        sum(losses).backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.attrs["tasks"] == ["losses[0]", "losses[1]"]


def test_learned_weights_of_losses_that_no_data_make(tmp_path: Path) -> None:
    """Functions of the parameters alone in a vector, each with a log-variance of its own."""
    point = nn.ParameterDict({"x": nn.Parameter(torch.tensor([1.0, -2.0]))})
    logs = nn.Parameter(torch.tensor([0.3, -0.2]))

    def weighted(losses: Tensor) -> Tensor:
        return sum(0.5 * (torch.exp(-log) * loss + log) for loss, log in zip(losses, logs, strict=True))  # type: ignore[return-value]

    def train(net: nn.Module, step: int) -> None:
        x = point["x"]
        f = torch.stack([(x - 1).square().sum() + 1, (3 * x + 1).square().mean() + 2])
        weighted(f).backward()

    run = recorded(tmp_path, point, train, 2, [logs])
    assert run.attrs["tasks"] == ["f[0]", "f[1]"]
    want = [0.5 * np.exp(-0.3), 0.5 * np.exp(0.2)]
    np.testing.assert_allclose(run["loss/weight"].values[0], want, rtol=1e-5)


def test_a_loss_that_comes_to_share_parameters_joins(tmp_path: Path) -> None:
    net = nn.ModuleDict({"backbone": nn.Linear(6, 8), "neck": nn.Linear(8, 8)})
    net.update({name: nn.Linear(8, 3) for name in ("click", "buy", "rate")})
    net["backbone"].requires_grad_(False)

    def train(net: Any, step: int) -> None:
        if step == 2:
            net["backbone"].requires_grad_(True)
        h = net["backbone"](DATA.x).tanh()
        z = net["neck"](h).tanh()
        click = F.mse_loss(net["click"](z), DATA.t)
        buy = F.cross_entropy(net["buy"](z), DATA.y)
        rate = F.mse_loss(net["rate"](h), DATA.t)
        (click + buy + rate).backward()

    run = recorded(tmp_path, net, train, 4)
    assert run.attrs["tasks"] == ["click", "buy", "rate"]
    assert np.isfinite(run["loss/weight"].sel(task="rate").values).tolist() == [False, False, True, True]


def test_a_loss_that_trains_the_weights_is_no_task(tmp_path: Path) -> None:
    scale = nn.Parameter(torch.ones(2))

    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        weights = 2 * scale.softmax(0).detach()
        (weights[0] * depth).backward(retain_graph=True)
        (weights[1] * seg).backward()
        norms = scale * torch.tensor([[3.0, 1.0], [2.0, 5.0]]).norm(dim=1)
        balance = (norms - norms.mean().detach()).abs().sum()
        balance.backward()

    run = recorded(tmp_path, Net(), train, 3, [scale])
    assert run.attrs["tasks"] == ["depth", "seg"]
    np.testing.assert_allclose(run["loss/weight"].values.sum(1), 2, rtol=1e-6)


def heads() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Module()
    net.trunk = nn.Linear(6, 8)
    net.heads = nn.ModuleDict({name: nn.Linear(8, 3) for name in ("first", "second", "third")})
    return net


def test_one_variable_for_the_losses_of_several_heads(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        for task, head in net.heads.items():
            out = head(net.trunk(DATA.x).tanh())
            loss = F.cross_entropy(out, DATA.y) if task == "second" else F.mse_loss(out, DATA.t)
            loss.backward()

    run = recorded(tmp_path, heads(), train, 3)
    assert run.attrs["tasks"] == ["first", "second", "third"]
    np.testing.assert_allclose(run["loss/weight"].values, 1)
    assert residual(run) < 1e-6


def test_one_variable_and_no_word_for_its_tasks(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        z = net.trunk(DATA.x).tanh()
        for head in net.heads.values():
            loss = F.mse_loss(head(z), DATA.t)
            loss.backward(retain_graph=True)

    run = recorded(tmp_path, heads(), train, 3)
    assert run.attrs["tasks"] == ["first", "second", "third"]
    np.testing.assert_allclose(run["loss/weight"].values, 1)


def test_micro_batches_of_one_loss_stay_one_task(tmp_path: Path) -> None:
    """A layer that is left out at random is no head of its own."""

    def train(net: nn.Module, step: int) -> None:
        for micro in range(4):
            h = net.trunk(DATA.x).tanh()
            if micro % 2:
                h = h + net.heads["second"](h).repeat(1, 3)[:, :8]
            loss = F.mse_loss(net.heads["first"](h), DATA.t)
            loss.backward()

    run = recorded(tmp_path, heads(), train, 2)
    assert run.attrs["tasks"] == ["loss"]
    np.testing.assert_allclose(run["loss/weight"].values, 4)


def test_observing_a_sum_beside_its_parts(tmp_path: Path) -> None:
    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        loss = depth + seg
        dominance.observe({"depth": depth, "seg": seg, "loss": loss})
        loss.backward()

    run = recorded(tmp_path, Net(), train, 2)
    assert run.attrs["tasks"] == ["depth", "seg"]
    assert residual(run) < 1e-6


def test_observing_a_sum_beside_one_of_its_parts(tmp_path: Path) -> None:
    """The sum then stands for the rest of it."""
    held = {}

    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        held["seg"] = seg.item()
        both = depth + 0.5 * seg
        dominance.observe({"depth": depth, "both": both})
        both.backward()

    run = recorded(tmp_path, Net(), train, 1)
    assert residual(run) < 1e-6
    here = run["gradient/gradient"]["parameter"].values == "depth_head.bias"
    assert np.abs(run["gradient/gradient"].sel(task="both").values[0, here]).max() < 1e-7
    np.testing.assert_allclose(run["loss/loss"].sel(task="both").values[0], 0.5 * held["seg"], rtol=1e-6)


def test_a_penalty_with_a_constant_for_each_weight_is_no_task(tmp_path: Path) -> None:
    """Elastic weight consolidation: importances are constants of the parameters' shapes, and no data."""
    net = Net()
    start = net.trunk[0].weight.detach().clone() + 0.1
    importance = torch.rand(16, 6)

    def train(net: nn.Module, step: int) -> None:
        out = net(DATA.x)
        depth, seg = DATA.mse(out), DATA.ce(out)
        ewc = (importance * (net.trunk[0].weight - start).square()).sum()
        (depth + seg + 0.1 * ewc).backward()

    run = recorded(tmp_path, net, train, 2)
    assert run.attrs["tasks"] == ["depth", "seg"]
    assert run.attrs["residual_terms"] == ["ewc"]


def objects(net: nn.Module, count: int) -> Tensor:
    """A loss for each object of a batch, in a function that has returned."""
    total = torch.zeros(())
    for k in range(count):
        out = net(DATA.x[k : k + 1])
        box_loss = F.l1_loss(out[0], DATA.t[k : k + 1])
        kind_loss = F.cross_entropy(out[1], DATA.y[k : k + 1])
        total = total + box_loss + kind_loss
    return total / count


def test_as_many_terms_as_a_batch_has_objects(tmp_path: Path) -> None:
    counts = [2, 3, 5, 2, 1, 6]
    run = recorded(tmp_path, Net(), lambda net, step: objects(net, counts[step]).backward(), len(counts))
    assert run.attrs["tasks"] == ["box_loss", "kind_loss"]
    assert run.dataset["step"].values.tolist() == list(range(len(counts)))
    np.testing.assert_allclose(run["loss/weight"].values, 1, rtol=1e-6)


def shared_out(net: nn.Module, number: int) -> Tensor:
    out = net(DATA.x)
    value = DATA.ce(out) if number % 2 else DATA.mse(out)
    return value / 2


def test_a_loss_that_was_not_seen_before_is_recorded_at_once(tmp_path: Path) -> None:
    run = recorded(tmp_path, Net(), lambda net, step: shared_out(net, step).backward(), 4)
    assert run.dataset["step"].values.tolist() == [0, 1, 2, 3]
    assert len(run.attrs["tasks"]) == 2
    assert residual(run) < 1e-6


def made(net: nn.Module) -> Tensor:
    out = net(DATA.x)
    depth_loss = F.mse_loss(out[0], DATA.t)
    seg_loss = F.cross_entropy(out[1], DATA.y)
    return depth_loss + 0.5 * seg_loss


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_source_lines_that_come_late_still_name_the_tasks(micro_batches: int, tmp_path: Path) -> None:
    """The step that could not be named is left out; no task is called after its number."""

    def train(net: nn.Module, step: int) -> None:
        for _ in range(micro_batches):
            if step == 0:
                torch.autograd.set_detect_anomaly(False)
            made(net).backward()

    run = recorded(tmp_path, Net(), train, 4)
    assert run.attrs["tasks"] == ["depth_loss", "seg_loss"]
    assert run.dataset["step"].values.tolist()[-3:] == [1, 2, 3]
    np.testing.assert_allclose(run["loss/weight"].values[-3:], [[micro_batches, 0.5 * micro_batches]] * 3)


def distilled(net: nn.Module) -> Tensor:
    """A divergence saves too little to be worked out again."""
    out = net(DATA.x)
    kl = F.kl_div(out[0].log_softmax(1), DATA.t.softmax(1), reduction="batchmean")
    ce = F.cross_entropy(out[1], DATA.y)
    return (14.4 * kl + 0.1 * ce) / 2


def test_the_one_loss_that_is_not_known_follows_from_the_total(tmp_path: Path) -> None:
    net = Net()
    with torch.no_grad():
        out = net(DATA.x)
        want = [F.kl_div(out[0].log_softmax(1), DATA.t.softmax(1), reduction="batchmean").item(), DATA.ce(out).item()]
    run = recorded(tmp_path, net, lambda net, step: distilled(net).backward(), 2)
    assert run.attrs["tasks"] == ["kl", "ce"]
    np.testing.assert_allclose(run["loss/weight"].values, [[7.2, 0.05]] * 2, rtol=1e-6)
    np.testing.assert_allclose(run["loss/loss"].values[0], want, rtol=1e-5)


def with_a_constant(net: nn.Module) -> Tensor:
    out = net(DATA.x)
    kl = F.kl_div(out[0].log_softmax(1), DATA.t.softmax(1), reduction="batchmean")
    return kl + F.cross_entropy(out[1], DATA.y) + 3


def test_a_constant_in_the_sum_leaves_it_unknown(tmp_path: Path) -> None:
    run = recorded(tmp_path, Net(), lambda net, step: with_a_constant(net).backward(), 1)
    assert np.isnan(run["loss/loss"].sel(task="kl").values).all()


def likelihood(net: nn.Module) -> Tensor:
    out = net(DATA.x)
    normal = torch.distributions.Normal(out[0], 1.0).log_prob(DATA.t).sum()
    classes = torch.distributions.Categorical(logits=out[1]).log_prob(DATA.y).sum()
    return normal + classes


def test_what_is_maximised_has_a_weight_above_zero(tmp_path: Path) -> None:
    run = recorded(tmp_path, Net(), lambda net, step: (-likelihood(net)).backward(), 2)
    assert run.attrs["tasks"] == ["normal", "classes"]
    np.testing.assert_allclose(run["loss/weight"].values, 1)


def test_losses_that_a_loop_makes_by_different_functions_are_called_after_their_heads(tmp_path: Path) -> None:
    """The one variable holds the last of them, and is no name of it."""

    def train(net: nn.Module, step: int) -> None:
        total = torch.zeros(())
        functions: list[Callable[[Tensor, Tensor], Tensor]] = [F.mse_loss, F.cross_entropy]
        for function, out, target in zip(functions, net(DATA.x), (DATA.t, DATA.y), strict=True):
            l = function(out, target)  # noqa: E741
            total = total + l
        total.backward()

    assert recorded(tmp_path, Net(), train, 2).attrs["tasks"] == ["depth_head", "seg_head"]
