"""Trainings in which a critic steps first, by what it makes of real and fake samples, and then what it criticises."""

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
                    want = truth[step].get(task, {}).get(name)
                    got = np.nan_to_num(gradient[step, k, where == name])
                    want = np.zeros_like(got) if want is None else want.numpy().ravel()
                    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6, err_msg=f"{task} {name} {step}")
