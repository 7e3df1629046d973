"""The task gradients of the step in progress, from backward() to the optimizer's step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.attribution import GradientSplit
from dominance.record.hooks import dense
from dominance.record.rows import inner_products
from dominance.record.tasks import Found, FoundTask


@dataclass
class Call:
    """Backward passes of one kind: one loss, or one loss in several micro-batches."""

    root: str
    total: float
    expanded: bool
    gradients: dict[str, dict[Tensor, Tensor]]
    weight: dict[str, float]
    weighted_loss: dict[str, float]
    passes: int = 1
    plain_loss: dict[str, float] = field(default_factory=dict)
    """The last loss of each task: what is known of one whose weight is zero."""

    def add(self, other: Call) -> None:
        """Take in one more micro-batch."""
        self.passes += 1
        self.total += other.total
        self.plain_loss |= other.plain_loss
        for name, gradients in other.gradients.items():
            mine = self.gradients.setdefault(name, {})
            for parameter, gradient in gradients.items():
                mine[parameter] = mine[parameter] + gradient if parameter in mine else gradient
            self.weight[name] = self.weight.get(name, 0.0) + other.weight[name]
            self.weighted_loss[name] = self.weighted_loss.get(name, 0.0) + other.weighted_loss[name]

    def of(self, gradients: dict[str, dict[Tensor, Tensor]]) -> Call:
        """The same call with some of its gradients."""
        return dataclasses.replace(
            self,
            gradients=gradients,
            weight=dict(self.weight),
            weighted_loss=dict(self.weighted_loss),
            plain_loss=dict(self.plain_loss),
        )

    def collapsed(self) -> Call:
        """The same as one task, named after the loss."""
        together: dict[Tensor, Tensor] = {}
        for gradients in self.gradients.values():
            for parameter, gradient in gradients.items():
                together[parameter] = together[parameter] + gradient if parameter in together else gradient
        one = {self.root: float(self.passes)}
        loss = {self.root: self.total}
        return Call(self.root, self.total, False, {self.root: together}, one, loss, self.passes)


def call_of(found: Found, gradients: Mapping[str, dict[Tensor, Tensor]]) -> Call:
    """The record of one backward() call."""
    tasks: dict[str, FoundTask] = {task.name: task for task in found.tasks}
    return Call(
        found.root_name,
        found.total,
        found.expanded,
        {name: gradients.get(name, {}) for name in tasks},
        {name: task.weight for name, task in tasks.items()},
        {name: task.weight * task.loss for name, task in tasks.items()},
        plain_loss={name: task.loss for name, task in tasks.items()},
    )


@dataclass
class Resolved:
    """Task gradients as the optimizer is fed them."""

    settled: Settled
    splits: dict[Tensor, GradientSplit]
    totals: dict[Tensor, Tensor]
    weight: dict[str, float]
    loss: dict[str, float]
    total: float


@dataclass
class Settled:
    """What the gradients that an optimizer is fed are made of."""

    calls: list[Call]
    fed: list[Call]
    """Those of them whose gradients are in ``.grad`` as backward() left them."""
    totals: dict[Tensor, Tensor]
    factors: dict[Tensor, Tensor | float | None]
    """What each parameter's gradient was multiplied by since backward(); None: changed in another way."""
    mixed: set[Tensor]
    """Parameters into whose ``.grad`` the script put a mixture of its own."""

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in order of appearance."""
        return list(dict.fromkeys(name for call in self.calls for name in call.gradients))

    @property
    def reach(self) -> dict[Tensor, list[str]]:
        """Which tasks reach each parameter, as far as this step shows."""
        reach: dict[Tensor, list[str]] = {}
        for call in self.calls:
            for name, gradients in call.gradients.items():
                for p, gradient in gradients.items():
                    # All zero says nothing: one node of a compiled graph gives every head a gradient of every loss.
                    if name not in reach.setdefault(p, []) and gradient.any():
                        reach[p].append(name)
        return reach

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each task in what backward() was called on."""
        weights = dict.fromkeys(self.tasks, 0.0)
        for name, call in self.counted():
            weights[name] += call.weight[name]
        return weights

    def counted(self) -> Iterator[tuple[str, Call]]:
        """The calls that each task's weight and loss come from: those in ``.grad``, others only where it has none."""
        live = {name for call in self.fed for name in call.gradients}
        for call in self.calls:
            fed = any(call is other for other in self.fed)
            yield from ((name, call) for name in call.gradients if fed or name not in live)


