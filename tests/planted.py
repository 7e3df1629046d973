"""Trainings whose trouble is known because it was put there: small networks, trained in numpy, with a planted cause.

A case says what the world is like (targets, their scale, their noise, how often a task has labels, whether one output
must serve opposed targets) and how it is trained and recorded. The run comes out of the training; nothing that an
analyser computes is put in. So a verdict that finds the cause has found it in what a recorder sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from runs import Rows, as_tree, make_rows

from dominance.schema import Layout, Parameter

OPTIMIZERS = ("adam", "rmsprop", "momentum", "sgd", "adagrad")
TASK_WISE = ("adatask-adam", "adatask-rmsprop")
_RATES = {"adam": 3e-3, "rmsprop": 1.5e-3, "momentum": 4e-3, "sgd": 2e-2, "adagrad": 2e-2}
_RATES |= {"adatask-adam": 2e-3, "adatask-rmsprop": 1e-3}


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        truth: the causes that were planted: of "weight", "scale", "frequency", "noise", "conflict"; empty: harmless.
        kind: a word for the table of results.
        scale: factor on each task's targets; its length is the number of tasks.
        weight: of each task's loss.
        noise: standard deviation of each task's label noise, in standard deviations of its clean targets.
        present: probability that a task takes part in a step.
        labelled: share of the samples that carry the task's label (losses are means over the batch).
        labelled_ids: share of the embedding's rows whose samples carry the task's label.
        opposed: correlation with which the last task's targets oppose those of the others; then one output that is
            fixed serves these tasks.
        free: so many tasks, the first ones, take no part in that: they have heads of their own.
        alternate: one task a step, in turn.
        common: share of the variance of the clean targets that all tasks have in common.
        vocabulary: rows of an embedding before the trunk; 0: none.
        every, burst: recorded are ``burst`` consecutive steps of every ``every * burst``.
        keep: coordinates kept of each parameter; 0: all.
    """

    seed: int
    kind: str
    truth: frozenset[str] = frozenset()
    scale: tuple[float, ...] = (1.0, 1.0)
    weight: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    present: tuple[float, ...] = ()
    labelled: tuple[float, ...] = ()
    labelled_ids: tuple[float, ...] = ()
    opposed: float = 0.0
    free: int = 0
    alternate: bool = False
    common: float = 0.3
    vocabulary: int = 0
    optimizer: str = "adam"
    steps: int = 200
    batch: int = 32
    width: int = 16
    inputs: int = 8
    tanh: bool = True
    decaying: bool = False
    every: int = 1
    burst: int = 1
    keep: int = 0

    @property
    def tasks(self) -> list[str]:
        return [chr(ord("a") + i) for i in range(len(self.scale))]

    @property
    def headed(self) -> int:
        """How many tasks, the first ones, have heads that are trained."""
        return self.free if self.opposed else len(self.scale)

    def of_tasks(self, name: str, default: float) -> np.ndarray:
        return np.array(getattr(self, name) or [default] * len(self.scale), dtype=float)


