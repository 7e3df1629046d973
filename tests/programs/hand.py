"""What a program does by hand: the gradients of its tasks, what its optimizers were fed, where its weights went.

Programs import this module. Lines of theirs that end in ``# by hand`` are there only in the run that makes the truth;
``keep`` is there in every run, and takes down what the training left behind.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

Gradients = dict[str, Tensor]
_named: Gradients = {}
_low: Gradients = {}
"""Parameters whose gradients are taken, where the optimizer steps copies of them."""
_book: dict[str, Gradients] = {}
_variants: list[dict[str, Gradients]] = []
_losses: dict[str, tuple[float, float]] = {}
_fed: list[Gradients] = []
_stepped: set[str] = set()
_rules: dict[str, tuple[str, dict[str, Any]]] = {}
"""For each parameter the class of the optimizer that stepped it last, and its options."""
_before: Gradients | None = None
_begin: Gradients | None = None
"""The weights at the first loss of the step."""
_share = 1.0
_closure = ""
_evaluations = 0
_noted = -1
"""Which evaluation of a closure the losses are of that were noted last."""
_reentrant = False
_model = 0
_kept_times = 0
rows: list[dict[str, Any]] = []
"""One for each training step."""
kept: dict[str, str] = {}
"""What the training left behind, as digests."""


def watch(*nets: nn.Module, **named: nn.Module | Tensor) -> None:
    """From now on these are the parameters; a new call begins a new model."""
    global _model, _before, _begin
    if _named:
        _close_last()
        _model += 1
        _before = _begin = None
    else:
        register_optimizer_step_pre_hook(_steps)
    _named.clear()
    _low.clear()
    clear()
    for net in nets:
        _named.update((n.replace("_orig_mod.", ""), p) for n, p in net.named_parameters())
    for name, thing in named.items():
        inner = thing.named_parameters() if isinstance(thing, nn.Module) else [("", thing)]
        _named.update((f"{name}.{n}" if n else name, p) for n, p in inner)


def share(value: float) -> None:
    """What the gradients noted from now on count: one over the number of micro-batches."""
    global _share
    _share = value


def closure(which: str) -> None:
    """Of the closure's evaluations in a step, the "first" or the "last" is the one whose gradient is meant."""
    global _closure
    _closure = which


def reentrant() -> None:
    """Checkpointing of the old kind works with backward() alone."""
    global _reentrant
    _reentrant = True


def masters(low: Iterable[Tensor], master: Iterable[Tensor]) -> None:
    """The optimizer steps these copies of the parameters; gradients come by the parameters."""
    copies = {id(p): m for p, m in zip(low, master, strict=True)}
    for name, p in list(_named.items()):
        _low[name] = p
        _named[name] = copies[id(p)]


def clear(*parts: str) -> None:
    """The script empties .grad, of all parameters or of those whose names begin so."""
    for book in [_book, *_variants]:
        for gradients in book.values():
            for name in list(gradients):
                if not parts or name.startswith(parts):
                    del gradients[name]
    if not parts:
        _book.clear()
        _variants.clear()
        _losses.clear()


def note(**losses: Any) -> None:
    """The tasks' losses, each alone or with its weight, before backward()."""
    global _begin, _noted
    if _begin is None:
        _begin = _theta()
        if rows and rows[-1]["model"] == _model:
            rows[-1]["next_begin"] = _begin
    if _closure == "first" and _fed:
        return
    if _closure == "last" and _noted != _evaluations:
        clear()
        _noted = _evaluations
    for task, entry in losses.items():
        loss, weight = entry if isinstance(entry, tuple) else (entry, 1.0)
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            continue
        factor = float(torch.as_tensor(weight).detach()) * _share
        for name, gradient in _gradients(loss).items():
            _add(_book, task, name, gradient * factor)
        _book.setdefault(task, {})
        held, product = _losses.get(task, (0.0, 0.0))
        _losses[task] = (held + factor, product + factor * float(loss.detach()))


def put(**gradients: Mapping[str, Tensor] | Iterable[Tensor | None]) -> None:
    """Task gradients that the script itself has made: by name, or in the order of the parameters."""
    for task, given in gradients.items():
        pairs = given.items() if isinstance(given, Mapping) else zip(_named, given, strict=False)
        for name, gradient in pairs:
            if gradient is not None:
                _add(_book, task, name, _dense(gradient))
        _book.setdefault(task, {})