@dataclass
class Ledger:
    """What is known of the gradients since the last step.

    ``fed`` are the calls whose gradients are in ``.grad`` now; ``seen`` those that the script took out of it again
    (a method that reads each task's gradient and writes its own mixture) or took with autograd.grad.
    """

    fed: list[Call] = field(default_factory=list)
    seen: list[Call] = field(default_factory=list)
    after: dict[Tensor, Tensor] = field(default_factory=dict)
    """Copy of each parameter's ``.grad`` as the last backward() left it."""
    frozen: bool = False
    """Set when those copies are the totals: only a closure's first evaluation counts, or a step was given them."""

    def __bool__(self) -> bool:
        return bool(self.fed or self.seen)

    def clear(self) -> None:
        """Forget everything: a step was taken, or given up."""
        self.fed, self.seen, self.after, self.frozen = [], [], {}, False

    def note(self, call: Call | None, parameters: Iterable[Tensor]) -> None:
        """A backward() has been accumulated into ``.grad``: of these parameters now, if it is still going on."""
        if call is not None:
            _merge(self.fed, call)
        self.after |= {p: dense(p.grad.detach()).clone() for p in parameters if p.grad is not None}

    def feed(self, call: Call) -> None:
        """A step is given these gradients and no others, whatever ``.grad`` holds."""
        self.clear()
        self.fed.append(call)
        for gradients in call.gradients.values():
            for p, g in gradients.items():
                self.after[p] = self.after[p] + g if p in self.after else g
        self.frozen = True

    def note_taken(self, call: Call) -> None:
        """Gradients were taken with autograd.grad: ``.grad`` does not hold them yet."""
        _merge(self.seen, call)

    def emptied(self) -> set[Tensor]:
        """Parameters whose gradient the script has zeroed since; it is then only ``seen``."""
        return {
            p for p, left in self.after.items() if (p.grad is None or not dense(p.grad.detach()).any()) and left.any()
        }

    def set_aside(self, parameters: set[Tensor]) -> None:
        """The gradients of these parameters were zeroed without a step."""
        kept = []
        for call in self.fed:
            gone = call.of(
                {name: {p: g for p, g in held.items() if p in parameters} for name, held in call.gradients.items()}
            )
            left = call.of(
                {name: {p: g for p, g in held.items() if p not in parameters} for name, held in call.gradients.items()}
            )
            if any(gone.gradients.values()):
                _merge(self.seen, gone)
            if any(left.gradients.values()):
                kept.append(left)
        self.fed = kept
        self.after = {p: left for p, left in self.after.items() if p not in parameters}

    def overflowed(self) -> bool:
        """Whether a gradient that was thrown away was not finite: what GradScaler skips a step for."""
        return any(not torch.isfinite(gradient).all() for gradient in self.after.values())

    @property
    def roots(self) -> set[str]:
        """Names of the losses that had a backward() of their own into ``.grad``."""
        return {call.root for call in self.fed}

    def settle(self, parameters: Iterable[Tensor], grad_scale: float = 1.0) -> Settled:
        """Which calls the gradients in ``.grad`` are made of, and what those were multiplied by since.

        Args:
            parameters: those that the optimizer steps.
            grad_scale: factor on ``.grad`` that the optimizer itself has not taken out of it (fused with GradScaler).
        """
        totals: dict[Tensor, Tensor] = {}
        for p in parameters:
            if self.frozen and p in self.after:
                totals[p] = self.after[p]
            elif p.grad is not None:
                fed = dense(p.grad.detach())
                still_scaled = grad_scale != 1.0 and p in self.after and torch.equal(fed, self.after[p])
                totals[p] = fed / grad_scale if still_scaled else fed
        live = {p for call in self.fed for gradients in call.gradients.values() for p in gradients}
        known = {p for call in self.seen for gradients in call.gradients.values() for p in gradients}
        factors = {p: _factor(total, self.after.get(p)) for p, total in totals.items()}
        several = len(self.seen) + len(self.fed) > 1
        # A parameter that only a zeroed or taken gradient is known of, or whose gradient was replaced.
        mixed = {p for p in totals if (p not in live and p in known) or (factors[p] is None and several)}
        if not mixed:
            level = _levelled(self.fed)
            return Settled(level, level, totals, factors, mixed)
        calls = _levelled([*self.seen, *self.fed])
        return Settled(calls, calls[len(self.seen) :], totals, factors, mixed)

    def resolve(self, parameters: Iterable[Tensor], grad_scale: float = 1.0) -> Resolved:
        """Effective task gradients and the residual: per parameter they sum to the gradient that was fed.

        Args as in ``settle``.
        """
        settled = self.settle(parameters, grad_scale)
        splits, factor = _scaled(settled)
        mixtures, mixed_weight = _projected(settled)
        splits |= mixtures
        weight = settled.weights
        loss = dict.fromkeys(weight, 0.0)
        plain: dict[str, float] = {}
        for call in settled.calls:
            plain |= call.plain_loss
        for name, call in settled.counted():
            loss[name] += call.weighted_loss[name]
        loss = {
            name: value / weight[name] if weight[name] and not math.isnan(weight[name]) else plain.get(name, math.nan)
            for name, value in loss.items()
        }
        weight = {name: value * factor for name, value in weight.items()} | mixed_weight
        total = sum(call.total for call in settled.fed or settled.calls)
        return Resolved(settled, splits, settled.totals, weight, loss, total)


