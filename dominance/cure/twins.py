"""Task-wise optimizers in the place of the script's own: with its hyper-parameters, its groups and its state."""

from __future__ import annotations

import functools
import operator
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.weak import WeakIdKeyDictionary

from dominance.benchmarks.arguments import arguments
from dominance.benchmarks.train.methods import Divided, divided, manipulation_of, task_wise
from dominance.cure.choice import FLAG, Choice
from dominance.cure.model import ModelCombiner
from dominance.cure.refused import Refused
from dominance.optim.engine.held import rescaled, scaled

_FAMILIES: dict[str, tuple[type[Optimizer], ...]] = {
    "adam": (torch.optim.Adam, torch.optim.AdamW),
    "rmsprop": (torch.optim.RMSprop,),
    "adagrad": (torch.optim.Adagrad,),
}
_HYPER: dict[str, dict[str, tuple[str, ...]]] = {
    "adatask": {
        "adam": ("lr", "betas", "eps", "weight_decay", "amsgrad", "foreach"),
        "rmsprop": ("lr", "alpha", "eps", "weight_decay", "foreach"),
        "adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "foreach"),
    },
    "pub": {
        "adam": ("lr", "betas", "eps", "weight_decay"),
        "rmsprop": ("lr", "alpha", "eps", "weight_decay"),
        "adagrad": ("lr", "weight_decay", "eps"),
    },
    "clippy": {"adam": ("lr", "betas", "eps", "weight_decay")},
}
"""Of the script's parameter groups, what the task-wise optimizer takes over."""
_CANNOT = ("maximize", "differentiable", "momentum", "centered")
_CANNOT_BUT_ADATASK = ("amsgrad", "lr_decay", "initial_accumulator_value")
_OWN = (
    *("params", "lr", "betas", "beta", "eps", "weight_decay", "decoupled_weight_decay", "amsgrad", "alpha", "base"),
    *("lr_decay", "initial_accumulator_value", "foreach", "manipulation"),
)


def options_of(choice: Choice) -> Divided:
    """The options of a choice, read.

    Raises:
        BadOption: one that the method does not have, or that cannot be read.
    """
    step = choice.method.step
    own = {} if step == "plain" else arguments(task_wise(step, "adam")[0], hidden=_OWN)
    return divided(choice.method, choice.options, own, FLAG)