def scale(factor: float | Tensor, *parts: str) -> None:
    """The script multiplies .grad."""
    for gradients in _book.values():
        for name in gradients:
            if not parts or name.startswith(parts):
                gradients[name] = gradients[name] * float(factor)
    for task, (weight, product) in _losses.items():
        if not parts:
            _losses[task] = (weight * float(factor), product * float(factor))


def variant(change: Callable[[str, Tensor], Tensor]) -> None:
    """The script changes .grad so that the tasks' gradients may as well be told as these."""
    _variants.append({task: {n: change(n, g) for n, g in gradients.items()} for task, gradients in _book.items()})


def ratio(name: str, raw: Gradients) -> Tensor:
    """What each entry of a parameter's .grad has been multiplied by since it was ``raw``."""
    grad = _named[name].grad
    assert grad is not None
    return torch.where(raw[name] == 0, 1.0, grad.double() / raw[name])


def centred(name: str, gradient: Tensor) -> Tensor:
    """Gradient centralisation."""
    if gradient.dim() < 2:
        return gradient
    return gradient - gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True)


def fed() -> None:
    """What .grad holds now is what the step uses."""
    global _evaluations
    _evaluations += 1
    if _closure == "first" and _fed:
        return
    if _closure == "last":
        _fed.clear()
    _fed.append({name: _dense(p.grad) for name, p in _named.items() if p.grad is not None})


def start() -> Gradients:
    """The weights, where a step begins that is written in two."""
    return _theta()


def split(trunk: Iterable[Tensor]) -> tuple[list[str], list[str]]:
    """Names of these parameters, and of the others."""
    mine = {id(p) for p in trunk}
    return [n for n, p in _named.items() if id(p) in mine], [n for n, p in _named.items() if id(p) not in mine]


def before(theta: Gradients | None = None) -> None:
    """The step begins; or has begun at these weights."""
    global _before
    theta = theta or _theta()
    if rows and rows[-1]["model"] == _model:
        rows[-1]["next"] = theta
    _before = theta
    _fed.clear()
    _stepped.clear()
    _rules.clear()
    if not _closure:
        fed()


def after() -> None:
    """The step is over."""
    global _begin
    rows.append(
        {
            "model": _model,
            "tasks": {task: dict(gradients) for task, gradients in _book.items()},
            "variants": [{task: dict(g) for task, g in book.items()} for book in _variants],
            "losses": dict(_losses),
            "fed": list(_fed),
            "stepped": set(_stepped) or set(_named),
            "rules": dict(_rules),
            "begin": _begin or _before,
            "before": _before,
            "after": _theta(),
        }
    )
    _begin = None
    if _closure:
        clear()


def keep(*things: object) -> None:
    """Take down what the training left behind; the last statement of a program."""
    global _kept_times
    _close_last()
    _kept_times += 1
    for place, thing in enumerate(things):
        name = f"{'again ' * (_kept_times - 1)}{place}:{type(thing).__name__}"
        if isinstance(thing, nn.Module):
            kept[f"{name} weights"] = _digest([(n, p.detach()) for n, p in thing.named_parameters()])
            kept[f"{name} grad"] = _digest([(n, p.grad) for n, p in thing.named_parameters()])
            kept[f"{name} buffers"] = _digest(list(thing.named_buffers()))
            kept[f"{name} hooks"] = str([_hooks(p) for p in thing.parameters()])
            kept[f"{name} training"] = str([module.training for module in thing.modules()])
        elif isinstance(thing, torch.optim.Optimizer):
            kept[f"{name} state"] = _digest(_flat(thing.state_dict()))
            kept[f"{name} attributes"] = str(sorted(vars(thing)))
        elif isinstance(thing, Tensor):
            kept[f"{name} tensor"] = _digest([("", thing.detach()), ("grad", thing.grad if thing.is_leaf else None)])
    kept["torch random"] = _digest([("", torch.get_rng_state())])
    kept["numpy random"] = hashlib.sha256(repr(np.random.get_state()).encode()).hexdigest()[:16]
    kept["python random"] = hashlib.sha256(repr(random.getstate()).encode()).hexdigest()[:16]
    kept["modes"] = str([torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_autocast_enabled("cpu")])
    # An anomaly mode that looks for no NaN changes nothing but messages.
    kept["stops at NaN"] = str(torch.is_anomaly_enabled() and torch.is_anomaly_check_nan_enabled())