def joined(parts: Sequence[Resolved]) -> tuple[dict[str, float], dict[str, float], float]:
    """Losses, weights and the total of a step that several optimizers took together."""
    loss: dict[str, float] = {}
    weight: dict[str, float] = {}
    for part in parts:
        loss.update(part.loss)
        for name, value in part.weight.items():
            if name not in weight or math.isnan(weight[name]):
                weight[name] = value
    return loss, weight, parts[0].total if parts else math.nan


def _scaled(settled: Settled) -> tuple[dict[Tensor, GradientSplit], float]:
    """Between backward() and step() gradients are rescaled (unscaling, clipping): the tasks' shares with them."""
    splits = {}
    used: list[Tensor | float] = []
    for p, total in settled.totals.items():
        if p in settled.mixed:
            continue
        # A gradient that was changed in another way keeps its shares, and the change becomes residual.
        known = settled.factors[p]
        factor = 1.0 if known is None else known
        used.append(factor)
        unscaled = isinstance(factor, float) and factor == 1.0
        tasks = {name: g if unscaled else g * factor for name, g in _summed(settled.fed, p).items()}
        splits[p] = GradientSplit(tasks, _rest(p, total, tasks))
    return splits, _uniform(used)


def _summed(calls: Iterable[Call], parameter: Tensor) -> dict[str, Tensor]:
    parts: dict[str, Tensor] = {}
    for call in calls:
        for name, gradients in call.gradients.items():
            if parameter in gradients:
                gradient = gradients[parameter]
                parts[name] = parts[name] + gradient if name in parts else gradient
    return parts


def _merge(calls: list[Call], call: Call) -> None:
    for known in calls:
        if known.root == call.root and known.gradients.keys() == call.gradients.keys():
            known.add(call)
            return
    calls.append(call)


