"""A method on the script that is running: its backward() is done in the method's way, before anything else sees it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from dominance.benchmarks.train.methods import Divided
from dominance.cure.checks import adds_up, refuse_script
from dominance.cure.choice import Choice
from dominance.cure.epochs import Epochs
from dominance.cure.model import ModelCombiner
from dominance.cure.placed import placed, starts
from dominance.cure.refused import Refused
from dominance.cure.rehearsed import Rehearsals
from dominance.cure.twins import Twins, options_of
from dominance.errors import DominanceError
from dominance.optim.engine.gradients import grad, own_passes
from dominance.optim.engine.task_gradients import Placed
from dominance.record.guest.hidden import is_hidden
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.silence import batched, traced
from dominance.record.patches import replace
from dominance.record.step_recorder import Look, StepRecorder

KEY = "dominance"
"""Under which the state of a method lies in the state dict of the script's optimizer."""


class _AtWork:
    """While a method works. It stands around each pass and step, and is no generator, which would take longer."""

    def __init__(self, applied: Applied) -> None:
        self._applied = applied

    def __enter__(self) -> None:
        self._applied.begin()

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self._applied.end(error)


class Applied:
    """Uses a method on everything that trains in this process, from ``start`` to ``stop``.

    Args:
        choice: the method.
        watch: the recording of the script.
        say: prints one line to the user.
        error: prints one line to the user, as an error.
        tasks: the tasks that the user named.
        seed: of the method's random numbers.
    """

    def __init__(
        self,
        choice: Choice,
        watch: StepRecorder,
        *,
        say: Callable[[str], None],
        error: Callable[[str], None],
        tasks: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self._choice, self._watch, self._say, self._error = choice, watch, say, error
        self._tasks, self._seed = tasks, seed
        self._given: Divided = options_of(choice)
        self._models: dict[int, ModelCombiner] = {}
        self._rehearsals = Rehearsals()
        self._busy = False
        self._leaves_passes = choice.method.step == "clippy"
        """Whether backward() stays the script's own."""
        self._rested: tuple[ModelCombiner, Sequence[Tensor]] | None = None
        """Whose last backward() was one like others before, and the parameters that it reached."""
        self._steps: tuple[weakref.ref[Optimizer], tuple[ModelCombiner, Sequence[Tensor]]] | None = None
        """An optimizer that was seen to step from the gradients of such a one."""
        self._undo: list[Callable[[], None]] = []
        self._known: set[tuple[int, tuple[str, ...]]] = set()
        self._loaded: list[tuple[Optimizer, dict[str, Any]]] = []
        self._twins = Twins(choice, self._given, self._model_of, watch.taken_by)
        self._epochs = Epochs(choice.epoch, self._epoch)
        self.as_they_were = 0
        """How many backward() were left as they were, because their tasks had no names."""

    def start(self) -> None:
        """From now on; the recording's hooks are in place."""
        self._watch.method = self._choice.name
        self._undo.append(replace(torch.autograd, "_engine_run_backward", self._run_backward))
        self._undo.append(register_optimizer_step_pre_hook(self._before_step).remove)
        self._undo.append(register_optimizer_step_post_hook(self._after_step).remove)
        self._undo += self._twins.install()
        self._undo += self._epochs.install()
        self._undo.append(replace(Optimizer, "state_dict", self._state_dict))
        self._undo.append(replace(Optimizer, "load_state_dict", self._load_state_dict))

    def stop(self) -> None:
        """The script has ended."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._rested = self._steps = None  # of the script's parameters nothing more is held
        self._models.clear()
        self._rehearsals = Rehearsals()
        self._twins.let_go()
        if self.as_they_were:
            self._say(f"{self.as_they_were} backward() were left as they were: the tasks of their losses had no names")

    # The script's backward()

    def _run_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def run(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            if self._busy or self._leaves_passes or not kwargs.get("accumulate_grad") or not self._watch.hooks.active:
                return original(outputs, *args, **kwargs)
            gradients, retain, create, inputs = args[:4]
            if traced() or batched(gradients):
                return original(outputs, *args, **kwargs)
            if not (create or inputs) and self._again(outputs, gradients, retain=bool(retain)):
                return ()
            self._rested = None
            with self._at_work():
                look = self._look(outputs, gradients)
                taken = look is not None and self._backward(look, inputs or (), retain=bool(retain), create=create)
            return () if taken else original(outputs, *args, **kwargs)

        return run

    def _at_work(self) -> _AtWork:
        return _AtWork(self)

    def begin(self) -> None:
        """What is done from here on is no doing of the script's."""
        self._busy = True

    def end(self, error: BaseException | None) -> None:
        """It is over. An error that says that the method cannot be used here ends the script; others go their way."""
        self._busy = False
        at_first = isinstance(error, TypeError | ValueError | NotImplementedError) and not any(
            model.steps for model in self._models.values()
        )
        if at_first or isinstance(error, CannotLook | DominanceError):
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self._error(f"--method {self._choice.name}: {why}")
        raise SystemExit(2)

    def _again(self, outputs: Sequence[Any], gradients: Sequence[Any], *, retain: bool) -> bool:
        """Do as before, where this is a backward() like one that was looked at, in a step that is not recorded."""
        watch = self._watch
        model = self._models.get(id(watch.recording))
        if model is None or not model.steps or self._loaded or not watch.calm(outputs):
            return False
        with self._at_work(), watch.silent:
            known = self._rehearsals.again(outputs[0], gradients[0])
            if known is None or not watch.rests_with_method(outputs):
                return False
            model.again(known, retain_graph=retain)
        self._rested = (model, known.parameters)
        return True

    def _look(self, outputs: Sequence[Any], gradients: Sequence[Any]) -> Look | None:
        look = self._watch.look(outputs, gradients)
        if look.found is None:
            self.as_they_were += 1
            return None
        return look if look.found.tasks else None

    def _backward(self, look: Look, inputs: Sequence[Any], *, retain: bool, create: bool) -> bool:
        found = look.found
        assert found is not None
        if create:
            raise Refused("backward(create_graph=True) needs the graph of the gradients, which a method does not make")
        parameters, others = _parted(look, inputs)
        if not parameters:
            return False
        if self._choice.alone is not None:
            found.tasks = [task for task in found.tasks if task.name == self._choice.alone]
            if not found.tasks:
                return True  # the others send no gradient
        model = self._model(look)
        self._go_on(model, parameters)
        scale = look.recording.announcement.loss_scale
        losses = placed(found.tasks, look.roots, scale, values=model.need_losses())
        self._check_once(look, losses, parameters)
        self._watch.says(
            {task.name: task.loss for task in found.tasks}, {task.name: task.weight / scale for task in found.tasks}
        )
        if others:
            with own_passes():
                self._plain(look, others)
        elif not len(inputs) and model.steps and not look.recording.records:
            self._rehearsals.learn(look, parameters)
        model.backward(
            losses,
            parameters,
            None if scale == 1 else scale,
            retain_graph=retain or bool(found.beside),
            first=model.steps == 0,
        )
        if found.beside:
            edges, entering = starts(found.beside)
            with own_passes():
                rest = grad(edges, parameters, entering, retain_graph=retain)
            model.add(rest, parameters)
        return True

    def _check_once(self, look: Look, losses: Mapping[str, Placed], parameters: Sequence[Tensor]) -> None:
        """See, once for these tasks, whether the method can take the place of the script's own backward().

        Raises:
            Refused: it cannot.
        """
        key, found = (id(look.recording), tuple(losses)), look.found
        assert found is not None
        if key in self._known:
            return
        refuse_script(parameters, look.recording.table.modules)
        self._epochs.check(self._choice.method)
        with self._quiet(look)():
            if self._choice.alone is None:
                adds_up(look.roots, losses, found.beside, parameters, look.recording.announcement.loss_scale)
        self._known.add(key)

    def _plain(self, look: Look, tensors: Sequence[Tensor]) -> None:
        """Leaves that are no parameters get what they would get without us."""
        roots = [root.tensor for root in look.roots if root.tensor is not None]
        entering = [root.gradient for root in look.roots if root.tensor is not None]
        torch.autograd.backward(roots, entering, retain_graph=True, inputs=list(tensors))

    def _quiet(self, look: Look) -> Callable[[], AbstractContextManager[None]]:
        table = look.recording.table
        return lambda: self._watch.hooks.own_pass(table.modules, table.named)

    def _model(self, look: Look) -> ModelCombiner:
        key = id(look.recording)
        if key not in self._models:
            self._models[key] = ModelCombiner(
                self._choice,
                self._given,
                look.recording.table,
                named=self._tasks,
                seed=self._seed,
                quiet=self._quiet(look),
            )
        return self._models[key]

    # The script's optimizers

    def _model_of(self, optimizer: Optimizer) -> ModelCombiner | None:
        """Whose gradients this optimizer is about to step from."""
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for model in reversed(self._models.values()):
            if model.window is not None and any(id(p) in held for p in model.window.parameters):
                return model
        return None

    def _ours(self, optimizer: Optimizer) -> bool:
        if is_hidden(optimizer):  # a copy on which the recorder tries what the step is like
            return True
        companions = [model.companion for model in self._models.values() if model.companion is not None]
        return self._twins.owns(optimizer) or any(each.owns(optimizer) for each in companions)

    def _rests(self, optimizer: Optimizer) -> bool:
        """Whether it steps from a backward() like others before, as it did before."""
        rested, known = self._rested, self._steps
        if rested is None or known is None or known[0]() is not optimizer:
            return False
        return known[1][0] is rested[0] and known[1][1] is rested[1]

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._busy:
            return
        if self._rests(optimizer):
            if self._choice.method.step != "plain":
                with self._at_work():
                    self._twins.check(optimizer)
            return
        if self._ours(optimizer):
            return
        if not any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            return  # nothing to step from, or a closure is still to make it
        model = self._model_of(optimizer)
        with self._at_work():
            self._check(model, optimizer)

    def _check(self, model: ModelCombiner | None, optimizer: Optimizer) -> None:
        """Whether the method has had its say in this step; of the first steps, before they change anything."""
        if self._choice.method.step == "clippy":
            self._twins.check(optimizer)
            return
        if model is None:
            if not any(each.steps for each in self._models.values()):
                if self._choice.alone is not None:
                    raise Refused(f"no task {self._choice.alone} was found in what this step is made of")
                raise Refused(
                    "no task was found in what this step is made of; see what `dominance record` finds without --method"
                )
            return
        tasks = () if model.window is None else tuple(model.window.tasks)
        if self._choice.alone is not None:
            return
        known = {*tasks, *(self._tasks or ())}
        if not model.steps and (
            strange := [name for name in self._choice.options.get("weights", ()) if name not in known]
        ):
            raise Refused(f"no task {', '.join(strange)} was found in the first step, but {', '.join(tasks)}")
        if not model.steps and len(known) < 2:
            raise Refused(
                f"one task was found ({', '.join(tasks)}), and it needs two or more in a step; name them with --tasks,"
                " or their outputs with --columns"
            )
        if model.own_step:
            self._twins.check(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._busy:
            return
        if self._rested is not None and self._rests(optimizer):
            self._rested[0].over(optimizer)
            self._epochs.stepped()
            return
        if self._ours(optimizer):
            return
        model = self._model_of(optimizer)
        if model is None:
            return
        if self._rested is not None and self._rested[0] is model:
            self._steps = (weakref.ref(optimizer), self._rested)
        with self._at_work():
            if not model.steps:  # of a closure
                self._check(model, optimizer)
            model.over(optimizer)
        self._epochs.stepped()

    def _epoch(self) -> None:
        for model in self._models.values():
            if model.combiner is not None:
                model.combiner.epoch()

    # Checkpoints

    def _state_dict(self, save: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """What a method remembers goes with the state dict of the script's optimizer."""

        @functools.wraps(save)
        def state_dict(optimizer: Optimizer) -> dict[str, Any]:
            state = save(optimizer)
            model = None if self._ours(optimizer) else self._model_of(optimizer)
            held = {**({} if model is None else model.state_dict()), **self._twins.state_dict(optimizer)}
            if held:
                state[KEY] = held
            return state

        return state_dict

    def _load_state_dict(self, load: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(load)
        def load_state_dict(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
            load(optimizer, {name: value for name, value in state.items() if name != KEY})
            if KEY in state and not self._ours(optimizer):
                self._loaded.append((optimizer, dict(state[KEY])))
                self._twins.load_state_dict(optimizer, state[KEY])

        return load_state_dict

    def _go_on(self, model: ModelCombiner, parameters: Sequence[Tensor]) -> None:
        """Hand what the script has loaded to the model that it is of."""
        ids = {id(p) for p in parameters}
        for one in list(self._loaded):
            if any(id(p) in ids for group in one[0].param_groups for p in group["params"]):
                model.load_state_dict(one[1])
                self._loaded.remove(one)


def _parted(look: Look, inputs: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that a backward() by these inputs, or by all leaves, reaches; and the leaves that are none."""
    wanted = {id(tensor) for tensor in inputs}
    reached = [p for p in look.reached if not wanted or id(p) in wanted]
    ids = {id(p) for p in reached}
    parameters = [p for p in look.recording.table.named if id(p) in ids]
    mine = {id(p) for p in parameters}
    others = [p for p in reached if id(p) not in mine]
    parameters += [p for p in others if isinstance(p, nn.Parameter)]
    return parameters, [p for p in others if not isinstance(p, nn.Parameter)]