def modes() -> str:
    """What is left switched on when the script has ended."""
    return str(
        [
            torch.is_grad_enabled(),
            torch.is_anomaly_enabled(),
            torch.is_anomaly_check_nan_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
        ]
    )


def resume(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer the state of a training that went before, as ``load_state_dict`` of a checkpoint does."""
    generator = torch.Generator().manual_seed(5)
    state = optimizer.state_dict()
    for index, p in enumerate(q for group in optimizer.param_groups for q in group["params"]):
        noise = torch.randn(p.shape, generator=generator).to(p.dtype)
        if isinstance(optimizer, torch.optim.SGD):
            state["state"][index] = {"momentum_buffer": noise * 0.1}
        else:
            held = {"exp_avg": noise * 0.1, "exp_avg_sq": noise.square() * 0.02, "step": torch.tensor(7.0)}
            state["state"][index] = held
    optimizer.load_state_dict(state)


def parameters() -> Gradients:
    """The watched parameters by name."""
    return _named


def _steps(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """An optimizer is about to step: what its parameters' .grad holds is what it is fed."""
    if hasattr(optimizer, "_optimizer_step_pre_hooks"):
        # The script's own hooks run after this one, and may change .grad.
        handle = optimizer.register_step_pre_hook(lambda *_: (_fed_now(optimizer), handle.remove())[1])
    else:
        _fed_now(optimizer)


def _fed_now(optimizer: torch.optim.Optimizer) -> None:
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = {name for name, p in _named.items() if id(p) in mine}
    _stepped.update(names)
    for group in optimizer.param_groups:
        options = {key: float(v) if isinstance(v, Tensor) else v for key, v in group.items() if key != "params"}
        held = {id(p) for p in group["params"]}
        _rules.update({name: (type(optimizer).__name__, options) for name in names if id(_named[name]) in held})
    if not _closure and _fed:
        now = {name: _dense(_named[name].grad) for name in names if _named[name].grad is not None}
        _fed.append({**_fed[-1], **now})


def _close_last() -> None:
    if rows and "next" not in rows[-1] and rows[-1]["model"] == _model:
        rows[-1]["next"] = _theta()
    if rows and "next_begin" not in rows[-1] and rows[-1]["model"] == _model:
        rows[-1]["next_begin"] = _theta()


def _theta() -> Gradients:
    return {name: p.detach().clone() for name, p in _named.items()}


def _dense(gradient: Tensor) -> Tensor:
    return (gradient.to_dense() if gradient.layout is not torch.strided else gradient).detach().double().clone()


def _add(book: dict[str, Gradients], task: str, name: str, gradient: Tensor) -> None:
    mine = book.setdefault(task, {})
    mine[name] = mine[name] + gradient if name in mine else gradient


def _gradients(loss: Tensor) -> Gradients:
    trained = {name: p for name, p in (_low or _named).items() if p.requires_grad}
    if _reentrant:
        held = {name: p.grad for name, p in trained.items()}
        for p in trained.values():
            p.grad = None
        loss.backward(retain_graph=True)
        found = {name: _dense(p.grad) for name, p in trained.items() if p.grad is not None}
        for name, p in trained.items():
            p.grad = held[name]
        return found
    each = torch.autograd.grad(loss, list(trained.values()), retain_graph=True, allow_unused=True)
    return {name: _dense(g) for name, g in zip(trained, each, strict=True) if g is not None}


def _hooks(p: Tensor) -> tuple[int, int]:
    post = getattr(p, "_post_accumulate_grad_hooks", None)
    return len(p._backward_hooks or ()), len(post or ())


def _flat(state: Any, where: str = "") -> list[tuple[str, Any]]:
    if isinstance(state, dict):
        return [pair for key, value in state.items() for pair in _flat(value, f"{where}/{key}")]
    if isinstance(state, list | tuple):
        return [pair for key, value in enumerate(state) for pair in _flat(value, f"{where}/{key}")]
    return [(where, state)]


def _digest(pairs: list[tuple[str, Any]]) -> str:
    digest = hashlib.sha256()
    for name, value in pairs:
        digest.update(name.encode())
        if isinstance(value, Tensor):
            dense = value.coalesce().to_dense() if value.layout is not torch.strided else value
            digest.update(f"{value.dtype}{tuple(value.shape)}{value.layout}".encode())
            digest.update(dense.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()[:16]