class _Net:
    """[embedding] -> trunk.0 -> trunk.1 -> a linear head for each task (or one fixed output), in one flat vector."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, k, h = case, len(case.scale), case.width
        self.embedded = 6 if case.vocabulary else 0
        self.d = case.inputs + self.embedded
        shapes: dict[str, tuple[int, ...]] = {}
        if case.vocabulary:
            shapes["embedding.weight"] = (case.vocabulary, self.embedded)
        shapes |= {"trunk.0.weight": (self.d, h), "trunk.0.bias": (h,), "trunk.1.weight": (h, h), "trunk.1.bias": (h,)}
        for task in case.tasks[: case.headed]:
            shapes |= {f"head_{task}.weight": (h,), f"head_{task}.bias": (1,)}
        self.shapes = shapes
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        ends = np.cumsum(sizes)
        self.slices = {name: slice(end - size, end) for name, size, end in zip(shapes, sizes, ends, strict=True)}
        self.size = int(ends[-1])
        self.theta = np.zeros(self.size)
        for name, shape in shapes.items():
            if name.endswith("weight"):
                bound = (3 / shape[0]) ** 0.5 if name != "embedding.weight" else 1.0
                self.theta[self.slices[name]] = rng.uniform(-bound, bound, shape).ravel()
        self.heads, self.offset = np.full((k, h), 1 / h**0.5), np.zeros(k)

    def view(self, name: str, flat: np.ndarray | None = None) -> np.ndarray:
        flat = self.theta if flat is None else flat
        return flat[..., self.slices[name]].reshape(*flat.shape[:-1], *self.shapes[name])

    def gradients(
        self, x: np.ndarray, ids: np.ndarray, y: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """x: (sample, feature), y and mask: (task, sample). Gradients (task, flat) and losses (task,), unweighted."""
        case, k = self.case, len(y)
        w0, w1 = self.view("trunk.0.weight"), self.view("trunk.1.weight")
        if case.vocabulary:
            x = np.concatenate([x, self.view("embedding.weight")[ids]], axis=1)
        act: Callable[[np.ndarray], np.ndarray] = np.tanh if case.tanh else lambda z: np.maximum(z, 0)
        z0 = act(x @ w0 + self.view("trunk.0.bias"))
        z1 = act(z0 @ w1 + self.view("trunk.1.bias"))
        slope = (lambda z: 1 - z * z) if case.tanh else (lambda z: (z > 0).astype(float))
        heads, offset = self.heads, self.offset
        for i, task in enumerate(case.tasks[: case.headed]):
            heads[i], offset[i] = self.view(f"head_{task}.weight"), self.view(f"head_{task}.bias")[0]
        r = (heads @ z1.T + offset[:, None] - y) * mask
        delta = 2 * r / len(x)
        g = np.zeros((k, self.size))
        d1 = delta[:, :, None] * heads[:, None, :] * slope(z1)
        self.view("trunk.1.weight", g)[...] = z0.T @ d1
        self.view("trunk.1.bias", g)[...] = d1.sum(1)
        d0 = (d1 @ w1.T) * slope(z0)
        self.view("trunk.0.weight", g)[...] = x.T @ d0
        self.view("trunk.0.bias", g)[...] = d0.sum(1)
        if case.vocabulary:
            rows = d0 @ w0[case.inputs :].T
            table = self.view("embedding.weight", g)
            for i in range(k):
                np.add.at(table[i], ids, rows[i])
        for i, task in enumerate(case.tasks[: case.headed]):
            self.view(f"head_{task}.weight", g)[i] = delta[i] @ z1
            self.view(f"head_{task}.bias", g)[i] = delta[i].sum()
        return g, (r * r).mean(axis=1)

    def parameters(self) -> list[Parameter]:
        tasks = tuple(self.case.tasks)
        return [
            Parameter(name, name.rsplit(".", 1)[0], shape, (name[5:].split(".")[0],) if "head" in name else tasks)
            for name, shape in self.shapes.items()
        ]


class _World:
    """What generates the samples: a fixed random network for each task's clean targets, of unit variance."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, k = case, len(case.scale)
        d = case.inputs
        self.features = rng.standard_normal((k + 1, d, 12)) / d**0.5
        self.readout = rng.standard_normal((k + 1, 12))
        self.linear = rng.standard_normal((k + 1, d)) / d**0.5
        self.of_id = rng.standard_normal((k + 1, max(case.vocabulary, 1)))
        self.has_label = np.ones((k, max(case.vocabulary, 1)), dtype=bool)
        for i, share in enumerate(case.labelled_ids):
            self.has_label[i] = rng.permutation(case.vocabulary) < share * case.vocabulary
        self.centre, self.spread = np.zeros(k + 1), np.ones(k + 1)
        x = rng.standard_normal((2000, d))
        f = self._functions(x, rng.integers(0, max(case.vocabulary, 1), 2000))
        self.centre, self.spread = f.mean(1), f.std(1)

    def _functions(self, x: np.ndarray, ids: np.ndarray) -> np.ndarray:
        f = (np.tanh(2 * x @ self.features) * self.readout[:, None, :]).sum(2) / 3 + self.linear @ x.T
        if self.case.vocabulary:
            f = f + 2 * self.of_id[:, ids]
        return np.asarray((f - self.centre[:, None]) / self.spread[:, None])

    def batch(self, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        case, k = self.case, len(self.case.scale)
        x = rng.standard_normal((case.batch, case.inputs))
        ids = rng.integers(0, max(case.vocabulary, 1), case.batch)
        f = self._functions(x, ids)
        y = case.common**0.5 * f[-1] + (1 - case.common) ** 0.5 * f[:-1]
        if case.opposed:
            y[-1] = -case.opposed * y[case.free : -1].mean(0) + (1 - case.opposed**2) ** 0.5 * f[-2]
        y = y + case.of_tasks("noise", 0.2)[:, None] * rng.standard_normal(y.shape)
        y *= np.array(case.scale)[:, None]
        takes_part = rng.random(k) < case.of_tasks("present", 1.0)
        if case.alternate:
            takes_part = np.arange(k) == step % k
        mask = (rng.random(y.shape) < case.of_tasks("labelled", 1.0)[:, None]) & self.has_label[:, ids]
        return x, ids, y, np.where(takes_part[:, None], mask, np.nan)


def _stepper(case: Case, size: int) -> Callable[[int, np.ndarray, bool], tuple[np.ndarray, np.ndarray]]:
    """From the effective gradients (task, flat) to the additive updates (task, flat) and the unattributed part.

    The momentum of what came before a burst of recorded steps belongs to nobody.
    """
    k, name = len(case.scale), case.optimizer.removeprefix("adatask-")
    own = case.optimizer.startswith("adatask")
    m, v = np.zeros((k, size)), np.zeros((k, size) if own else size)
    unseen = np.zeros(size)
    lr = _RATES[case.optimizer]

    def step(t: int, g: np.ndarray, begins: bool) -> tuple[np.ndarray, np.ndarray]:
        nonlocal m, v, unseen
        rate = lr * (0.5 ** (4 * t / case.steps) if case.decaying else 1.0)
        beta = {"adam": 0.9, "momentum": 0.9}.get(name, 0.0)
        if begins and beta:
            unseen, m = unseen + m.sum(0), np.zeros_like(m)
        gain = 0.1 if name == "adam" else 1.0
        m, unseen = beta * m + gain * g, beta * unseen
        square = g * g if own else g.sum(0) ** 2
        if name == "adam":
            v = 0.99 * v + 0.01 * square
            root = np.sqrt(v / (1 - 0.99 ** (t + 1))) + 1e-8
            scale = rate / (1 - beta ** (t + 1)) / root
        elif name == "rmsprop":
            v = 0.99 * v + 0.01 * square
            scale = rate / (np.sqrt(v) + 1e-8)
        elif name == "adagrad":
            v = v + square
            scale = rate / (np.sqrt(v) + 1e-10)
        else:  # plain gradients: the rate must fit the largest task
            scale = np.asarray(rate / max(1.0, float((np.array(case.scale) ** 2 * case.of_tasks("weight", 1.0)).max())))
        shared = scale if not own else scale.mean(0)
        return -scale * m, -shared * unseen

    return step


def train(case: Case, *, only: int | None = None) -> tuple[Layout, Rows, np.ndarray]:
    """Layout and rows of the case's run, and each task's clean error on fresh samples at the end, over its variance.

    Args:
        only: train this task alone, in the same world and from the same weights.
    """
    rng = np.random.default_rng(case.seed)
    world, net = _World(case, rng), _Net(case, rng)
    k, weight = len(case.scale), case.of_tasks("weight", 1.0)
    if only is not None:
        weight = np.where(np.arange(k) == only, weight, 0.0)
    step = _stepper(case, net.size)
    kept: dict[str, list[Any]] = {name: [] for name in ("g", "u", "unseen", "loss", "weight", "step")}
    cycle = case.every * case.burst
    for t in range(case.steps):
        x, ids, y, mask = world.batch(t, rng)
        absent = np.isnan(mask[:, 0])
        g, loss = net.gradients(x, ids, y, np.nan_to_num(mask))
        g *= weight[:, None]
        recorded = t % cycle < case.burst
        u, unseen = step(t, g, recorded and t % cycle == 0 and case.every > 1 and t > 0)
        net.theta += u.sum(0) + unseen
        if recorded:
            row = (g, u, unseen, np.where(absent, np.nan, loss), np.where(absent, np.nan, weight), t)
            for name, value in zip(kept, row, strict=True):
                kept[name].append(value)
    layout, rows = make_rows(
        np.array(kept["u"]), np.array(kept["g"]), tasks=case.tasks, parameters=net.parameters(),
        steps=np.array(kept["step"]), loss=kept["loss"], weight=kept["weight"], unattributed=np.array(kept["unseen"]),
        learning_rate=_RATES[case.optimizer],
    )  # fmt: skip
    return layout, rows, _errors(replace(case, noise=(0.0,) * k, batch=1000), world, net)


def _errors(case: Case, world: _World, net: _Net) -> np.ndarray:
    world.case = replace(case, present=(), labelled=(), alternate=False)
    x, ids, y, _ = world.batch(0, np.random.default_rng(1))
    _, loss = net.gradients(x, ids, y, np.ones_like(y))
    return np.asarray(loss / y.var(axis=1))


_CLASSES = {"adam": "Adam", "rmsprop": "RMSprop", "momentum": "SGD", "sgd": "SGD", "adagrad": "Adagrad"}
_CLASSES |= {"adatask-adam": "AdaTaskAdam", "adatask-rmsprop": "AdaTaskRMSprop"}


def run_of(case: Case) -> xr.DataTree:
    """The run of a case, in memory, as ``open_run`` gives it; a sample of its coordinates if the case says so."""
    layout, rows, _ = train(case)
    if case.keep:
        layout, rows = _sampled(layout, rows, case)
    run = as_tree(layout, rows)
    group: dict[str, Any] = {"lr": _RATES[case.optimizer]}
    group |= {"betas": [0.9, 0.99]} if "adam" in case.optimizer else {}
    group |= {"momentum": 0.9 if case.optimizer == "momentum" else 0.0} if _CLASSES[case.optimizer] == "SGD" else {}
    run.attrs["optimizers"] = [{"class": _CLASSES[case.optimizer], "groups": [group], "note": ""}]
    run.attrs["schedule"] = {"every": case.every, "burst": case.burst}
    return run


def _sampled(layout: Layout, rows: Rows, case: Case) -> tuple[Layout, Rows]:
    rng = np.random.default_rng(case.seed + 1)
    code = np.asarray(layout.coord_parameter)
    chosen, weight = [], []
    for parameter in range(len(layout.parameters)):
        inside = np.flatnonzero(code == parameter)
        kept = np.sort(rng.permutation(inside)[: case.keep])
        chosen.append(kept)
        weight.append(np.full(len(kept), len(inside) / len(kept)))
    at = np.concatenate(chosen)
    layout.coord_parameter, layout.coord_index = code[at], np.asarray(layout.coord_index)[at]
    layout.coord_weight = np.concatenate(weight)
    per_coord = [name for name in rows if name.split("/")[0] in ("gradient", "update")]
    return layout, rows | {name: rows[name][..., at] for name in per_coord}
