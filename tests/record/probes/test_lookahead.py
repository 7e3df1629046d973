"""Lookahead affinity against closed forms: quadratic losses, whose step and loss are worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same import differences
from torch import Tensor, nn

from dominance.errors import BadOption, ProbeFailed, RecordingFailed
from dominance.record.probes import lookahead
from dominance.record.recorder import Recorder
from dominance.store.reader import open_run


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Quadratics(nn.Module):
    """L_k = ½ (θ - c_k)ᵀ A_k (θ - c_k) + ½ b_k² + 1 of shared θ and own b_k."""

    def __init__(self, seed: int, tasks: int = 3, size: int = 4) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        roots = rng.standard_normal((tasks, size, size))
        self.A = roots @ roots.transpose(0, 2, 1)
        self.c = rng.standard_normal((tasks, size))
        self.theta = nn.Parameter(torch.from_numpy(rng.standard_normal(size)))
        self.own = nn.ParameterList(list(torch.from_numpy(rng.standard_normal((tasks, 1)))))

    def losses(self, model: nn.Module) -> dict[str, Tensor]:
        assert model is self
        off = self.theta - torch.from_numpy(self.c)
        inside = 0.5 * torch.einsum("ki,kij,kj->k", off, torch.from_numpy(self.A), off)
        return {f"t{k}": inside[k] + 0.5 * self.own[k].square().sum() + 1 for k in range(len(self.A))}

    def loss_by_hand(self, k: int, theta: np.ndarray) -> float:
        off = theta - self.c[k]
        return float(0.5 * off @ self.A[k] @ off + 0.5 * self.own[k].item() ** 2 + 1)

    def gradient_by_hand(self, k: int) -> np.ndarray:
        return np.asarray(self.A[k] @ (self.theta.detach().numpy() - self.c[k]))


def by_hand(model: Quadratics, steps: list[np.ndarray]) -> dict[str, dict[str, float]]:
    theta = model.theta.detach().numpy()
    count = range(len(steps))
    return {
        f"t{i}": {f"t{j}": 1 - model.loss_by_hand(j, theta + steps[i]) / model.loss_by_hand(j, theta) for j in count}
        for i in count
    }


def close(one: dict[str, dict[str, float]], two: dict[str, dict[str, float]]) -> None:
    assert list(one) == list(two)
    for task in one:
        assert one[task] == pytest.approx(two[task], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_plain_steps(seed: int) -> None:
    """Only θ is shared: the tasks' own b stay."""
    model = Quadratics(seed)
    before = [p.detach().clone() for p in model.parameters()]
    model.theta.grad = torch.ones_like(model.theta)
    found = lookahead(model, model.losses, lr=0.03)
    close(found, by_hand(model, [-0.03 * model.gradient_by_hand(k) for k in range(3)]))
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert torch.equal(model.theta.grad, torch.ones_like(model.theta))
    assert all(own.grad is None for own in model.own)


