"""Losses that a function of an installed package returns as one value, though it is a sum inside."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.losses import Data, Net
from record.test_tasks_of_a_run import recorded, residual
from torch import Tensor, nn
from xarray import DataTree

DATA = Data()

PACKAGE = '''
import torch
import torch.nn.functional as F
from torch import nn


class PairLoss(nn.Module):
    """What is put into a vector and summed has one name for both."""

    def forward(self, z, y):
        distance = (z[:, None] - z).square().sum(2)
        alike = y[:, None] == y
        pieces = torch.zeros(2)
        for i, chosen in enumerate((alike, ~alike)):
            piece = distance[chosen].mean() if i == 0 else F.relu(9 - distance[chosen]).mean()
            pieces[i] = piece
        return pieces.sum()


class TwoLosses(nn.Module):
    """A sum of losses that have names of their own."""

    def forward(self, out, t, y):
        depth_loss = F.mse_loss(out[0], t)
        seg_loss = F.cross_entropy(out[1], y)
        return depth_loss + seg_loss


class Several(nn.Module):
    """A sum of losses over one tensor, each with a weight."""

    def __init__(self, losses, weights):
        super().__init__()
        self.losses, self.weights = nn.ModuleList(losses), weights

    def forward(self, z, y):
        total = 0
        for loss, weight in zip(self.losses, self.weights):
            total += loss(z, y) * weight
        return total


class CentreLoss(nn.Module):
    def forward(self, z, y):
        centre = torch.stack([z[y == k].mean(0) for k in range(3)])
        return (z - centre[y]).square().mean()


class SquareLoss(nn.Module):
    def forward(self, out, t):
        f = (out - t).square()
        f = f.mean()
        return f


class EdgeLoss(nn.Module):
    def forward(self, out, t):
        f = (out - t).abs()
        f = f.mean()
        return f


class Detector(nn.Module):
    """Returns its losses in a dict."""

    def forward(self, out, t):
        box_loss = F.mse_loss(out[0], t)
        return {"box": box_loss, "edge": self.edge(out[0], t)}

    def edge(self, out, t):
        edge_loss = F.l1_loss(out, t)
        return edge_loss


def mean_over_heads(outs, ys):
    total = 0
    for out, y in zip(outs, ys):
        total += F.cross_entropy(out, y)
    return total / len(outs)


class Gaussian:
    """A density whose pieces have names."""

    def __init__(self, mean, root):
        self.mean, self.root = mean, root

    def log_prob(self, value):
        scaled = torch.linalg.solve_triangular(self.root, (value - self.mean)[:, None], upper=False)
        quadratic_form = -0.5 * scaled.square().sum()
        log_determinant = self.root.diagonal().log().sum()
        return quadratic_form - log_determinant
'''


@pytest.fixture(params=["site-packages", "own"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the functions lie: among installed packages, or beside the script."""
    return str(request.param)


@pytest.fixture
def package(place: str, tmp_path: Path) -> ModuleType:
    path = tmp_path / place / "losses_of_a_package.py"
    path.parent.mkdir()
    path.write_text(PACKAGE)
    spec = importlib.util.spec_from_file_location("losses_of_a_package", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(folder: Path, net: nn.Module, loss: Callable[[nn.Module], Tensor]) -> DataTree:
    """Three steps on a loss, all of whose parts are gone when backward() is called."""

    def train(net: nn.Module, step: int) -> None:
        loss(net).backward()

    return recorded(folder, net, train, 3)


def test_beside_another_loss_it_is_one_and_called_after_its_class(
    package: ModuleType, place: str, tmp_path: Path
) -> None:
    pairs = package.PairLoss()
    run = trained(
        tmp_path, Net(), lambda net: pairs(net.trunk(DATA.x), DATA.y) + 0.5 * F.cross_entropy(net(DATA.x)[1], DATA.y)
    )
    installed = place == "site-packages"
    assert run.attrs["tasks"] == (
        ["PairLoss", "cross_entropy"] if installed else ["piece.1", "piece.2", "cross_entropy"]
    )
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 0.5] if installed else [1, 1, 0.5]] * 3)
    assert residual(run) < 1e-6


@pytest.mark.parametrize("place", ["site-packages"])
def test_losses_that_a_package_sums_are_one_each(package: ModuleType, tmp_path: Path) -> None:
    several = package.Several([package.PairLoss(), package.CentreLoss()], [1.0, 0.2])
    run = trained(tmp_path, Net(), lambda net: several(net.trunk(DATA.x), DATA.y))
    assert run.attrs["tasks"] == ["PairLoss", "CentreLoss"]
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 0.2]] * 3, rtol=1e-6)


def test_losses_with_names_of_their_own_stay_apart(package: ModuleType, tmp_path: Path) -> None:
    both = package.TwoLosses()

    def loss(net: nn.Module) -> Tensor:
        out = net(DATA.x)
        return both(out, DATA.t, DATA.y) + 0.1 * F.l1_loss(out[0], DATA.t)

    assert trained(tmp_path, Net(), loss).attrs["tasks"] == ["depth_loss", "seg_loss", "l1_loss"]


def test_losses_with_heads_of_their_own_stay_apart(package: ModuleType, tmp_path: Path) -> None:
    def loss(net: nn.Module) -> Tensor:
        return package.mean_over_heads(net(DATA.x), [DATA.y, DATA.y]) + 0.1 * F.l1_loss(
            net.trunk(DATA.x)[:, :3], DATA.t
        )

    run = trained(tmp_path, Net(), loss)
    assert run.attrs["tasks"] == ["cross_entropy.depth_head", "cross_entropy.seg_head", "l1_loss"]


def test_a_log_density_is_one_value(package: ModuleType, place: str, tmp_path: Path) -> None:
    def loss(net: nn.Module) -> Tensor:
        z = net.trunk(DATA.x)
        root = torch.linalg.cholesky(torch.exp(-0.5 * (z[:, None] - z).square().sum(2)) + 0.1 * torch.eye(len(z)))
        return -package.Gaussian(net.depth_head(z)[:, 0], root).log_prob(DATA.t[:, 0]) / len(z)

    run = trained(tmp_path, Net(), loss)
    assert len(run.attrs["tasks"]) == (1 if place == "site-packages" else 2)
    assert residual(run) < 1e-6


def test_losses_that_two_functions_call_alike_are_two(package: ModuleType, place: str, tmp_path: Path) -> None:
    square, edge = package.SquareLoss(), package.EdgeLoss()
    run = trained(tmp_path, Net(), lambda net: square(net(DATA.x)[0], DATA.t) + 0.3 * edge(net(DATA.x)[0], DATA.t))
    assert run.attrs["tasks"] == (["SquareLoss", "EdgeLoss"] if place == "site-packages" else ["f.1", "f.2"])
    np.testing.assert_allclose(run["loss/weight"].values, [[1, 0.3]] * 3, rtol=1e-6)


def test_losses_that_a_module_returns_together_have_its_names(package: ModuleType, tmp_path: Path) -> None:
    detector = package.Detector()
    run = trained(tmp_path, Net(), lambda net: sum(each for each in detector(net(DATA.x), DATA.t).values()))
    assert run.attrs["tasks"] == ["box_loss", "edge"]
