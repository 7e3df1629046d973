"""The steps of torch's linear optimizers written out: each task's part of every step, from its gradients by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rule = Callable[[dict[str, Any], dict[str, Any], Array, dict[str, Array]], dict[str, Array]]
"""From options, state, the whole gradient (weight decay in it) and the tasks' gradients to the tasks' parts."""


def updates(
    rows: list[dict[str, Any]], tasks: list[str], name: str, gradient: Callable[..., Array]
) -> list[dict[str, Array] | None]:
    """For each row the tasks' parts of the step of one parameter; None where its optimizer is not one of these.

    Args:
        gradient: ``gradient(row, task, name)``, by hand.
    """
    state: dict[str, Any] = {}
    found: list[dict[str, Array] | None] = []
    for row in rows:
        kind, options = row["rules"].get(name, ("", {}))
        fed = row["fed"][-1].get(name) if row["fed"] else None
        if name not in row["stepped"] or fed is None:
            found.append({})
            continue
        if kind not in RULES or found[-1:] == [None]:
            found.append(None)
            continue
        sign = -1.0 if options.get("maximize") else 1.0
        decay = 0.0 if kind == "AdamW" or options.get("decoupled_weight_decay") else options.get("weight_decay", 0.0)
        whole = sign * fed + decay * row["before"][name]
        found.append(RULES[kind](options, state, whole, {task: sign * gradient(row, task, name) for task in tasks}))
    return found


def _moved(state: dict[str, Any], key: str, keep: float, add: float, new: dict[str, Array]) -> dict[str, Array]:
    """A moving average for each task, that starts at zero."""
    old = state.get(key, {})
    state[key] = {task: keep * old.get(task, 0.0) + add * g for task, g in new.items()}
    moved: dict[str, Array] = state[key]
    return moved


def _sgd(o: dict[str, Any], state: dict[str, Any], whole: Array, tasks: dict[str, Array]) -> dict[str, Array]:
    momentum = o["momentum"]
    if not momentum:
        return {task: -o["lr"] * g for task, g in tasks.items()}
    first = "buffer" not in state
    buffer = _moved(state, "buffer", momentum, 1.0 if first else 1 - o["dampening"], tasks)
    return {
        task: -o["lr"] * (g + momentum * buffer[task] if o["nesterov"] else buffer[task]) for task, g in tasks.items()
    }


def _adam(o: dict[str, Any], state: dict[str, Any], whole: Array, tasks: dict[str, Array]) -> dict[str, Array]:
    one, two = o["betas"]
    state["t"] = t = state.get("t", 0) + 1
    mean = _moved(state, "mean", one, 1 - one, tasks)
    state["v"] = two * state.get("v", 0.0) + (1 - two) * whole**2
    state["max"] = np.maximum(state.get("max", 0.0), state["v"]) if o["amsgrad"] else state["v"]
    root = np.sqrt(state["max"]) / math.sqrt(1 - two**t) + o["eps"]
    return {task: -o["lr"] * m / (1 - one**t) / root for task, m in mean.items()}


def _rmsprop(o: dict[str, Any], state: dict[str, Any], whole: Array, tasks: dict[str, Array]) -> dict[str, Array]:
    alpha = o["alpha"]
    state["v"] = alpha * state.get("v", 0.0) + (1 - alpha) * whole**2
    state["mean"] = alpha * state.get("mean", 0.0) + (1 - alpha) * whole
    root = np.sqrt(state["v"] - state["mean"] ** 2 if o["centered"] else state["v"]) + o["eps"]
    scaled = _moved(state, "buffer", o["momentum"], 1.0, {task: g / root for task, g in tasks.items()})
    return {task: -o["lr"] * g for task, g in scaled.items()}


def _adagrad(o: dict[str, Any], state: dict[str, Any], whole: Array, tasks: dict[str, Array]) -> dict[str, Array]:
    state["t"] = t = state.get("t", 0) + 1
    state["v"] = state.get("v", 0.0) + whole**2
    rate = o["lr"] / (1 + (t - 1) * o["lr_decay"])
    return {task: -rate * g / (np.sqrt(state["v"]) + o["eps"]) for task, g in tasks.items()}


RULES: dict[str, Rule] = {"SGD": _sgd, "Adam": _adam, "AdamW": _adam, "RMSprop": _rmsprop, "Adagrad": _adagrad}
