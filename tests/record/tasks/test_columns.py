"""One loss over the columns of one output: each is a task where the user says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dominance
from dominance import Recorder, by_class, by_column, by_group, by_part, open_run
from dominance.record.tasks.finder import Root, TaskFinder
from dominance.record.tasks.graph import edge_of
from dominance.record.tasks.naming import Names
from dominance.record.tasks.shares import MakesShares

NAMES = ["rain", "wind", "hail"]
X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
Y = (torch.randn(12, 3, generator=torch.Generator().manual_seed(1)) > 0).float()
MISSING = torch.ones(12, 3).index_fill_(0, torch.tensor([0, 3]), 0.0)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


LOSSES = {
    "mean": lambda out: F.binary_cross_entropy_with_logits(out, Y),
    "sum": lambda out: 0.5 * F.mse_loss(out, Y, reduction="sum"),
    "columns added": lambda out: F.binary_cross_entropy_with_logits(out, Y, reduction="none").mean(0).sum(),
    "missing labels": lambda out: (F.mse_loss(out, Y, reduction="none") * MISSING).sum() / MISSING.sum(),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_each_column_is_a_task(kind: str, tmp_path: Path) -> None:
    net, want = network(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for _ in range(2):
            with torch.no_grad():
                held = [p.clone() for p in net.parameters()]
            want.append(by_hand(held, kind))
            out = net(X)
            dominance.observe(columns=(out, NAMES))
            optimizer.zero_grad()
            LOSSES[kind](out).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == NAMES
    found = run["gradient/gradient"].values
    np.testing.assert_allclose(found, want, atol=2e-6 * np.abs(want).max())
    np.testing.assert_allclose(found.sum(1), run["gradient/total"].values, atol=2e-6 * np.abs(found).max())
    np.testing.assert_allclose(run["loss/loss"].values.sum(1), run["loss/total"].values, rtol=1e-5)


def by_hand(held: list[Tensor], kind: str) -> list[np.ndarray]:
    """Gradients of a second network, with all but one column of its output cut off."""
    rows = []
    for k in range(3):
        net = network()
        with torch.no_grad():
            for p, value in zip(net.parameters(), held, strict=True):
                p.copy_(value)
        out = net(X)
        others = torch.arange(3) != k
        gradients = torch.autograd.grad(LOSSES[kind](torch.where(others, out.detach(), out)), list(net.parameters()))
        rows.append(torch.cat([g.flatten() for g in gradients]).numpy())
    return rows


def test_groups_of_rows(tmp_path: Path) -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        out = net(X)
        dominance.observe(at=out, shares=by_group(["news"] * 5 + ["mail"] * 7))
        F.mse_loss(out, Y).backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["news", "mail"]
    total = run["gradient/total"].values
    np.testing.assert_allclose(run["gradient/gradient"].values.sum(1), total, atol=2e-6 * np.abs(total).max())


@pytest.mark.parametrize(("names", "error"), [(["a", "b"], "2 names"), (["a", "b", "a"], "same name twice")])
def test_names_that_do_not_fit(names: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        by_column(names)(torch.zeros(4, 3))


def test_ids_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"ids of shape \(2,\)"):
        by_group([0, 1])(torch.zeros(4, 3))


def test_shares_without_a_tensor(tmp_path: Path) -> None:
    net = network()
    with Recorder(tmp_path / "run", net, torch.optim.SGD(net.parameters())):
        with pytest.raises(TypeError, match="columns="):
            dominance.observe(shares=by_column(NAMES))
        with pytest.raises(TypeError, match="needs gradient"):
            dominance.observe(columns=(X, NAMES))


@pytest.mark.parametrize(("kind", "says"), [("mean", True), ("columns added", True), ("classes", False)])
def test_one_loss_over_columns_says_what_to_do(kind: str, says: bool) -> None:
    net = network()
    out = net(X)
    loss = F.cross_entropy(out, Y.argmax(1)) if kind == "classes" else LOSSES[kind](out)
    names = Names(variables={edge_of(loss): "loss"})
    found = TaskFinder().find([Root(edge_of(loss), torch.ones(()), loss)], names, {id(p) for p in net.parameters()}, {})
    assert [task.name for task in found.tasks] == ["loss"]
    assert found.columns == (3 if says else None)


def gradients_through(shares: object, net: nn.Module, loss_of: object, path: Path) -> np.ndarray:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(path, net, optimizer, exact=True):
        out = net(X)
        dominance.observe(at=out, shares=shares)  # type: ignore[arg-type]
        loss_of(out).backward()  # type: ignore[operator]
        optimizer.step()
    found: np.ndarray = open_run(path)["gradient/gradient"].values[0]
    return found


def test_classes_of_the_target(tmp_path: Path) -> None:
    """A class is as good as a group of rows; what is to be ignored is of none."""
    target = torch.tensor([0, 1, 2, 2, 1, 0, -100, 2, 2, 2, 0, 0])
    found = gradients_through(by_class(target), network(), lambda out: F.cross_entropy(out, target), tmp_path / "run")
    assert open_run(tmp_path / "run").attrs["tasks"] == ["0", "1", "2"]
    for k in range(3):
        net = network()
        only = torch.where(target == k, target, -100)
        (F.cross_entropy(net(X), only, reduction="sum") / (target >= 0).sum()).backward()
        want = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        np.testing.assert_allclose(found[k], want, atol=1e-6)


def test_classes_of_pixels_have_names() -> None:
    target = torch.tensor([[[0, 1], [1, -1]]])
    shares = by_class(target, ["sky", "road"])(torch.zeros(1, 3, 2, 2))
    assert {name: share.shape for name, share in shares.items()} == dict.fromkeys(["sky", "road"], (1, 1, 2, 2))
    assert [float(share.sum()) for share in shares.values()] == [1.0, 2.0]


@pytest.mark.parametrize("shares", [by_class(torch.zeros(5, dtype=torch.long)), by_part(a=torch.ones(4))])
def test_shares_that_do_not_fit(shares: MakesShares) -> None:
    with pytest.raises(ValueError, match=r"do not fit|was given"):
        shares(torch.zeros(12, 3))


def test_parts_of_an_output(tmp_path: Path) -> None:
    """Parts add up to the whole gradient where they cover it."""
    left = torch.tensor([True, False, False])
    found = gradients_through(
        by_part(left=left, rest=~left), network(), lambda out: F.mse_loss(out, Y), tmp_path / "run"
    )
    np.testing.assert_allclose(found.sum(0), open_run(tmp_path / "run")["gradient/total"].values[0], atol=1e-7)
    assert np.abs(found).max(axis=1).min() > 0
