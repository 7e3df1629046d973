"""Per-task updates: how much of the step that an optimizer took is each task's.

The step of nearly every torch optimizer is linear in the history of its gradients, given the denominator that it
actually used (AdaTask, Eq. 2). So each part of the gradient (a task's, the residual, the coupled weight decay, and the
momentum that was there before anybody looked) is fed through the same linear map, and the parts sum to the step taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record import answers
from dominance.record.rules import rule_for, solo_for, traced_for
from dominance.record.rules.lbfgs_parts import LBFGSParts
from dominance.record.rules.linear import Group, Linear, Rule, full
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.parts import Parts
from dominance.record.rules.pool import Pool
from dominance.record.rules.solo import Solo
from dominance.record.rules.traced import DECAY, OUTSIDE, RESIDUAL, UNATTRIBUTED
from dominance.record.split.given import hyper_parameters
from dominance.record.split.momentum import Memory
from dominance.record.split.packs import Member, Packed, Packs, can_be_packed
from dominance.record.split.products import TILE
from dominance.record.split.sampled import picked
from dominance.record.split.splits import GradientSplit, Sizes, StepSplit, closure_of
from dominance.record.split.tiles import can_be_cut, is_flat, tiles

_CLOSES_TO = 1e-2
"""Error of the sum of the parts, beside the rounding of theta, from which on a step that was followed is not split."""

_FEWEST_PACKED = 2
_USUAL_CARRY = 0.9

_HALF_ROUNDINGS = 4
"""A step that is computed in half precision is known to about this many spacings of its numbers."""


@dataclass
class _Before:
    """What is kept of one parameter from before the step."""

    group: Group
    theta: Tensor
    memory: Memory
    state: Any
    rows: Tensor | None = None
    """The rows that ``theta`` is of, where only these are to be split."""
    index: Tensor | None = None
    """The coordinates that ``theta`` is of, where only these are to be split."""
    whole: Tensor | None = None
    """All of theta then."""


class Attributor(OfOptimizer):
    """Splits the steps of one optimizer. Reads it, and never writes to it, to its parameters or to their gradients.

    Of N scalar parameters it keeps a copy (N numbers), and for an optimizer with momentum N numbers for each task and,
    where they are not zero, for the residual, the coupled decay and the unattributed momentum. The solo update takes
    two copies of the parameters and of the optimizer's state during the step.

    Args:
        optimizer: any torch.optim.Optimizer.
        attribution: "additive", "solo" or "both"; a step that is not linear is split "solo" whatever is asked.
        keep: keep the optimizer alive.
    """

    def __init__(self, optimizer: Optimizer, attribution: str = "additive", *, keep: bool = True) -> None:
        super().__init__(optimizer, keep=keep)
        self.given = hyper_parameters(optimizer)
        """Of each group, as they were when this was made: before the first step that it splits."""
        self._rule = rule_for(optimizer)
        self._traced = traced_for(optimizer) if self._rule is None else None
        self._attribution = attribution
        self.step_skipped = False
        """Whether the last step was left out inside a fused optimizer, after an overflow found by GradScaler."""
        self.unclosed = 0
        """Steps of one parameter whose parts did not sum to it, though the optimizer's step is linear: not split."""
        self._carry = 0.0
        self._solo: Solo | None = None
        self._solo_decided = False
        self._memories: dict[Tensor, Memory] = {}
        self._before: dict[Tensor, _Before] = {}
        self._theta: dict[Tensor, Tensor] = {}
        self._room = Pool()
        self._packs = Packs()

    @property
    def additive(self) -> bool:
        """Whether its step is linear in its gradients; of a class without a rule, a copy is tried when first asked."""
        return self._rule is not None or (self._traced is not None and self._traced.linear)

    @property
    def cannot_be_tried(self) -> bool:
        """Whether its step could not be run on a copy, so that nobody knows what it would be."""
        return self._traced is not None and not self._traced.linear and not self._traced.tried

    @property
    def _splits_additively(self) -> bool:
        return self._attribution != "solo" and self.additive

    @property
    def _solo_way(self) -> Solo | None:
        """How solo updates are computed; None where none are wanted."""
        if not self._solo_decided:
            self._solo_decided = True
            self._solo = solo_for(self.optimizer) if self._attribution != "additive" or not self.additive else None
        return self._solo

    @property
    def has_momentum(self) -> bool:
        """Whether splitting needs a burst of steps in a row: some parameter group remembers earlier gradients."""
        if not self._splits_additively:
            return False
        if self._rule is not None:
            return any(map(self._rule.remembers, self.optimizer.param_groups))
        return self._traced is not None and self._traced.remembers

    @property
    def carry(self) -> float:
        """Of the momentum of one step, how much goes into the next, as the steps split so far have shown; 0.9, the
        default of most, where it is no one number.
        """
        return self._carry or _USUAL_CARRY

    @property
    def state_dominated(self) -> bool:
        """Whether some task's solo update at the last step was mostly what the optimizer's momentum does by itself:
        the lengths of solo updates cannot tell the tasks apart then, and alike does not mean balanced.
        """
        return self._solo is not None and self._solo.state_share > 0.5

    @property
    def note(self) -> str:
        """One sentence: how the steps of this optimizer are split."""
        name = type(self.optimizer).__name__
        if self._splits_additively:
            how = "split additively by linearity, with the optimizer's own denominator"
            how += f", {self._traced.how}" if self._traced is not None else ""
            how += "; momentum is replayed for each part" if self.has_momentum else ""
            how += f"; {self.unclosed} parameter steps do not sum and are not split" if self.unclosed else ""
        elif self.additive:
            how = "not split additively, as asked"
        else:
            how = "not linear in its gradients, so no additive update exists"
            how = how if self._traced is None else self._traced.reason
        solo = "" if self._solo_way is None else f"; {self._solo_way.note}"
        if self.state_dominated:
            solo += "; some task's solo updates are mostly the optimizer's momentum and do not tell the tasks apart"
        refused = any(p.is_complex() for group in self.optimizer.param_groups for p in group["params"])
        return f"{name}: {how}{solo}{'; complex parameters are left out' if refused else ''}"

    def begin_burst(self) -> None:
        """Forget the momenta of the tasks: what the optimizer holds now becomes unattributed."""
        self._memories.clear()
        if self._traced is not None:
            self._traced.forget()

    def moves_rows(self, parameter: Tensor) -> bool:
        """Whether a sparse gradient of this parameter moves the rows that it holds and no others, and these alone can
        be split."""
        if self._rule is None or not self._splits_additively or self._solo_way is not None:
            return False
        groups = [group for group in self.optimizer.param_groups if any(p is parameter for p in group["params"])]
        return any(map(self._rule.moves_rows, groups))

    @torch.no_grad()
    def before_step(
        self,
        parameters: Iterable[Tensor],
        theta: Mapping[Tensor, Tensor] | None = None,
        rows: Mapping[Tensor, Tensor] | None = None,
        sampled: Mapping[Tensor, Tensor] | None = None,
    ) -> None:
        """Keep what the step will overwrite; to be called from the optimizer's step pre-hook.

        Args:
            parameters: those whose steps are wanted; others than this optimizer's, and complex ones, are passed over.
            theta: copies of some that the caller has made, and will not write to before the step is split.
            rows: of some, the rows that are all that the step will move; ``theta`` has these of them.
            sampled: of some, the coordinates that their steps are to be split at, of the parameter laid flat.
        """
        copies, rows, sampled = theta or {}, rows or {}, sampled or {}
        groups = {p: group for group in self.optimizer.param_groups for p in group["params"]}
        self._before = {}
        for p in parameters:
            if p not in groups or p.is_complex():
                continue
            group, memory, state = groups[p], Memory(), None
            if self._rule is not None and self._splits_additively:
                buffer, state = self._rule.memory(p, group), self._rule.before(p, group)
                known = self._memories.get(p)
                if known is not None and known.current(buffer):
                    memory = known
                elif buffer is not None:
                    memory.unattributed = full(buffer).clone() if p not in sampled else full(buffer)
            before = self._copy(p) if p not in copies else copies[p]
            self._before[p] = _Before(group, before, memory, state, rows.get(p))
            if p in sampled:
                self._before[p] = _sampled(self._before[p], p, sampled[p])
        if self._traced is not None and self._splits_additively:
            self._traced.before_step()
        if self._solo_way is not None:
            self._solo_way.before_step(list(self._before))

    def can_be_sampled(self, parameter: Tensor) -> bool:
        """Whether a step of this parameter can be split at some of its coordinates by themselves."""
        if self._rule is None or not self._rule.picks or not self._splits_additively or self._solo_way is not None:
            return False
        return any(p is parameter for group in self.optimizer.param_groups for p in group["params"])

    @property
    def wants_evaluations(self) -> bool:
        """Whether ``evaluated`` is to be called: the step may be made of the gradients of several evaluations."""
        return self._splits_additively and isinstance(self._traced, LBFGSParts)

    def evaluated(self, loss: float, gradients: Mapping[Tensor, GradientSplit]) -> None:
        """The closure of the step in progress has returned a loss, with these gradients.

        Args:
            loss: what it returned.
            gradients: by parameter, as for ``after_step``.
        """
        if isinstance(self._traced, LBFGSParts):
            self._traced.evaluated(loss, self._fed(gradients))

    def asked(self) -> Iterator[answers.Asked]:
        """What the split of the step just taken asks of the optimizer."""
        held = [group.get("lr") for group in self.optimizer.param_groups]
        held += [self.optimizer.state[p].get("step") for p in self._before if p in self.optimizer.state]
        held.append(getattr(self.optimizer, "found_inf", None))
        yield from ((answers.VALUE, each) for each in held if isinstance(each, Tensor) and each.numel() == 1)

    def after_step(self, gradients: Mapping[Tensor, GradientSplit]) -> dict[Tensor, StepSplit]:
        """Split the step just taken; to be called from the optimizer's step post-hook.

        Args:
            gradients: by parameter. One that is missing counts as gradient of no task (residual). A fused step under
                GradScaler unscales ``.grad`` itself: what it was fed is to be read after the step.

        Returns:
            One split for each parameter given to ``before_step`` that took part in the step.
        """
        return dict(self._splits(gradients, Pool(reuse=False)))

    def follow(self, gradients: Mapping[Tensor, GradientSplit]) -> None:
        """``after_step``, where nothing is wanted of the step but what it leaves of each task in the momentum."""
        for _ in self.packed(gradients, gradients):
            pass
        for _ in self.splits(gradients, in_tiles=True):
            pass

    def splits(
        self, gradients: Mapping[Tensor, GradientSplit], *, in_tiles: bool = False
    ) -> Iterator[tuple[Tensor, StepSplit]]:
        """``after_step`` one parameter at a time, faster and in less memory: the additive parts and the total are
        overwritten when the next one is drawn. All have to be drawn.

        Args:
            gradients: as for ``after_step``.
            in_tiles: large parameters may come in tiles, one after the other, each of which says its ``place``.
        """
        yield from self._splits(gradients, self._room, in_tiles=in_tiles)
        self._room.trim()

    @torch.no_grad()
    def packed(self, gradients: Mapping[Tensor, GradientSplit], wanted: Container[Tensor]) -> Iterator[Packed]:
        """Of the step just taken, the splits of small parameters, many in one; ``splits`` has the others then.

        Args:
            gradients: as for ``after_step``.
            wanted: parameters that may be split so.
        """
        rule = self._rule
        if rule is None or not self._splits_additively or self._solo_way is not None or overflow_found(self.optimizer):
            return
        small = []
        for p, before in self._before.items():
            gradient = gradients.get(p)
            whole = before.rows is None and before.index is None
            if whole and gradient is not None and p in wanted and can_be_packed(p, before.theta, gradient):
                small.append((p, before, gradient))
        if len(small) < _FEWEST_PACKED:
            return
        rule.room.restart()
        linears = rule.several([(p, before.group) for p, before, _ in small])
        if linears is None:
            linears = [self._linear(rule, p, before, gradient.total) for p, before, gradient in small]
        members = [
            Member(p, before.theta, linear, before.memory, gradient)
            for (p, before, gradient), linear in zip(small, linears, strict=True)
        ]
        for together, packed in self._packs.split(members):
            for member in together:
                self._split_done(rule, member.parameter, self._before.pop(member.parameter), member.linear)
            yield packed

    @torch.no_grad()
    def _splits(
        self, gradients: Mapping[Tensor, GradientSplit], room: Pool, *, in_tiles: bool = False
    ) -> Iterator[tuple[Tensor, StepSplit]]:
        self.step_skipped = overflow_found(self.optimizer)
        solo: Mapping[Tensor, dict[str, Tensor]] = {}
        traced: dict[Tensor, Parts] = {}
        if self._solo_way is not None and not self.step_skipped:
            solo = self._solo_way.after_step({p: split.tasks for p, split in gradients.items()})
        if self._traced is not None and self._splits_additively and not self.step_skipped:
            traced = self._traced.after_step(self._fed(gradients))
        unclosed, followed, unknown = self.unclosed, len(traced), 0
        for p in list(self._before):
            before = self._before.pop(p)
            if p.grad is None and p not in gradients:
                continue
            if in_tiles and (linear := self._in_tiles(p, before, gradients.get(p))) is not None:
                for split in self._split_tiles(p, linear, before, gradients[p], room):
                    yield p, split
                continue
            room.restart()
            theta = full(before.theta)
            now = p.detach() if before.rows is None else p.detach().index_select(0, before.rows)
            now = now if before.index is None else picked(now, before.index, p.numel())
            total = torch.sub(full(now), theta, out=room.take(theta))
            split = StepSplit(total, solo=solo.get(p, {}), rows=before.rows, whole=before.whole)
            if self._solo_way is not None and not solo and not self.step_skipped:
                split.solo = (
                    {task: torch.full_like(theta, torch.nan) for task in gradients[p].tasks} if p in gradients else {}
                )
            if self.step_skipped:
                split.closure = 0.0
            elif p in traced:
                self._take_traced(split, traced[p], theta, torch.finfo(p.dtype).eps, room)
            elif self._traced is not None and self._splits_additively:
                unknown += 1
            elif self._rule is not None and self._splits_additively:
                self._split_by_rule(self._rule, p, split, before, gradients.get(p), room)
            yield p, split
        if self._traced is not None and self.unclosed - unclosed > followed / 2:
            self._traced.give_up("what a copy of it does is not what it does")
            self._solo_decided = False
        self.unclosed += unknown

    def _split_by_rule(
        self, rule: Rule, p: Tensor, split: StepSplit, before: _Before, gradient: GradientSplit | None, room: Pool
    ) -> None:
        theta = full(before.theta)
        rule.room.restart()
        linear = self._linear(rule, p, before, None if gradient is None else gradient.total)
        memory = before.memory if before.rows is None else before.memory.of(before.rows)
        self._split(split, linear, memory, theta, gradient or GradientSplit({}, p.grad), room)
        if before.rows is not None:
            before.memory.put(before.rows, memory, p)
        if answers.waits(theta):
            split.sizes = Sizes.measured(split, theta, room)
        else:
            split.closure, split.rounding = closure_of(split, theta, torch.finfo(p.dtype).eps, room)
        self._split_done(rule, p, before, linear)

    def _linear(self, rule: Rule, p: Tensor, before: _Before, total: Tensor | None) -> Linear:
        """The step just taken by a parameter that was fed this gradient in all."""
        # What it is sparse in is known of .grad alone
        rule.fed = p.grad if total is None or (p.grad is not None and p.grad.is_sparse) else total
        rule.rows, rule.index = before.rows, before.index
        linear = rule.linear(p, before.group, full(before.theta), before.state)
        rule.fed = rule.rows = rule.index = None
        return linear

    def _split_done(self, rule: Rule, p: Tensor, before: _Before, linear: Linear) -> None:
        if isinstance(linear.carry, float):
            self._carry = max(self._carry, linear.carry)
            if linear.carry == 0:
                before.memory.unattributed = None
        before.memory.fade(linear)
        before.memory.stamp(rule.memory(p, before.group))
        self._memories[p] = before.memory

    def _in_tiles(self, p: Tensor, before: _Before, gradient: GradientSplit | None) -> Linear | None:
        """The step of a parameter that can be split a tile at a time; None where it is to be split as a whole."""
        rule = self._rule
        if rule is None or not self._splits_additively or self.step_skipped or self._solo_way is not None:
            return None
        if (
            gradient is None
            or before.rows is not None
            or before.index is not None
            or p.numel() <= TILE
            or not is_flat(before.theta)
        ):
            return None
        if answers.waits(p):  # each operation is a launch there, whatever its size
            return None
        rule.room.restart()
        linear = self._linear(rule, p, before, gradient.total)
        return linear if can_be_cut(p, linear, before.memory, gradient) else None

    def _split_tiles(
        self, p: Tensor, linear: Linear, before: _Before, gradient: GradientSplit, room: Pool
    ) -> Iterator[StepSplit]:
        sizes, eps = Sizes(), torch.finfo(p.dtype).eps
        for tile in tiles(p, before.theta, linear, before.memory, gradient):
            room.restart()
            theta = full(tile.theta)
            split = StepSplit(torch.sub(full(tile.now), theta, out=room.take(theta)), place=tile.place)
            self._split(split, tile.linear, tile.memory, theta, tile.gradient, room)
            split.closure, split.rounding = sizes.take(split, theta, room).closure(eps)
            yield split
        assert self._rule is not None
        self._split_done(self._rule, p, before, linear)

    def _fed(self, gradients: Mapping[Tensor, GradientSplit]) -> dict[Tensor, tuple[Tensor, Parts]]:
        """What the step was fed, and its parts, by parameter."""
        found: dict[Tensor, tuple[Tensor, Parts]] = {}
        for p in self._before:
            split = gradients.get(p)
            if split is None:
                if p.grad is not None:
                    found[p] = (p.grad, {RESIDUAL: p.grad})
                continue
            parts: Parts = {("task", task): full(g) for task, g in split.tasks.items()}
            if split.residual is not None:
                parts[RESIDUAL] = full(split.residual)
            whole = split.total if split.total is not None else p.grad
            if whole is None:
                whole = torch.stack(list(parts.values())).sum(0)
            found[p] = (whole.to_dense() if whole.layout != torch.strided else whole, parts)
        return found

    def _take_traced(self, split: StepSplit, parts: Parts, theta: Tensor, eps: float, room: Pool) -> None:
        """Enter the parts of the step; where they do not sum to it, beyond rounding, the step is not split."""
        given = {name: part.to(theta.dtype) for name, part in parts.items()}
        split.tasks = {name[1]: part for name, part in given.items() if isinstance(name, tuple)}
        split.residual, split.unattributed = given.get(RESIDUAL), given.get(UNATTRIBUTED)
        split.decay, split.outside = given.get(DECAY), given.get(OUTSIDE)
        closure, rounding = closure_of(split, theta, eps, room)
        assert self._traced is not None
        known_to = _HALF_ROUNDINGS * self._traced.eps
        limit, rounding = _CLOSES_TO + 4 * rounding + known_to, rounding + known_to
        if closure <= limit:
            split.closure, split.rounding = closure, rounding
            return
        self.unclosed += 1
        split.tasks, split.residual, split.unattributed, split.decay, split.outside = {}, None, None, None, None

    def _copy(self, parameter: Tensor) -> Tensor:
        """A copy of the parameter, in the room of the last one."""
        kept = self._theta.get(parameter)
        if kept is None or kept.shape != parameter.shape or kept.dtype != parameter.dtype:
            kept = self._theta[parameter] = torch.empty_like(parameter.detach())
        return kept.copy_(parameter)

    def _split(
        self, split: StepSplit, step: Linear, memory: Memory, theta: Tensor, gradient: GradientSplit, room: Pool
    ) -> None:
        """Feed every part through the step's linear map."""
        for task in dict.fromkeys((*memory.tasks, *gradient.tasks)):
            u = gradient.tasks.get(task)
            kept, share = step.respond(memory.tasks.get(task), None if u is None else full(u), step.sign, room)
            if kept is not None:
                memory.tasks[task] = kept
            if share is not None:
                split.tasks[task] = share
        residual = None if gradient.residual is None else full(gradient.residual)
        memory.residual, split.residual = step.respond(memory.residual, residual, step.sign, room)
        decayed = theta if step.coupled != 0 else None
        memory.decay, split.decay = step.respond(memory.decay, decayed, step.coupled, room)
        if step.decoupled != 0:
            if split.decay is None:
                split.decay = torch.mul(theta, -step.decoupled, out=room.take(theta))
            else:
                split.decay.add_(theta, alpha=-step.decoupled)
        if isinstance(step.carry, float) and step.carry == 0:
            memory.unattributed = None
        memory.unattributed, split.unattributed = step.respond(memory.unattributed, None, 1.0, room)


def _sampled(before: _Before, parameter: Tensor, index: Tensor) -> _Before:
    """The same at these coordinates alone."""
    size = parameter.numel()
    memory = before.memory.turned(lambda kept: picked(kept, index, size))
    theta = picked(before.theta, index, size)
    return dataclasses.replace(before, theta=theta, memory=memory, index=index, whole=before.theta)


def overflow_found(optimizer: Optimizer) -> bool:
    """Whether the step in progress is left out inside a fused optimizer, because GradScaler found an overflow.

    Only meaningful while the step's hooks run; other optimizers are not called at all after an overflow.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(answers.value(found) if isinstance(found, Tensor) else found)
