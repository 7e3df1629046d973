"""Several networks in one loop: critics and what they criticise, and networks that learn from each other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.in_session import in_session
from record.losses import Data, Net
from torch import Tensor, nn

from dominance.config import RecordOptions
from dominance.store.reader import open_run

Judged = Callable[[Tensor, Tensor], Tensor]
DATA = Data()


def softplus(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def cross_entropies(real: Tensor, fake: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """The gradient of the critic's bias is 1 - 1 in every step."""
    return fake.mean() - real.mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The same, as long as no sample is beyond its margin."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


@pytest.mark.parametrize("judged", [softplus, cross_entropies, wasserstein, hinge])
def test_a_critic_that_steps_first(judged: Judged, tmp_path: Path) -> None:
    gc.collect()
    torch.manual_seed(0)
    net, critic = Net(), nn.Linear(16, 1)
    made, criticised = torch.optim.SGD(net.parameters(), lr=0.05), torch.optim.SGD(critic.parameters(), lr=0.05)
    parameters = dict([*net.named_parameters("net"), *critic.named_parameters("critic")])
    truth: list[dict[str, dict[str, Tensor]]] = []

    def by_hand(**losses: Tensor) -> None:
        each = {
            task: torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
            for task, loss in losses.items()
        }
        truth.append(
            {t: {n: g for n, g in zip(parameters, gs, strict=True) if g is not None} for t, gs in each.items()}
        )

    with in_session(tmp_path / "run", RecordOptions(every=1, exact=True)):
        for _ in range(5):
            with torch.no_grad():
                fake = net.trunk(DATA.x)
            d_loss = judged(critic(torch.randn(12, 16)), critic(fake))
            by_hand(d_loss=d_loss)
            criticised.zero_grad()
            d_loss.backward()
            criticised.step()
            out = net(DATA.x)
            depth_loss, seg_loss = DATA.mse(out), DATA.ce(out)
            adv_loss = F.softplus(-critic(net.trunk(DATA.x))).mean()
            g_loss = depth_loss + 2 * seg_loss + 0.1 * adv_loss
            by_hand(depth_loss=depth_loss, seg_loss=2 * seg_loss, adv_loss=0.1 * adv_loss)
            made.zero_grad()
            g_loss.backward()
            made.step()
    run = open_run(tmp_path / "run")
    tasks = ["d_loss", "depth_loss", "seg_loss", "adv_loss"]
    assert run.attrs["tasks"] == tasks
    nan = np.nan
    np.testing.assert_allclose(run["loss/weight"].values, [[1, nan, nan, nan], [nan, 1, 2, 0.1]] * 5, rtol=1e-5)
    gradient, where = run["gradient/gradient"].values, run["parameter"].values.astype(str)
    for name in dict.fromkeys(where):
        stepper = "critic" if name.startswith("critic") else "net"
        for step in range(10):
            if (stepper == "critic") == (step % 2 == 0):
                for k, task in enumerate(tasks):
                    by_grad = truth[step].get(task, {}).get(name)
                    got = np.nan_to_num(gradient[step, k, where == name])
                    want = np.zeros_like(got) if by_grad is None else by_grad.numpy().ravel()
                    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6, err_msg=f"{task} {name} {step}")


def test_the_temperature_of_an_actor_is_no_copy_of_a_bias(tmp_path: Path) -> None:
    """The gradient of one number is a multiple of that of any other: here of the bias of the critic's output."""
    gc.collect()
    torch.manual_seed(0)
    actor, critic, log_alpha = nn.Linear(6, 4), nn.Linear(8, 1), torch.zeros(1, requires_grad=True)
    adam = [torch.optim.Adam(each, lr=0.01) for each in (actor.parameters(), critic.parameters(), [log_alpha])]
    values: list[list[float]] = []
    with in_session(tmp_path / "run", RecordOptions(every=1, exact=True)):
        for _ in range(4):
            critic_loss = (critic(torch.randn(12, 8)) - 1).square().mean()
            adam[1].zero_grad()
            critic_loss.backward()
            adam[1].step()
            mean, spread = actor(DATA.x).chunk(2, dim=1)
            normal = torch.distributions.Normal(mean, spread.exp())
            action = normal.rsample()
            log_prob = normal.log_prob(action).sum(1)
            entropy_loss = (log_alpha.exp().detach() * log_prob).mean()
            value_loss = -critic(torch.cat([DATA.x, action], dim=1)).mean()
            actor_loss = entropy_loss + value_loss
            adam[0].zero_grad()
            actor_loss.backward()
            adam[0].step()
            alpha_loss = -(log_alpha * (log_prob.detach() - 2)).mean()
            adam[2].zero_grad()
            alpha_loss.backward()
            adam[2].step()
            values += [[critic_loss.item(), np.nan, np.nan], [np.nan, entropy_loss.item(), value_loss.item()]]
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["critic_loss", "entropy_loss", "value_loss"]
    assert run.attrs["steps_taken"] == 8
    np.testing.assert_allclose(run["loss/loss"].values, values, rtol=1e-5)


