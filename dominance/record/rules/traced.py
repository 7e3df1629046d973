"""The additive split of a step that nobody wrote a rule for: by following its parts through a copy of the optimizer."""

from __future__ import annotations

import math
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.linear import full
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.parts import THETA, Parts
from dominance.record.rules.shadow import Fence, Shadow, shadow_of, step_of
from dominance.record.rules.trace import Trace

RESIDUAL, UNATTRIBUTED, DECAY, OUTSIDE = "residual", "unattributed", "decay", "outside"
"""Parts beside the tasks', which are called ("task", name)."""
_PROBE = ("task", "probe")
_PROBE_STEPS = 3
"""Steps that move something, of a copy, from which its linearity is told."""
_PROBED_AT_MOST = 12
_LINEAR_TO = 1e-3
"""Error of the sum of the parts, in double precision, up to which a step is linear."""
_WEIGHTS = frozenset({"z", "x0", "p0", "z0", "slow", "slow_buffer", "slow_param", "slow_params", "slow_weights"})
"""Names under which optimizers keep weights of their own, rather than gradients."""
_SLOW = ("slow", "lookahead")
"""How the names of Lookahead's weights begin."""

Path = tuple[Hashable, ...]


@dataclass
class _Kept:
    """The state of one optimizer's copy, before the step, and what is known of its memory."""

    shadow: Shadow
    memory: dict[Path, Parts]


class Traced(OfOptimizer):
    """Splits the steps of an optimizer of any class, where they are linear in its gradients given its denominators.

    Whether they are is found out once, on a copy in double precision, over a few steps from random gradients; each step
    is then run once more on a copy, with the parts of what it was fed carried through. What the class's code does is
    fenced off: random states are put back, its prints are swallowed, no hook fires.

    State that gradients go into linearly (momentum) is remembered part by part from one step to the next. Weights that
    the optimizer keeps beside the model's (the second sequence of schedule-free methods) are remembered by how far they
    are from the model's; a pull towards slow weights (Lookahead) is a part of its own, ``outside``.
    """

    how = "each step followed through a copy"

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._fence = Fence(optimizer, foreign=True)
        self._linear: bool | None = None
        self._paths: set[Path] = set()
        self._weights: dict[Path, bool] = {}
        self._memory: dict[Path, Parts] = {}
        self._stamps: dict[Path, tuple[weakref.ref[Tensor], int]] = {}
        self._kept: _Kept | None = None
        self.eps = 0.0
        """Spacing of the coarsest numbers that the last step was computed in, where they were coarser than it is."""
        self.reason = ""
        """Why the steps cannot be split additively."""

    @property
    def linear(self) -> bool:
        """Whether its steps are linear in its gradients; found out when first asked."""
        if self._linear is None:
            self._linear = bool(self._fence.run(lambda: self._probe(wide=True)))
            if self._fence.failed:  # somebody's code that takes no double precision: in its own, then
                self._fence = Fence(self.optimizer, foreign=True)
                self._linear = bool(self._fence.run(lambda: self._probe(wide=False)))
            self.reason = self.reason or self._fence.failed
        return self._linear

    @property
    def tried(self) -> bool:
        """Whether a step could be run on a copy, so that its linearity is known."""
        return self._linear is not None and not self._fence.failed

    @property
    def remembers(self) -> bool:
        """Whether it carries earlier gradients into its steps."""
        return self.linear and bool(self._paths)

    def forget(self) -> None:
        """What its state holds now belongs to gradients that nobody saw."""
        self._memory.clear()
        self._stamps.clear()

    def give_up(self, reason: str) -> None:
        """Split no more: what was found out on a copy does not hold."""
        self._linear, self.reason = False, reason
        self.forget()

    def before_step(self) -> None:
        """Keep its state as it is before the step."""
        self._kept = None
        if not self.linear:
            return
        shadow = self._fence.run(lambda: shadow_of(self.optimizer, decays=True))
        if shadow is None:
            return
        now = dict(_state(self.optimizer, list(shadow.copies)))
        memory = {
            path: self._memory[path]
            for path, (tensor, version) in self._stamps.items()
            if path in now and tensor() is now[path] and now[path]._version == version
        }
        self._kept = _Kept(shadow, memory)

    def after_step(self, fed: Mapping[Tensor, tuple[Tensor, Parts]]) -> dict[Tensor, Parts]:
        """The parts of the step just taken, by parameter: empty where it cannot be run again.

        Args:
            fed: by parameter, the whole gradient and its parts, which sum to it.
        """
        kept, self._kept = self._kept, None
        if kept is None:
            return {}
        run = _Run(kept.shadow, self._paths, self._weights)
        made = self._fence.run(lambda: run.step(fed, kept.memory))
        if made is None:
            self.give_up(self._fence.failed)
            return {}
        self._memory = run.memory
        self.eps = run.eps
        self._paths |= set(run.memory)
        now = dict(_state(self.optimizer, list(kept.shadow.copies)))
        self._stamps = {path: (weakref.ref(now[path]), now[path]._version) for path in run.memory if path in now}
        return {p: parts for p, parts in made.items() if p in fed}

    def _probe(self, *, wide: bool) -> bool:
        """Run some steps of a copy from random gradients; find the memories, and whether the parts sum to the step."""
        for _ in range(4):  # a memory may be fed by another one: until no more are found
            shadow = shadow_of(self.optimizer, decays=True, wide=wide)
            generator = torch.Generator().manual_seed(0)
            run = _Run(shadow, self._paths, self._weights, exact=wide)
            made = run.step(_random_gradients(shadow, generator), {})
            if set(run.memory) <= self._paths:
                break
            self._paths |= set(run.memory)
        moved = 0
        for _ in range(_PROBED_AT_MOST):
            largest = 0.0
            for p, parts in made.items():
                off, size = _error(run.moved(p), parts)
                largest = max(largest, size)
                # Of a gradient that is rounding alone (a bias before batch norm, in double), the step is rounding.
                if not off <= _LINEAR_TO * size + run.spacing(p) + (0.0 if wide else 16 * run.eps * size):
                    self.reason = "not linear in its gradients, so no additive update exists"
                    return False
            moved += largest > 0
            if moved == _PROBE_STEPS:
                return True
            memory = run.memory
            self._paths |= set(memory)
            run = _Run(shadow, self._paths, self._weights, exact=wide)
            made = run.step(_random_gradients(shadow, generator), memory)
        self.reason = "a copy of it moves nothing"
        return False