class Twins:
    """Takes the steps of the script's optimizers.

    Args:
        choice: the method.
        given: its options.
        model_of: whose gradients an optimizer is about to step from.
        taken_by: the block in which an optimizer takes the step in the place of the script's.
    """

    def __init__(
        self,
        choice: Choice,
        given: Divided,
        model_of: Callable[[Optimizer], ModelCombiner | None],
        taken_by: Callable[[Optimizer], AbstractContextManager[None]],
    ) -> None:
        self._method, self._given, self._model_of, self._taken_by = choice.method, given, model_of, taken_by
        self._made: Any = WeakIdKeyDictionary()
        self._loaded: Any = WeakIdKeyDictionary()
        self._last: tuple[weakref.ref[Optimizer], Any, list[list[Tensor]]] | None = None
        """The optimizer whose step was taken last, the one that took it, and the parameters in their groups."""
        self._twins: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def owns(self, optimizer: Optimizer) -> bool:
        """Whether it is one of the optimizers that step in the place of others."""
        return optimizer in self._twins

    def let_go(self) -> None:
        """Hold no optimizer any more."""
        self._last = None
        self._made.clear()
        self._loaded.clear()

    def install(self) -> list[Callable[[], None]]:
        """From now on; returns what ends that."""
        if self._method.step == "plain":
            return []
        undo: list[Callable[[], None]] = []
        for kind in (kind for family in _HYPER[self._method.step] for kind in _FAMILIES[family]):
            if "step" not in vars(kind):
                continue
            original: Any = kind.step
            kind.step = self._stepping(original)  # type: ignore[method-assign]
            # Whatever is there: torch may have put the hooks of a step around ours by then.
            undo.append(functools.partial(setattr, kind, "step", original))
        return undo

    def _stepping(self, original: Any) -> Callable[..., Any]:
        hooked = bool(getattr(original, "hooked", False))
        bare = original.__wrapped__ if hooked else original

        @functools.wraps(bare)
        def step(optimizer: Optimizer, closure: Callable[[], Any] | None = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            if self._step(optimizer):
                return loss
            bare(optimizer)
            return loss

        if not hooked:
            return step  # torch puts the hooks of a step around it with the first instance of the class
        around: Any = Optimizer.profile_hook_step(step)
        around.hooked = True
        return around  # type: ignore[no-any-return]

    def _step(self, optimizer: Optimizer) -> bool:
        """Take the step, if it is made from tasks' gradients."""
        if self._method.step == "clippy":
            self.check(optimizer)
            self._twin(optimizer, None).step()
            return True
        model = self._model_of(optimizer)
        if model is None or model.window is None:
            return False
        window = model.window
        if bool(getattr(optimizer, "found_inf", 0)):
            return True  # GradScaler's, which has the optimizer itself leave the step out
        if window.held is None:
            raise RuntimeError("the gradients overflowed, and nothing has left the step out: use a GradScaler")
        held = rescaled(window.held, {p: window.copies.get(id(p)) for p in window.held.parameters})
        if held is None:
            raise Refused(
                "the script changes .grad by more than a factor or a limit, and the tasks' shares of that are not known"
            )
        grad_scale = getattr(optimizer, "grad_scale", None)
        if grad_scale is not None:
            held = scaled(held, 1 / grad_scale)
        twin = self._twin(optimizer, model)
        _decay(optimizer, twin, held.parameters)
        twin.take(held)
        with self._taken_by(twin):
            twin.step()
        return True

    def check(self, optimizer: Optimizer) -> None:
        """Whether the method can step in the place of this optimizer.

        Raises:
            Refused: it cannot.
        """
        family = self._family(optimizer)
        forbidden = _CANNOT if self._method.step == "adatask" else (*_CANNOT, *_CANNOT_BUT_ADATASK)
        name = type(optimizer).__name__
        for group in optimizer.param_groups:
            wrong = [option for option in forbidden if group.get(option)]
            if wrong:
                raise Refused(f"it has no form of {name} with {', '.join(f'{o}={group[o]}' for o in wrong)} ({family})")

    def _family(self, optimizer: Optimizer) -> str:
        families = [name for name in _HYPER[self._method.step] if isinstance(optimizer, _FAMILIES[name])]
        if not families:
            known = ", ".join(kind.__name__ for name in _HYPER[self._method.step] for kind in _FAMILIES[name])
            raise Refused(
                f"it steps in the place of {known}, and the script has {type(optimizer).__name__}; take one of these,"
                " or a method that combines gradients"
            )
        return families[0]

    def _twin(self, optimizer: Optimizer, model: ModelCombiner | None) -> Any:
        """The optimizer that steps, with what the script's holds now."""
        family = self._family(optimizer)
        if (last := self._last) is not None and last[0]() is optimizer and not self._loaded:
            held = [group["params"] for group in optimizer.param_groups]
            if len(held) == len(last[2]) and all(map(_same, held, last[2])):
                for mine, theirs in zip(last[1].param_groups, optimizer.param_groups, strict=True):
                    mine.update(self._hyper(optimizer, theirs, family))
                return last[1]
        twin = self._made.get(optimizer)
        groups = self._groups(optimizer, family, model)
        if twin is None or [g["params"] for g in twin.param_groups] != [_tensors(g["params"]) for g in groups]:
            made = self._build(family, groups)
            if twin is not None:  # the script has added parameters
                made.state.update(twin.state)
                if hasattr(twin, "_alpha"):
                    made._alpha, made._steps, made.failures = twin._alpha, twin._steps, twin.failures
            twin = self._made[optimizer] = made
            self._twins.add(twin)
        if optimizer in self._loaded:
            twin.load_state_dict(self._loaded.pop(optimizer))
        for mine, theirs in zip(twin.param_groups, groups, strict=True):
            mine.update({name: value for name, value in theirs.items() if name not in ("params", "param_names")})
        self._last = weakref.ref(optimizer), twin, [list(group["params"]) for group in optimizer.param_groups]
        return twin

    def _build(self, family: str, groups: list[dict[str, Any]]) -> Any:
        call, told = task_wise(self._method.step, family)
        chosen = {**told, **self._method.usual, **self._given.optimizer}
        if self._method.manipulation is not None:
            chosen["manipulation"] = manipulation_of(self._method, self._given)
        return call(groups, **chosen)

    def _groups(self, optimizer: Optimizer, family: str, model: ModelCombiner | None) -> list[dict[str, Any]]:
        known = {} if model is None else model.table.named
        groups = []
        for number, group in enumerate(optimizer.param_groups):
            params: Any = group["params"]
            if self._method.step == "adatask":
                params = [
                    (known[p].name if p in known else f"{number}.{place}", p) for place, p in enumerate(group["params"])
                ]
            groups.append({"params": params, **self._hyper(optimizer, group, family)})
        return groups

    def _hyper(self, optimizer: Optimizer, group: Mapping[str, Any], family: str) -> dict[str, Any]:
        hyper = {name: group[name] for name in _HYPER[self._method.step][family] if name in group}
        if self._method.step != "adatask" and "alpha" in hyper:
            hyper["beta"] = hyper.pop("alpha")
        if family == "adam" and _decoupled(optimizer, group):
            if self._method.step == "pub":
                hyper["weight_decay"] = 0.0
            else:
                hyper["decoupled_weight_decay"] = True
        return hyper

    def state_dict(self, optimizer: Optimizer) -> dict[str, Any]:
        """Of the one that steps in its place; nothing where none does."""
        twin = self._made.get(optimizer)
        return {} if twin is None else {"steps": twin.state_dict()}

    def load_state_dict(self, optimizer: Optimizer, state: Mapping[str, Any]) -> None:
        """Go on from it with the next step."""
        if "steps" in state:
            self._loaded[optimizer] = state["steps"]


def _decoupled(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))


def _decay(optimizer: Optimizer, twin: Any, parameters: tuple[Tensor, ...]) -> None:
    """Decoupled weight decay, where the one that steps has none of its own."""
    for theirs, mine in zip(optimizer.param_groups, twin.param_groups, strict=True):
        if not theirs.get("weight_decay") or mine["weight_decay"] or not _decoupled(optimizer, theirs):
            continue
        stepped = {id(p) for p in parameters}
        with torch.no_grad():
            for p in (p for p in theirs["params"] if id(p) in stepped):
                p.mul_(1 - float(theirs["lr"]) * theirs["weight_decay"])


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _tensors(params: list[Any]) -> list[Tensor]:
    return [item[1] if isinstance(item, tuple) else item for item in params]
