"""What a method does for one model of the script: its combiner, and the passes between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.optim import Optimizer

from dominance.benchmarks.train.methods import Divided, combiner_of
from dominance.cure.choice import Choice
from dominance.cure.companion import Companion
from dominance.cure.placed import FixedScaler
from dominance.cure.rehearsed import KnownPass
from dominance.cure.window import Window
from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.gradients import Sharing, accumulate, grad, listeners, task_gradients
from dominance.optim.engine.held import added, scaled
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.scaling import spoil
from dominance.optim.engine.task_gradients import Loss, Placed, Start, TaskGradients, finite, times
from dominance.record.parameters import ParameterTable

Losses = Mapping[str, Loss]


class ModelCombiner:
    """Combines the gradients of one model's tasks.

    With one backward() a step it is ``combiner.backward(losses, parameters)``. With several, of micro-batches or of
    one task each, the tasks' gradients are added up, task by task, and combined anew after each: ``.grad`` is what the
    method makes of all that came since the last step.

    Args:
        choice: the method.
        given: its options.
        table: the model's parameters and their names.
        named: the tasks that the user named.
        seed: of the method's random numbers.
        quiet: in which passes are made that neither the script nor its recording sees.
    """

    def __init__(
        self,
        choice: Choice,
        given: Divided,
        table: ParameterTable,
        *,
        named: Sequence[str] | None,
        seed: int,
        quiet: Callable[[], Any],
    ) -> None:
        self._choice, self._given, self._seed, self._quiet = choice, given, seed, quiet
        self._named = tuple(named or ())
        self.table = table
        self._loaded: dict[str, Any] = {}
        self.combiner: Combiner | None = None
        self._sharing = Sharing()
        self.window: Window | None = None
        self.companion: Companion | None = None
        self.steps = 0
        self.several = False
        """Whether a step has been seen that several backward() make."""
        self.own_step = choice.method.step in ("adatask", "pub")
        self._last_passes = 1

    def need_losses(self) -> bool:
        """Whether the method looks at the losses' values."""
        return self._choice.method.combiner is not None

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers."""
        if self.combiner is None:
            return {}
        learnt = {} if self.companion is None else self.companion.state_dict()
        return {"combiner": self.combiner.state_dict(), "learnt": learnt}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it when the next window begins."""
        self._loaded, self.window = state, None

    def begin(self, tasks: Iterable[str]) -> Window:
        """The window that a pass belongs to: the one that is open, or another."""
        window = self.window
        if window is not None and not window.stepped and window.untouched():
            return window
        # After a step; or the gradients were thrown away, or changed: then what comes is added to them.
        self._make(tuple(tasks))
        if self.combiner is not None and "combiner" in self._loaded:
            self.combiner.load_state_dict(self._loaded["combiner"])
        if self.companion is not None:
            self.companion.load_state_dict(self._loaded.get("learnt", {}))
            self.companion.zero_grad()
        self._loaded = {}
        before = {} if self.combiner is None else self.combiner.kept()
        self.window = Window(before)
        return self.window

    def _make(self, tasks: tuple[str, ...]) -> None:
        if self.combiner is None:
            every = tuple(dict.fromkeys([*self._named, *tasks]))
            self.combiner = combiner_of(self._choice.method, every, self._seed, self._given)
            if self.combiner is not None:
                self.combiner.sharing = self._sharing
        if self.combiner is not None and self.companion is None:
            self.companion = Companion(list(self.combiner.parameters()))

    def backward(
        self, losses: Losses, parameters: Sequence[Tensor], scale: float | None, *, retain_graph: bool, first: bool
    ) -> None:
        """Fill ``.grad`` of these parameters.

        Args:
            first: keep the tasks' gradients as well, since another backward() may follow in this step.
        """
        window = self.begin(losses)
        window.scale = scale
        self._look_back(window, losses)
        if self.own_step:
            self._keep(window, losses, parameters, scale, retain_graph=retain_graph)
        elif window.passes and window.held is not None:
            self._again(window, self._taken(losses, parameters, scale, retain_graph=retain_graph), scale)
        elif self.several and not window.passes:
            window.remember(parameters)
            self._again(window, self._taken(losses, parameters, scale, retain_graph=retain_graph), scale)
        else:
            if first:
                window.remember(parameters)
                with self._quiet():
                    window.held = self._taken(losses, parameters, scale, retain_graph=True)
            assert self.combiner is not None
            scaler = None if scale is None else FixedScaler(scale)
            self.combiner.backward(losses, parameters, scaler=scaler, retain_graph=retain_graph)
            window.wrote(parameters)
        window.passes += 1
        window.tasks |= dict.fromkeys(losses)

    def again(self, known: KnownPass, *, retain_graph: bool) -> None:
        """The same for a backward() like others before it, to which nobody listens."""
        window, combiner, scale = self.window, self.combiner, known.scale
        losses: Losses = known.losses
        if isinstance(combiner, LossWeighting):
            combiner.flat = True  # as is every graph that was looked at, and rehearsed
        else:
            losses = {task: Placed(loss.detach(), Start([loss], flat=True)) for task, loss in known.losses.items()}
        begins = window is not None and window.stepped and not self._loaded
        if self.own_step or self.several or not begins or combiner is None:
            self.backward(losses, known.parameters, scale, retain_graph=retain_graph or bool(known.beside), first=False)
        else:
            if self.companion is not None:
                self.companion.zero_grad()
            self.window = window = Window({}, passes=1, tasks=dict.fromkeys(losses), scale=scale)
            self._look_back(None, losses)
            scaler = None if scale is None else FixedScaler(scale)
            combiner.backward(losses, known.parameters, scaler=scaler, retain_graph=retain_graph or bool(known.beside))
            window.wrote(known.parameters)
        if known.beside:
            edges = [GradientEdge(*edge) for edge, _ in known.beside]
            entering = [gradient for _, gradient in known.beside]
            self.add(grad(edges, known.parameters, entering, retain_graph=retain_graph), known.parameters)

    def _taken(
        self, losses: Losses, parameters: Sequence[Tensor], scale: float | None, *, retain_graph: bool
    ) -> TaskGradients:
        how = "auto" if self.combiner is None else self.combiner.how
        return task_gradients(
            losses, parameters, sharing=self._sharing, how=how, scale=scale or 1.0, retain_graph=retain_graph
        )

    def _keep(
        self,
        window: Window,
        losses: Losses,
        parameters: Sequence[Tensor],
        scale: float | None,
        *,
        retain_graph: bool,
    ) -> None:
        """For an optimizer that steps from the tasks' gradients: manipulated, kept, and their sum in ``.grad``."""
        found = self._taken(losses, parameters, scale, retain_graph=retain_graph)
        if scale is not None and not finite([*found.losses, *(g for row in found.rows for g in row)]):
            spoil(found.parameters)
            window.wrote(found.parameters, window.copied(found.parameters))
            return
        weights: dict[str, float] | None = dict.fromkeys(found.tasks, 1.0)
        if self.combiner is not None:
            mixture = self.combiner.mix(found)
            found, weights = mixture.rows(), mixture.weights()
        if scale is not None:
            found = scaled(found, scale)
        total = found.total()
        alone = not window.written and all(p.grad is None for p in found.parameters)
        accumulate(found.parameters, total)
        for listener in listeners:
            listener.effective(found, weights)
        window.held = found if window.held is None else added(window.held, found)
        # Where nothing lay there, ``.grad`` is a copy of the sum itself.
        left = {id(p): g for p, g in zip(found.parameters, total, strict=True) if g is not None} if alone else None
        window.wrote(found.parameters, window.copied(found.parameters) if left is None else left)

    def add(self, rest: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> None:
        """Add a gradient that is of no task, like a regulariser's, to ``.grad``, where it stays as it is.

        An optimizer that steps from the tasks' gradients gets it evenly from the tasks that reach the parameter, as
        weight decay.
        """
        window = self.window
        accumulate(parameters, rest)
        if window is None:
            return
        if self.own_step:
            self._spread(window, rest, parameters)
            return
        if window.held is not None:
            for p, g in zip(parameters, rest, strict=True):
                if g is not None and p in window.base:
                    before = window.base[p]
                    window.base[p] = g.clone() if before is None else before + g
        window.wrote(parameters)

    def _spread(self, window: Window, rest: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> None:
        if window.held is None:
            return
        extra = {id(p): g for p, g in zip(parameters, rest, strict=True) if g is not None}
        held = window.held
        rows = [list(row) for row in held.rows]
        for i, p in enumerate(held.parameters):
            reaching = [row for row in rows if row[i] is not None] or rows
            for row in reaching if id(p) in extra else ():
                share = extra[id(p)] / len(reaching)
                before = row[i]
                row[i] = share if before is None else before + share
        window.held = replace(held, rows=rows)
        window.wrote(parameters, window.copied(parameters))

    def _again(self, window: Window, new: TaskGradients, scale: float | None) -> None:
        """Combine what came since the last step, with this added, and put that into ``.grad``."""
        assert self.combiner is not None
        if scale is not None and not finite([*new.losses, *(g for row in new.rows for g in row)]):
            spoil([*window.parameters, *new.parameters])
            window.wrote(new.parameters)
            return
        window.remember(new.parameters)
        if window.passes and window.told is None and window.held is not None:
            # The first pass was made for all there is: only now it shows that another follows.
            window.told = self._mixed(window, window.held)[0] if listeners else window.held
        held = new if window.held is None else added(window.held, new)
        if any(task not in (window.held or new).tasks for task in new.tasks) and self.steps == 0:
            self.combiner = self.companion = None
            self._make(held.tasks)
            window.before = {} if self.combiner is None else self.combiner.kept()
        rows, total, weights = self._mixed(window, held)
        window.put_back()
        accumulate(held.parameters, total if scale is None else times(total, scale))
        if listeners:
            _tell(rows, window.told, weights if window.told is None else None, scale)
        window.held, window.told = held, rows
        window.wrote(held.parameters)

    def _mixed(self, window: Window, held: TaskGradients) -> Any:
        assert self.combiner is not None
        self.combiner.put_back(window.before)
        if self.companion is not None:
            self.companion.zero_grad()
        mixture = self.combiner.mix(held)
        return (mixture.rows() if listeners else held), mixture.total(), mixture.weights()

    def _look_back(self, window: Window | None, losses: Losses) -> None:
        """For a method that asks how the losses are after a step: those of the batch that comes next.

        Args:
            window: the one that this pass belongs to; None: it is the first of it.
        """
        if (window is not None and window.passes) or self.combiner is None or not self.steps:
            return
        if type(self.combiner).after_step is Combiner.after_step:
            return
        before = getattr(self.combiner, "before", {})
        now = {
            task: _times(loss, self._last_passes) if self._last_passes > 1 else loss
            for task, loss in losses.items()
            if task in before
        }
        if now:
            self.combiner.after_step(now)

    def over(self, optimizer: Optimizer) -> None:
        """The optimizer has stepped."""
        window = self.window
        if window is None or window.stepped:
            return
        window.stepped = True
        self.several |= window.passes > 1
        self._last_passes = window.passes
        self.steps += 1
        if self.companion is not None:
            self.companion.step(optimizer, window.scale)
        window.held = window.told = None
        window.base.clear()
        window.copies = {}


def _tell(
    rows: TaskGradients, before: TaskGradients | None, weights: dict[str, float] | None, scale: float | None
) -> None:
    """Listeners are told what has been added to ``.grad``, as always."""
    new = rows if before is None else added(rows, _negative(before))
    if scale is not None:
        new = scaled(new, scale)
        weights = None if weights is None else {task: weight * scale for task, weight in weights.items()}
    for listener in listeners:
        listener.effective(new, weights)


def _times(loss: Loss, factor: int) -> Loss:
    """Its value times that; nothing is differentiated."""
    if isinstance(loss, Placed):
        return replace(loss, value=loss.value * factor)
    return loss.detach() * factor


def _negative(gradients: TaskGradients) -> TaskGradients:
    rows = [times(row, -1.0) for row in gradients.rows]
    return replace(gradients, rows=rows, losses=tuple(torch.neg(loss) for loss in gradients.losses))