def _levelled(calls: list[Call]) -> list[Call]:
    """Where several losses had a backward() each, each of them is a task: none is taken apart further."""
    roots = {call.root for call in calls}
    if len(roots) < 2:
        return calls
    return [
        call.collapsed() if call.expanded and len(call.gradients) > 1 and not roots >= call.gradients.keys() else call
        for call in calls
    ]


def _factor(total: Tensor, before: Tensor | None) -> Tensor | float | None:
    """What the gradient was multiplied by since backward(): a number, one per coordinate, or None: neither."""
    if before is None or before.shape != total.shape or torch.equal(before, total):
        return 1.0
    square = float((before.double() * before.double()).sum())
    if not math.isfinite(square):
        return 1.0
    if square == 0.0:
        return None if total.any() else 1.0
    factor = float((before.double() * total.double()).sum()) / square
    size = float(torch.linalg.vector_norm(total.double()))
    if float(torch.linalg.vector_norm(total.double() - factor * before.double())) <= 1e-5 * size:
        return factor
    ratio = torch.where(before == 0, torch.ones_like(total), total / before)
    clipped = bool(((ratio >= 0) & (ratio <= 1)).all()) and bool((total[before == 0] == 0).all())
    # Clipping by value: a factor between 0 and 1 on each coordinate, the same for every task.
    return ratio if clipped else None


def _uniform(factors: Iterable[Tensor | float]) -> float:
    """The one factor of all parameters; NaN where there is no single one."""
    numbers = list(factors)
    if not numbers or any(isinstance(factor, Tensor) for factor in numbers):
        return math.nan if numbers else 1.0
    plain = [factor for factor in numbers if isinstance(factor, float)]
    middle = sorted(plain)[len(plain) // 2]
    same = all(abs(factor - middle) <= 1e-4 * abs(middle) for factor in plain)
    return middle if same else math.nan


def _rest(parameter: Tensor, total: Tensor, tasks: Mapping[str, Tensor]) -> Tensor | None:
    """The part of the gradient that belongs to no task; None where it is rounding."""
    rest = total.clone()
    size = float(torch.linalg.vector_norm(total))
    for gradient in tasks.values():
        rest -= gradient
        size += float(torch.linalg.vector_norm(gradient))
    rounding = 4 * torch.finfo(parameter.dtype).eps
    return None if tasks and float(torch.linalg.vector_norm(rest)) <= rounding * size else rest


def _projected(settled: Settled) -> tuple[dict[Tensor, GradientSplit], dict[str, float]]:
    """The script mixed the task gradients itself: find the mixture w with sum_k w_k g_k nearest to what it fed.

    Gradient manipulation acts on the shared parameters together, and leaves task-specific ones alone; so the weights
    are fitted for each set of parameters that the same tasks reach, and the distance that remains is residual.
    """
    totals = settled.totals
    groups: dict[tuple[str, ...], list[tuple[Tensor, dict[str, Tensor]]]] = {}
    for p in settled.mixed:
        parts = _summed(settled.calls, p)
        groups.setdefault(tuple(parts), []).append((p, parts))
    splits: dict[Tensor, GradientSplit] = {}
    weights: dict[str, float] = {}
    for names, members in sorted(groups.items(), key=lambda group: len(group[0])):
        if not names:
            splits.update({p: GradientSplit({}, totals[p].clone()) for p, _ in members})
            continue
        gram = sum(inner_products([*parts.values(), totals[p]]) for p, parts in members)
        matrix = torch.as_tensor(gram)
        found = torch.linalg.lstsq(matrix[:-1, :-1], matrix[:-1, -1:], driver="gelsd").solution[:, 0]
        for p, parts in members:
            tasks = {name: parts[name] * float(w) for name, w in zip(names, found, strict=True)}
            splits[p] = GradientSplit(tasks, _rest(p, totals[p], tasks))
        # The largest set of tasks comes last: the weights of the shared parameters are the ones that are kept.
        held = members[0][0]
        for name, w in zip(names, found, strict=True):
            weights[name] = float(w) * sum(c.weight[name] for c in settled.calls if held in c.gradients.get(name, ()))
    return splits, weights
