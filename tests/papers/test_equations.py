"""The papers' numbered equations, in float64 and plain Python from their texts, against what a recorded training gives.

One small training is taken by hand; the library sees it through its recorder alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studies import scored
from torch import nn

from dominance import Recorder, alignment, au, delta, gcd, lr_dominance, open_run, rau, tci
from dominance.optim.solvers.bargaining import solve

torch.set_num_threads(1)
STEPS, ETA, EPS, GAMMA, AU_GAMMA = 15, 0.01, 1e-8, 0.9, 0.8
TASKS = ("a", "b")
Vector = list[float]


def flat(tensors: Any) -> Vector:
    return [float(value) for tensor in tensors for value in tensor.detach().double().flatten()]


def dot(x: Vector, y: Vector) -> float:
    return math.fsum(a * b for a, b in zip(x, y, strict=True))


def cosine(x: Vector, y: Vector) -> float:
    return dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))


class Trained:
    """A trunk of two tasks and a head of each, by RMSProp; of every step the gradients and what was done.

    Attributes:
        run: what was recorded.
        g: steps of {task: gradient of the trunk}.
        fed, moved: steps of {"trunk", "a", "b": gradient, and change, of these parameters}.
    """

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        net = nn.ModuleDict({"trunk": nn.Linear(4, 3), "a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}).double()
        optimizer = torch.optim.RMSprop(net.parameters(), lr=ETA, alpha=GAMMA, eps=EPS)
        trunk = list(net["trunk"].parameters())
        generator = torch.Generator().manual_seed(1)
        self.g: list[dict[str, Vector]] = []
        self.fed: list[dict[str, Vector]] = []
        self.moved: list[dict[str, Vector]] = []
        with Recorder(folder, net, optimizer, every=1, exact=True, quiet=True):
            for _ in range(STEPS):
                x = torch.randn(6, 4, generator=generator, dtype=torch.float64)
                h = torch.tanh(net["trunk"](x))
                a = (net["a"](h).squeeze(1) - x.sum(1)).square().mean()
                b = 4 * (net["b"](h).squeeze(1) + x.prod(1)).square().mean()
                each = {
                    task: flat(torch.autograd.grad(loss, trunk, retain_graph=True))
                    for task, loss in (("a", a), ("b", b))
                }
                optimizer.zero_grad()
                (a + b).backward()
                before = {name: flat(part.parameters()) for name, part in net.items()}
                self.fed.append({name: flat(p.grad for p in part.parameters()) for name, part in net.items()})
                optimizer.step()
                after = {name: flat(part.parameters()) for name, part in net.items()}
                self.g.append(each)
                self.moved.append(
                    {name: [v - u for u, v in zip(before[name], after[name], strict=True)] for name in after}
                )
        self.run = open_run(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("equations") / "run")


def in_order(trained: Trained) -> np.ndarray:
    """Where the coordinates of the record stand in ours: weights, then biases."""
    kept = trained.run["shared"].values.astype(bool)
    size = {"trunk.weight": 0, "trunk.bias": 12}
    parameters, index = (trained.run[name].values[kept] for name in ("parameter", "index"))
    return np.array([size[name] + int(i) for name, i in zip(parameters, index, strict=True)])


def squares(trained: Trained) -> tuple[list[Vector], dict[str, list[Vector]]]:
    """G of the whole gradient (AdaTask, Alg. 1), and of each task's own (Eq. 5, 7), step by step."""
    whole, own = [0.0] * 15, {task: [0.0] * 15 for task in TASKS}
    of_whole: list[Vector] = []
    of_own: dict[str, list[Vector]] = {task: [] for task in TASKS}
    for g in trained.g:
        whole = [GAMMA * G + (1 - GAMMA) * (x + y) ** 2 for G, x, y in zip(whole, g["a"], g["b"], strict=True)]
        of_whole.append(whole)
        for task in TASKS:
            own[task] = [GAMMA * G + (1 - GAMMA) * x**2 for G, x in zip(own[task], g[task], strict=True)]
            of_own[task].append(own[task])
    return of_whole, of_own


def test_adatask_eq_2_and_3(trained: Trained) -> None:
    """AU = γ AU + (1 - γ) (η / (sqrt(G) + ε) g^k)², with the denominator that the tasks share; rAU is its share."""
    whole, _ = squares(trained)
    expected = {task: [0.0] * 15 for task in TASKS}
    for G, g in zip(whole, trained.g, strict=True):
        for task in TASKS:
            update = [ETA / (math.sqrt(s) + EPS) * x for s, x in zip(G, g[task], strict=True)]
            expected[task] = [
                AU_GAMMA * old + (1 - AU_GAMMA) * u**2 for old, u in zip(expected[task], update, strict=True)
            ]
    order = in_order(trained)
    found, share = au(trained.run, decay=AU_GAMMA)["au"], rau(trained.run, decay=AU_GAMMA)["rau"]
    total = np.array(expected["a"]) + np.array(expected["b"])
    for task in TASKS:
        np.testing.assert_allclose(found.sel(task=task), np.array(expected[task])[order], rtol=1e-5)
        np.testing.assert_allclose(share.sel(task=task), (np.array(expected[task]) / total)[order], rtol=1e-5)