def test_weights_that_a_loss_of_their_own_trains_are_no_copy_of_a_bias(tmp_path: Path) -> None:
    """Two numbers through a softmax get opposite gradients, and so does the bias of two classes."""
    gc.collect()
    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(6, 8), "price": nn.Linear(8, 1), "kind": nn.Linear(8, 2)})
    logits = torch.zeros(2, requires_grad=True)
    adam, sgd = torch.optim.Adam(net.parameters(), lr=0.01), torch.optim.SGD([logits], lr=0.1)
    weights: list[list[float]] = []
    with in_session(tmp_path / "run", RecordOptions(every=1, exact=True)):
        for _ in range(4):
            h = net["trunk"](DATA.x).tanh()
            price_loss = (net["price"](h)[:, 0] - DATA.x.sum(1)).square().mean()
            kind_loss = F.cross_entropy(net["kind"](h), DATA.y % 2)
            w = 2 * logits.detach().softmax(0)
            weights.append(w.tolist())
            adam.zero_grad()
            (w[0] * price_loss + w[1] * kind_loss).backward()
            adam.step()
            weight_loss = (logits.softmax(0) * torch.stack([price_loss, kind_loss]).detach()).sum()
            sgd.zero_grad()
            weight_loss.backward()
            sgd.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["price_loss", "kind_loss"]
    assert run.attrs["steps_taken"] == 4
    np.testing.assert_allclose(run["loss/weight"].values, weights, rtol=1e-5)


def test_networks_that_learn_from_each_other(tmp_path: Path) -> None:
    """Deep mutual learning: each has a loss of its own and one of what the other says, and they step in one round."""
    gc.collect()
    torch.manual_seed(0)
    one, two = nn.Linear(6, 3), nn.Linear(6, 3)
    adam = [torch.optim.Adam(net.parameters(), lr=0.01) for net in (one, two)]
    truth: list[Tensor] = []

    def imitated(mine: Tensor, other: Tensor) -> Tensor:
        return F.kl_div(mine.log_softmax(1), other.detach().softmax(1), reduction="batchmean")

    with in_session(tmp_path / "run", RecordOptions(every=1, exact=True)):
        for _ in range(3):
            a, b = one(DATA.x), two(DATA.x)
            ce_one, kl_one = F.cross_entropy(a, DATA.y), imitated(a, b)
            ce_two, kl_two = F.cross_entropy(b, DATA.y), imitated(b, a)
            wanted = ((ce_one, one.weight), (kl_one, one.weight), (ce_two, two.weight), (kl_two, two.weight))
            grads = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss, weight in wanted]
            truth.append(torch.stack(grads).flatten(1))
            for optimizer in adam:
                optimizer.zero_grad()
            (ce_one + kl_one).backward()
            (ce_two + kl_two).backward()
            for optimizer in adam:
                optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["ce_one", "kl_one", "ce_two", "kl_two"]
    gradient, where = run["gradient/gradient"].values, run["parameter"].values.astype(str)
    for step in range(3):
        for k, name in enumerate(("one.weight", "one.weight", "two.weight", "two.weight")):
            np.testing.assert_allclose(gradient[step, k, where == name], truth[step][k], rtol=1e-4, atol=1e-6)
    assert run["shared"].values[where == "two.weight"].all()


def test_the_steps_of_a_critic_that_comes_second_are_said_not_to_be_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its loss trains a model of its own, and shares no parameter with a task."""
    gc.collect()
    torch.manual_seed(0)
    net, critic = Net(), nn.Linear(16, 1)
    made, criticised = torch.optim.SGD(net.parameters(), lr=0.05), torch.optim.SGD(critic.parameters(), lr=0.05)
    with in_session(tmp_path / "run", RecordOptions(every=1)):
        for _ in range(4):
            critic.requires_grad_(False)
            z = net.trunk(DATA.x)
            depth_loss, adv_loss = DATA.mse(net(DATA.x)), F.softplus(-critic(z)).mean()
            made.zero_grad()
            (depth_loss + adv_loss).backward()
            made.step()
            critic.requires_grad_(True)
            d_loss = F.softplus(critic(z.detach())).mean()
            criticised.zero_grad()
            d_loss.backward()
            criticised.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth_loss", "adv_loss"]
    assert run["step"].values.tolist() == [0, 2, 4, 6]
    reason = "d_loss: no task, since it trains a model of its own"
    assert {each["reason"]: each["steps"] for each in run.attrs["unrecorded"]} == {reason: 4}
    assert f"4 steps not recorded, from step 1 on: {reason}" in capsys.readouterr().err