def test_an_optimizer_s_own_step_with_its_state_held() -> None:
    """SGD with momentum: Δ_i = -lr (μ v + g_i), v from the steps before; weight decay is no task's."""
    model = Quadratics(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack(list(model.losses(model).values())).sum().backward()
        optimizer.step()
    velocity = optimizer.state[model.theta]["momentum_buffer"].numpy().copy()
    before: Any = {"optimizer": optimizer.state_dict(), "grad": model.theta.grad, "model": model.state_dict()}
    before = {key: torch.load(_saved(value)) for key, value in before.items()}
    found = lookahead(model, model.losses, optimizer=optimizer)
    after = {"optimizer": optimizer.state_dict(), "grad": model.theta.grad, "model": model.state_dict()}
    assert list(differences(before, {key: torch.load(_saved(value)) for key, value in after.items()})) == []
    close(found, by_hand(model, [-0.01 * (0.9 * velocity + model.gradient_by_hand(k)) for k in range(3)]))


def _saved(value: Any) -> Any:
    import io

    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


def test_adam_takes_its_first_step_by_sign() -> None:
    """Fresh Adam: Δ = -lr g / (|g| + eps)."""
    model = Quadratics(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    gradients = [model.gradient_by_hand(k) for k in range(3)]
    close(
        lookahead(model, model.losses, optimizer=optimizer),
        by_hand(model, [-0.01 * g / (np.abs(g) + 1e-8) for g in gradients]),
    )
    assert len(optimizer.state) == 0


def test_only_the_parameters_that_are_meant() -> None:
    trunk, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    model = nn.ModuleDict({"trunk": trunk, "other": other})
    with torch.no_grad():
        trunk.weight.fill_(1.0)
        other.weight.fill_(1.0)

    def losses(model: Any) -> dict[str, Tensor]:
        total = model["trunk"].weight + model["other"].weight
        return {"a": (total**2).sum(), "b": ((total - 3) ** 2).sum()}

    # from 2: gradient 4 of a; both step 0.4 each: 1.2; the trunk alone: 1.6
    assert lookahead(model, losses, lr=0.1)["a"]["a"] == pytest.approx(1 - 1.2**2 / 4, rel=1e-6)
    assert lookahead(model, losses, lr=0.1, params="trunk.*")["a"]["a"] == pytest.approx(1 - 1.6**2 / 4, rel=1e-6)
    with pytest.raises(BadOption, match="no parameter that fits 'nothing'"):
        lookahead(model, losses, lr=0.1, params="nothing")


def test_every_forward_draws_the_same_mask_and_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(5, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 2))
    x, state = torch.randn(30, 5), torch.get_rng_state()
    mean = model[1].running_mean.clone()
    found = lookahead(model, lambda m: dict(zip("ab", m(x).square().mean(0), strict=True)), lr=0.0)
    assert all(z == 0 for others in found.values() for z in others.values())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(mean, model[1].running_mean)


def test_bad_losses() -> None:
    model = Quadratics(0)
    wrongs: list[Any] = [None, {"a": model.theta.sum()}, {"a": 1.0, "b": 2.0}, {"a": model.theta, "b": model.theta}]
    for wrong in wrongs:

        def losses(_: Any, found: Any = wrong) -> Any:
            return found

        with pytest.raises(ProbeFailed, match="scalar tensor for each of two tasks"):
            lookahead(model, losses, lr=0.1)
    with pytest.raises(BadOption, match="lr or optimizer"):
        lookahead(model, model.losses)
    with pytest.raises(BadOption, match="lr or optimizer"):
        lookahead(model, model.losses, lr=0.1, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    stranger = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ProbeFailed, match="SGD"):
        lookahead(model, model.losses, optimizer=stranger)


def test_while_it_is_recorded(tmp_path: Path) -> None:
    """The run is the same as without the probe, but for the affinities, and they come back by name."""

    def train(name: str, *, probing: bool) -> Any:
        model = Quadratics(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        with Recorder(tmp_path / name, model, optimizer, every=1, exact=True, quiet=True) as recorder:
            with pytest.raises(RecordingFailed):
                recorder.log_affinity({"t0": {"t1": 0.0}})
            for _ in range(3):
                losses = model.losses(model)
                t0, t1, t2 = losses.values()
                optimizer.zero_grad()
                if probing:
                    lookahead(model, model.losses, lr=0.1)
                (t0 + t1 + t2).backward()
                if probing:
                    lookahead(model, model.losses, optimizer=optimizer)
                optimizer.step()
                if probing:
                    recorder.log_affinity(lookahead(model, model.losses, optimizer=optimizer))
        return open_run(tmp_path / name)

    plain, probed = train("plain", probing=False), train("probed", probing=True)
    for path in ("update/update", "gradient/gradient", "loss/loss", "layer/gram"):
        np.testing.assert_array_equal(plain[path].values, probed[path].values)
    events = probed["metric"].to_dataset()
    assert events["split"].values.tolist() == ["affinity"] * 27
    assert events["event_task"].values.tolist()[:3] == ["t0"] * 3
    assert events["metric"].values.tolist()[:3] == ["t0", "t1", "t2"]