class _Run:
    """One step of a copy, with the parts of what goes into it."""

    def __init__(self, shadow: Shadow, paths: set[Path], weights: dict[Path, bool], *, exact: bool = False) -> None:
        self._shadow = shadow
        self._exact = exact
        self.eps = 0.0
        """Spacing of the coarsest numbers that the step was computed in."""
        self._paths = paths
        self._weights = weights
        self._before = {c: c.detach().clone() for c in shadow.copies.values()}
        self.memory: dict[Path, Parts] = {}
        """What its state holds of whose gradients after the step."""

    def moved(self, p: Tensor) -> Tensor:
        """The step of the copy."""
        c = self._shadow.copies[p]
        return c.detach() - self._before[c]

    def spacing(self, p: Tensor) -> float:
        """How far apart numbers of the size of the parameter are, times a few."""
        before = self._before[self._shadow.copies[p]]
        return 4 * torch.finfo(before.dtype).eps * float(before.abs().max()) if before.numel() else 0.0

    @torch.no_grad()
    def step(self, fed: Mapping[Tensor, tuple[Tensor, Parts]], memory: Mapping[Path, Parts]) -> dict[Tensor, Parts]:
        """Take it, from these gradients and their parts, and return the parts of the step by the original parameter."""
        optimizer, copies = self._shadow
        trace, own = Trace(exact=self._exact), list(copies.values())
        for p, c in copies.items():
            trace.tag(c, {THETA: self._before[c]})
            c.grad = None
            if p in fed:
                gradient, parts = fed[p]
                c.grad = gradient.detach().to(c.dtype).clone()
                trace.tag(c.grad, parts)
        for path, tensor in _state(optimizer, own):
            beside = self._weights_beside(path, tensor, own)
            if beside is not None:
                trace.tag(tensor, {THETA: beside, **(memory.get(path) or _deviation(path, tensor, beside))})
            elif path in self._paths:
                trace.tag(tensor, memory.get(path) or {UNATTRIBUTED: tensor})
        with trace:
            step_of(optimizer)
        self.eps = trace.eps
        made = {p: _own_removed(trace.parts(c), self._before[c]) for p, c in copies.items()}
        for path, tensor in _state(optimizer, own):
            self._remember(trace, path, tensor, own)
        return made

    def _remember(self, trace: Trace, path: Path, tensor: Tensor, own: list[Tensor]) -> None:
        parts = trace.parts(tensor)
        if not any(name != THETA for name in parts):
            return
        beside = self._weights_beside(path, tensor, own)
        if beside is None:
            kept = dict(parts)
            past = kept.pop(THETA, None)
            if past is not None and past.any():
                kept[DECAY] = kept[DECAY] + past if DECAY in kept else past
        elif _is_slow(path):
            return
        else:
            # How far it is from the model's weights, part by part.
            theirs = trace.parts(beside)
            kept = {}
            for name in dict.fromkeys((*parts, *theirs)):
                zero = torch.zeros((), dtype=tensor.dtype, device=tensor.device)
                apart = parts.get(name, zero) - theirs.get(name, zero)
                label = DECAY if name == THETA else name
                kept[label] = kept[label] + apart if label in kept else apart
        kept = {name: part.clone() for name, part in kept.items() if part.any()}
        if kept:
            self.memory[path] = kept

    def _weights_beside(self, path: Path, tensor: Tensor, own: list[Tensor]) -> Tensor | None:
        """The parameter whose weights this state is another version of; None for every other state."""
        place = next((step.place for step in path if isinstance(step, _Place)), None)
        if place is None or tensor.shape != own[place].shape or not tensor.is_floating_point():
            return None
        c = own[place]
        if path not in self._weights:
            theta = self._before[c]
            near = bool(theta.any()) and (tensor - theta).norm() <= 0.1 * theta.norm()
            self._weights[path] = bool(near) or path[-1] in _WEIGHTS or _is_slow(path)
        return c if self._weights[path] else None


