"""Constants in front of a loss that has its name only behind them: from graphs written out here, and from runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dominance import Recorder, open_run
from dominance.record.tasks.factors import constant_within
from dominance.record.tasks.graph import edge_of

torch.set_num_threads(1)
X, T, CLASSES = torch.linspace(-1, 1, 12).reshape(6, 2), torch.ones(6, 2), torch.tensor([0, 1, 1, 0, 0, 1])


def out() -> Tensor:
    return torch.ones(2, requires_grad=True) * X


def mse() -> Tensor:
    return F.mse_loss(out(), T)


@pytest.mark.parametrize(
    ("made", "constant"),
    [
        (lambda: mse(), 1),
        (lambda: 0.002 * mse(), 0.002),
        (lambda: mse() * 0.002, 0.002),
        (lambda: mse() / 500, 0.002),
        (lambda: torch.tensor(0.25) * mse(), 0.25),
        (lambda: 3 * (mse() / 12), 0.25),
        (lambda: 0.1 * out().square().mean(), 0.1),
        (lambda: 0.1 * F.cross_entropy(out(), CLASSES), 0.1),
        (lambda: 0.1 * F.binary_cross_entropy_with_logits(out(), T), 0.1),
        (lambda: 0.1 * F.l1_loss(out(), T), 0.1),
        (lambda: 0.1 * F.soft_margin_loss(out(), T), 0.1),
        # One over the number of samples, or a likelihood: no weights.
        (lambda: F.mse_loss(out(), T, reduction="sum") / 6, 1),
        (lambda: out().square().sum() / 6, 1),
        (lambda: out().square().sum() / torch.tensor(6.0), 1),
        (lambda: -0.5 * out().mean(), 1),
        (lambda: 0 * mse(), 1),
        # No constants: a learned weight, another loss, a quotient, a function, one for each sample.
        (lambda: torch.tensor(0.3, requires_grad=True) * mse(), 1),
        (lambda: mse() * mse(), 1),
        (lambda: 0.3 / mse(), 1),
        (lambda: 0.3 * mse().sqrt(), 1),
        (lambda: (0.3 * out()).sum(), 1),
        (lambda: 0.3 * (mse() + mse()), 1),
    ],
)
def test_constants(made: Callable[[], Tensor], constant: float) -> None:
    assert constant_within(edge_of(made())) == pytest.approx(constant, rel=1e-6)


def recorded(path: Path, second: Callable[[Tensor, int], Tensor]) -> dict[str, float]:
    """What a run of two losses says of constants: a mean of squares each, the second one as it is made here."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"trunk": nn.Linear(2, 4), "a": nn.Linear(4, 1), "b": nn.Linear(4, 1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(path, model, optimizer):
        for step in range(4):
            z = model["trunk"](X)
            first_loss = F.mse_loss(model["a"](z), T[:, :1])
            second_loss = second(F.mse_loss(model["b"](z), T[:, :1]), step)
            loss = first_loss + second_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with open_run(path) as run:
        assert [str(task) for task in run["task"].values] == ["first_loss", "second_loss"]
        assert run["loss/weight"].values.tolist() == [[1.0, 1.0]] * 4
        found: dict[str, float] = run.attrs.get("loss_constants", {})
        return found


def test_a_run_says_which_constants_its_losses_have(tmp_path: Path) -> None:
    assert recorded(tmp_path / "none", lambda loss, step: loss) == {}
    found = recorded(tmp_path / "some", lambda loss, step: loss / 500)
    assert found == {"second_loss": pytest.approx(0.002)}


def test_a_constant_that_changes_is_none(tmp_path: Path) -> None:
    assert recorded(tmp_path / "run", lambda loss, step: 0.1 * (step + 1) * loss) == {}


@pytest.mark.parametrize("recording", [False, True])
def test_what_is_brought_back_with_an_effect_is_not_looked_at(tmp_path: Path, recording: bool) -> None:
    """Each tensor that is kept is brought back once, by the script's own pass."""
    brought = []

    def unpack(tensor: Tensor) -> Tensor:
        brought.append(tensor)
        return tensor

    model = nn.ParameterDict({"trunk": nn.Parameter(torch.ones(2)), "b": nn.Parameter(torch.ones(2))})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", model, optimizer) if recording else nullcontext():
        with saved_tensors_hooks(lambda tensor: tensor, unpack):
            first_loss = torch.tensor(0.1) * (model["trunk"] * X).mean()
            second_loss = (model["trunk"] * model["b"]).mean()
        (first_loss + second_loss).backward()
        optimizer.step()
    assert len(brought) == 4  # X, the constant, and both factors of the product
