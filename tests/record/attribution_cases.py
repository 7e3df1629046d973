"""A small two-task problem with hand-written gradients, and every optimizer of torch.optim with its options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit, StepSplit

SHAPES = {"shared": (5, 4), "bias": (5,), "head": (3, 5), "lazy": (4, 3)}
"""Both tasks reach shared, bias and lazy; only task "a" reaches head; lazy has a gradient at two steps in three."""


@dataclass
class Problem:
    """Task k pulls every parameter towards its own target, with noise; an l2 term on "shared" belongs to no task."""

    dtype: torch.dtype = torch.float32
    names: tuple[str, ...] = tuple(SHAPES)
    sparse: bool = False
    seed: int = 0
    parameters: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        draw = {name: self._normal(SHAPES[name]) for name in self.names}
        self.parameters = {name: (0.3 * x).requires_grad_() for name, x in draw.items()}
        self.targets = {t: {n: self._normal(SHAPES[n]) for n in self.names} for t in ("a", "b")}
        self.step = 0

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    @torch.no_grad()
    def backward(self) -> dict[Tensor, GradientSplit]:
        """Set every .grad, as a backward pass would, and return the split of it."""
        splits: dict[Tensor, GradientSplit] = {}
        for name, p in self.parameters.items():
            noise = {t: self._normal(SHAPES[name]) for t in ("a", "b")}
            size = {"a": 1.0, "b": 0.1}
            tasks = {
                t: size[t] * (p - self.targets[t][name] + 0.5 * noise[t])
                for t in (("a",) if name == "head" else ("a", "b"))
            }
            residual = 0.02 * p if name == "shared" else None
            if self.sparse:
                rows = torch.randperm(len(p), generator=self.generator)[: 1 + self.step % 3]
                kept = torch.zeros(len(p), 1, dtype=self.dtype).index_fill_(0, rows, 1)
                tasks = {t: g * kept for t, g in tasks.items()}
                residual = None if residual is None else residual * kept
            total: Tensor = sum(tasks.values()) + (0 if residual is None else residual)
            if name == "lazy" and self.step % 3 == 2:
                p.grad = None
                continue
            p.grad = total.to_sparse(1) if self.sparse else total.clone()
            splits[p] = GradientSplit(tasks, residual)
        self.step += 1
        return splits

    def groups(self, **unequal: Any) -> list[dict[str, Any]]:
        """Two parameter groups; ``unequal`` are the hyper-parameters of the second."""
        parameters = list(self.parameters.values())
        return [{"params": parameters[:2]}, {"params": parameters[2:], **unequal}]


@dataclass
class Case:
    """One class of torch.optim with options; the second parameter group has a third of the learning rate."""

    name: str
    options: dict[str, Any]
    sparse: bool = False

    def make(self, problem: Problem, **more: Any) -> torch.optim.Optimizer:
        options = {**self.options, **more}
        lr = options.get("lr", 1e-2)
        return getattr(torch.optim, self.name)(problem.groups(lr=lr / 3), **{**options, "lr": lr})

    def problem(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> Problem:
        names = ("shared", "lazy") if self.sparse else tuple(SHAPES)
        return Problem(dtype, names, self.sparse, seed)

    def __str__(self) -> str:
        flags = ["sparse"] * self.sparse
        return "-".join([self.name, *flags, *(f"{k}={v}" for k, v in self.options.items() if k != "lr")])


LINEAR = [
    Case("SGD", {}),
    Case("SGD", {"weight_decay": 0.1, "maximize": True}),
    Case("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    Case("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    Case("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    Case("SGD", {"momentum": 0.8}, sparse=True),
    Case("Adagrad", {"lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    Case("Adagrad", {"maximize": True}),
    Case("Adagrad", {}, sparse=True),
    Case("RMSprop", {"weight_decay": 0.1}),
    Case("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    Case("RMSprop", {"centered": True, "momentum": 0.5, "maximize": True}),
    Case("Adadelta", {"weight_decay": 0.1, "lr": 0.5}),
    Case("Adadelta", {"rho": 0.5, "maximize": True, "lr": 1.0}),
    Case("Adam", {"weight_decay": 0.1}),
    Case("Adam", {"amsgrad": True, "maximize": True, "weight_decay": 0.1}),
    Case("Adam", {"betas": (0.0, 0.9), "eps": 1e-3}),
    Case("AdamW", {"weight_decay": 0.1}),
    Case("AdamW", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    Case("Adamax", {"weight_decay": 0.1}),
    Case("Adamax", {"maximize": True}),
    Case("NAdam", {"weight_decay": 0.1}),
    Case("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.05, "maximize": True}),
    Case("RAdam", {"weight_decay": 0.1}),
    Case("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    Case("RAdam", {"betas": (0.9, 0.5)}),
    Case("ASGD", {"weight_decay": 0.1, "lambd": 0.05, "t0": 20}),
    Case("ASGD", {"maximize": True, "alpha": 0.5}),
    Case("SparseAdam", {}, sparse=True),
    Case("SparseAdam", {"maximize": True, "betas": (0.5, 0.9)}, sparse=True),
    Case("Adafactor", {"weight_decay": 0.1}),
    Case("Adafactor", {"eps": (1e-3, 1e-2), "d": 1.5, "maximize": True, "beta2_decay": -0.5}),
]


def recorded(
    attributor: Attributor, problem: Problem, steps: int, step: Callable[[], Any] | None = None
) -> Iterator[tuple[dict[Tensor, GradientSplit], dict[Tensor, StepSplit]]]:
    """Train and split, as the recorder does."""
    for _ in range(steps):
        gradients = problem.backward()
        attributor.before_step(problem.parameters.values())
        (step or attributor.optimizer.step)()
        yield gradients, attributor.after_step(gradients)


def gap(split: StepSplit) -> float:
    """Largest error of the sum of the parts, relative to the largest entry of the step; computed here anew."""
    parts = [*split.tasks.values(), split.residual, split.unattributed, split.decay]
    total = torch.stack([part for part in parts if part is not None]).sum(0, dtype=torch.float64)
    largest = split.total.abs().max().item()
    off = (total - split.total).abs().max().item()
    return off / largest if largest else (0.0 if off == 0 else math.inf)