def _is_slow(path: Path) -> bool:
    return any(isinstance(step, str) and step.startswith(_SLOW) for step in path)


def _deviation(path: Path, tensor: Tensor, theta: Tensor) -> Parts:
    return {OUTSIDE if _is_slow(path) else UNATTRIBUTED: full(tensor) - full(theta)}


def _own_removed(parts: Parts, before: Tensor) -> Parts:
    """The parts of the step: of the parameter itself, what has become of it less what it was, which is decay."""
    made = {name: part for name, part in parts.items() if name != THETA}
    decay = parts.get(THETA)
    decay = -before.double() if decay is None else decay - before
    if decay.numel() and decay.abs().max() > 1e-13 * before.abs().max():
        made[DECAY] = made[DECAY] + decay if DECAY in made else decay
    return made


def _error(moved: Tensor, parts: Parts) -> tuple[float, float]:
    """Largest error of the sum of the parts, and the largest entry of the step."""
    if not moved.numel():
        return 0.0, 0.0
    error = -moved
    for part in parts.values():
        error = error + part
    return error.abs().max().item(), moved.abs().max().item()


def _random_gradients(shadow: Shadow, generator: torch.Generator) -> dict[Tensor, tuple[Tensor, Parts]]:
    """One random gradient for each parameter, of the size of its gradient where it has one."""
    made: dict[Tensor, tuple[Tensor, Parts]] = {}
    for p, c in shadow.copies.items():
        if not p.requires_grad or not p.is_floating_point():
            continue
        size = 0.0 if p.grad is None or p.grad.layout is not torch.strided else float(p.grad.float().square().mean())
        size = size**0.5 if math.isfinite(size) and size > 0 else 1e-2
        gradient = (size * torch.randn(p.shape, generator=generator, dtype=torch.float64)).to(c)
        made[p] = (gradient, {_PROBE: gradient})
    return made


@dataclass(frozen=True)
class _Place:
    """Stands for a parameter in a path: its place among the optimizer's."""

    place: int


def _state(optimizer: Optimizer, parameters: Sequence[Tensor]) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor that an optimizer holds besides its parameters, each once, by the keys that lead to it."""
    places = {id(p): _Place(place) for place, p in enumerate(parameters)}
    seen: set[int] = set(places)

    def walk(value: Any, path: Path) -> Iterator[tuple[Path, Tensor]]:
        if id(value) in seen:
            return
        if isinstance(value, Tensor):
            seen.add(id(value))
            yield path, value
        elif isinstance(value, (Mapping, list, tuple, Optimizer)):
            seen.add(id(value))
            inside = value.__dict__ if isinstance(value, Optimizer) else value
            items = inside.items() if isinstance(inside, Mapping) else enumerate(inside)
            for key, item in list(items):
                yield from walk(item, (*path, places.get(id(key), key)))

    yield from walk(optimizer.state, ("state",))
    yield from walk(optimizer, ())