def test_adatask_eq_4_to_7(trained: Trained) -> None:
    """η / (sqrt(G) + ε) of the whole, and of each task's own G (Fig. 7)."""
    whole, own = squares(trained)
    found = lr_dominance(trained.run, per_layer=15)
    kept = [trained.run["shared"].values.astype(bool).nonzero()[0]]
    assert len(kept[0]) == found.sizes["coord"]
    order = in_order(trained)
    for place, step in enumerate(found["step"].values):
        expected = np.array([ETA / (math.sqrt(G) + EPS) for G in whole[step]])[order]
        np.testing.assert_allclose(found["whole_coord"][place], expected, rtol=1e-5)
        for task in TASKS:
            expected = np.array([ETA / (math.sqrt(G) + EPS) for G in own[task][step]])[order]
            np.testing.assert_allclose(found["learning_rate_coord"][place].sel(task=task), expected, rtol=1e-5)


def test_mocograd_eq_4(trained: Trained) -> None:
    """GCD = 1 - cos φ, a conflict where it is above 1."""
    found = gcd(trained.run, by="all")
    expected = [1 - cosine(g["a"], g["b"]) for g in trained.g]
    pair = found["gcd"].sel(task="a", task_other="b").squeeze("layer")
    np.testing.assert_allclose(pair, expected, rtol=1e-9)
    share = found["conflict_share"].sel(task="a", task_other="b").squeeze("layer")
    assert float(share) == pytest.approx(sum(each > 1 for each in expected) / STEPS)


def test_pub_eq_1(trained: Trained) -> None:
    """Sim of gradient and descent on shared and on task-specific parameters, and Diff of their means."""
    down = [{name: [-v for v in part] for name, part in moved.items()} for moved in trained.moved]
    shared = [cosine(fed["trunk"], done["trunk"]) for fed, done in zip(trained.fed, down, strict=True)]
    task = [cosine(fed["a"] + fed["b"], done["a"] + done["b"]) for fed, done in zip(trained.fed, down, strict=True)]
    found = alignment(trained.run)
    np.testing.assert_allclose(found["sim_shared"], shared, rtol=1e-6)
    np.testing.assert_allclose(found["sim_task"], task, rtol=1e-6)
    means = math.fsum(task) / STEPS, math.fsum(shared) / STEPS
    diff = 2 * abs(means[0] - means[1]) / abs(means[0] + means[1])
    assert float(found["diff_of_means"]) == pytest.approx(diff, rel=1e-5)


SINGLE = {"a": {"rmse": 2.0, "mae": 0.5}, "b": {"auc": 0.8}}
JOINT = {"a": {"rmse": 2.5, "mae": 0.4}, "b": {"auc": 0.9}}
HIGHER = {"rmse": False, "mae": False, "auc": True}


def test_mocograd_eq_2_and_27_adatasks_delta_and_pubs() -> None:
    """TCI is the risk together less the risk alone; Δ_M and Δp are means over metrics, Δm over tasks of such means."""
    joint = scored(JOINT, directions=HIGHER)
    alone = {task: scored({task: SINGLE[task]}, directions=HIGHER) for task in SINGLE}
    gains = [-(2.5 - 2.0) / 2.0, -(0.4 - 0.5) / 0.5, (0.9 - 0.8) / 0.8]
    for kind in ("mocograd", "adatask"):
        assert float(delta(joint, alone, kind=kind)["delta"]) == pytest.approx(math.fsum(gains) / 3)
    drops = [-gain for gain in gains]
    assert float(delta(joint, alone, kind="pub")["delta"]) == pytest.approx(((drops[0] + drops[1]) / 2 + drops[2]) / 2)
    found = tci(joint, alone)["tci"]
    assert float(found.sel(task="a", metric="rmse").squeeze()) == pytest.approx(2.5 - 2.0)
    assert float(found.sel(task="b", metric="auc").squeeze()) == pytest.approx(-(0.9 - 0.8))  # higher is no risk


def test_pub_claim_1() -> None:
    """D alpha with DᵀD alpha = 1 / alpha has the largest Σ log Δθᵀ Δθ_i of all vectors as long: of many, none more."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        columns = [rng.normal(size=3) + 1.0 for _ in range(2)]
        if min(float(columns[0] @ columns[1]), 1.0) <= -0.9 * np.linalg.norm(columns[0]) * np.linalg.norm(columns[1]):
            continue
        gram = np.array([[x @ y for y in columns] for x in columns])
        alpha = solve(gram)
        step = alpha[0] * columns[0] + alpha[1] * columns[1]
        for k, other in enumerate(columns):
            assert alpha[k] * math.fsum(step * other) == pytest.approx(1.0, rel=1e-9)
        best = sum(math.log(step @ column) for column in columns)
        tries = rng.normal(size=(4000, 3))
        tries *= np.linalg.norm(step) / np.linalg.norm(tries, axis=1, keepdims=True)
        inner = tries @ np.array(columns).T
        assert np.log(inner[(inner > 0).all(axis=1)]).sum(axis=1).max() <= best + 1e-12
