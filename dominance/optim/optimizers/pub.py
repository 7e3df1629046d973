"""PUB: parameter update balancing. The tasks bargain about updates, not about gradients."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dominance.optim.engine.gradients import listeners
from dominance.optim.engine.task_gradients import TaskGradients, gram_matrix
from dominance.optim.engine.taskwise import (
    Group,
    Parameters,
    Part,
    State,
    TaskwiseOptimizer,
    coupled,
    fed,
    fraction,
    nonnegative,
    parts_of,
)
from dominance.optim.optimizers.clippy import Clippy, clipping
from dominance.optim.solvers.bargaining import Solver, bargain, solve

_OPTIONS = ("_base", "_every", "_manipulation", "_solver", "_form", "_normalise")
_PROGRESS = ("_alpha", "_steps", "failures")


@dataclass(frozen=True)
class AdaTask:
    """PUB's update manipulation by AdaTask: each task's update is made from moments of its own."""


class PUB(TaskwiseOptimizer):
    """theta <- theta - lr * sum_i alpha_i Delta_i, where DᵀD alpha = 1 / alpha (Algorithm 1).

    Delta_i, a column of D, is task i's solo update: the step that the base optimizer would take from its gradient
    alone, moments held fixed. The moments are fed sum_i alpha_i g_i afterwards. With ``manipulation=AdaTask()`` each
    task has moments of its own, which are fed its plain gradient. D covers the shared parameters; those that a task
    does not reach are zero in its column. Parameters of one task alone take its update with alpha = 1.

    torch divides by sqrt(v) + eps and corrects Adam's bias, as the authors' code does; the text divides by
    sqrt(v + eps) and corrects none. ``form`` says which it shall be: "torch", since the text's first steps are 3.2
    times as long as Adam's. Adagrad's G is the sum of squares here; the text writes RMSProp's average for both.

    ``normalise`` divides DᵀD by its Frobenius norm and leaves alpha at that scale, of order 1, so that lr means what it
    means in the base optimizer. The text to the letter, without it, takes steps of length lr * sqrt(K) whatever the
    number of parameters. One task's alpha is then 1 / |Delta|, with ``normalise`` it is 1: ``PUB`` with one task is its
    base optimizer. Of K tasks whose updates are alike, as they are where momentum is most of
    them, each gets alpha = 1 as well: the step is then K times the base optimizer's. A network that is near its largest
    learning rate needs one that is K times smaller.

    Where the tasks' updates oppose each other (a Pareto stationary point) there is no alpha: the last one is kept (1 at
    first), ``failures`` counts it, and the first one warns. A task whose update is zero takes no part in the bargain.

    Args:
        params: parameters, with or without names, or parameter groups.
        base: "adam", "adagrad" or "rmsprop".
        lr: learning rate, eta.
        betas: of Adam.
        beta: of RMSProp.
        eps, weight_decay: as in the base optimizer; the paper's ranking experiments have weight_decay 1e-6.
        every: alpha is solved for every so many steps, and where a task has none yet. The paper takes 10, or 100.
        manipulation: what is done to the solo updates, s in Algorithm 1: ``Clippy()``, ``AdaTask()`` or nothing.
        solver: "newton", or "sequential" for the paper's sequence of convex problems.
        form: "torch" or "paper".
        normalise: solve for the normalised matrix.

    Raises:
        ValueError: an option is out of its range.

    Source: PUB, Algorithm 1, Claim 1 and Sec. V.
    """

    def __init__(
        self,
        params: Parameters,
        base: Literal["adam", "adagrad", "rmsprop"] = "adam",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        beta: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        every: int = 1,
        manipulation: Clippy | AdaTask | None = None,
        solver: Literal["newton", "sequential"] = "newton",
        form: Literal["torch", "paper"] = "torch",
        normalise: bool = True,
    ) -> None:
        nonnegative(lr=lr, eps=eps, weight_decay=weight_decay)
        fraction(beta1=betas[0], beta2=betas[1], beta=beta)
        _one_of(base, "base", ("adam", "adagrad", "rmsprop"))
        _one_of(solver, "solver", ("newton", "sequential"))
        _one_of(form, "form", ("torch", "paper"))
        if every < 1:
            raise ValueError(f"every is {every}; it must be >= 1")
        if not (manipulation is None or isinstance(manipulation, (Clippy, AdaTask))):
            raise ValueError(f"manipulation is {manipulation!r}; give Clippy(), AdaTask() or None")
        self._base, self._every, self._solver, self._form, self._normalise = base, every, solver, form, normalise
        self._manipulation = manipulation
        self._alpha: dict[str, float] = {}
        self._steps = 0
        self.failures = 0
        """How often no alpha was found."""
        defaults = {"lr": lr, "betas": betas, "beta": beta, "eps": eps, "weight_decay": weight_decay, "foreach": False}
        super().__init__(params, defaults)

    @property
    def alpha(self) -> dict[str, float]:
        """The tasks' weights, as last solved for."""
        return dict(self._alpha)

    def state_dict(self) -> dict[str, Any]:
        """As in torch, with the weights, and how often they were not found, under "pub"."""
        progress = {"alpha": self.alpha, "steps": self._steps, "failures": self.failures}
        return {**super().state_dict(), "pub": progress}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            ValueError: it is of another optimizer.
        """
        if "pub" not in state_dict:
            raise ValueError("the state dict is of another optimizer: it holds no weights of PUB")
        super().load_state_dict(dict(state_dict))
        progress = state_dict["pub"]
        self._alpha, self._steps = dict(progress["alpha"]), progress["steps"]
        self.failures = progress["failures"]

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {name: getattr(self, name) for name in (*_OPTIONS, *_PROGRESS)}

    def _update(self, gradients: TaskGradients) -> None:
        common = {id(p) for p, shared in zip(gradients.parameters, gradients.shared, strict=True) if shared}
        parts = [(group, part) for group in self.param_groups for part in parts_of(group, gradients)]
        trunk = [(group, part) for group, part in parts if id(part.parameters[0]) in common]
        tasks = [task for task in gradients.tasks if any(task in part.tasks for _, part in trunk)]
        if tasks and (self._steps % self._every == 0 or any(task not in self._alpha for task in tasks)):
            self._bargain(tasks, trunk)
        self._steps += 1
        for group, part in parts:
            own = id(part.parameters[0]) not in common
            self._update_part(group, part, [1.0 if own else self._alpha[task] for task in part.tasks])

    def _bargain(self, tasks: list[str], trunk: list[tuple[Group, Part]]) -> None:
        """Solve DᵀD alpha = 1 / alpha; DᵀD is summed up parameter by parameter, and D never kept."""
        gram = np.zeros((len(tasks), len(tasks)))
        for group, part in trunk:
            where = [tasks.index(task) for task in part.tasks]
            kept = self._moments(part)
            solo = [self._solo(group, part, k, kept[k])[0] for k in range(len(part.tasks))]
            gram[np.ix_(where, where)] += gram_matrix([[update] for update in solo])
        broken = [task for task, square in zip(tasks, np.diagonal(gram), strict=True) if not np.isfinite(square)]
        if broken or not np.isfinite(gram).all():
            raise FloatingPointError(f"the update of {', '.join(broken)} is not finite; no weights can be found")
        norm = float(np.linalg.norm(gram)) if self._normalise else 1.0
        previous = np.array([self._alpha.get(task, 1.0) for task in tasks])
        weights, failure = bargain(gram / (norm or 1.0), previous, _solver(self._solver))
        self._alpha.update(zip(tasks, weights.tolist(), strict=True))
        if failure:
            self.failures += 1
            if self.failures == 1:
                warnings.warn(
                    f"PUB keeps its last weights: {failure}. From now on .failures counts this in silence",
                    stacklevel=6,
                )

    def _update_part(self, group: Group, part: Part, alpha: list[float]) -> None:
        """Lines 14-22 of Algorithm 1, for one parameter."""
        (theta,), kept, lr = part.parameters, self._moments(part), float(group["lr"])
        step, summed = torch.zeros_like(theta), torch.zeros_like(theta)
        own = isinstance(self._manipulation, AdaTask)
        for k, task in enumerate(part.tasks):
            update, g = self._solo(group, part, k, kept[k])
            step.add_(update, alpha=alpha[k])
            if own:
                self._feed(group, kept[k], g)
            else:
                summed.add_(g, alpha=alpha[k])
            for listener in listeners:
                listener.updates(self, [theta], task, [update * (-lr * alpha[k])])
        theta.add_(step, alpha=-lr)
        if not own:
            self._feed(group, kept[0], summed)

    def _solo(self, group: Group, part: Part, k: int, kept: State) -> tuple[Tensor, Tensor]:
        """s(Delta_i) (lines 4-12), and the gradient that it was made from, weight decay included."""
        (theta,), t = part.parameters, kept["step"] + 1
        (g,) = fed(part, k, [theta], coupled(group))
        m, v = self._moved(group, kept, g)
        if self._form == "paper":
            update = m / v.add_(group["eps"]).sqrt_()
        else:
            beta1, beta2 = group["betas"] if self._base == "adam" else (0.0, 0.0)
            update = (m / (1 - beta1**t)).div_(v.sqrt_().div_((1 - beta2**t) ** 0.5).add_(group["eps"]))
        if isinstance(self._manipulation, Clippy):
            bounds = self._manipulation.defaults
            sigma = clipping(update * float(group["lr"]), theta, bounds["lambda_rel"], bounds["lambda_abs"])
            update.mul_(sigma)
        return update, g

    def _moved(self, group: Group, kept: State, g: Tensor) -> tuple[Tensor, Tensor]:
        """The moments after another gradient: new tensors, but that of Adagrad and RMSProp is the gradient."""
        zero = torch.zeros_like(g)
        if self._base == "adam":
            beta1, beta2 = group["betas"]
            m = torch.lerp(kept.get("m", zero), g, 1 - beta1)
            return m, (kept.get("v", zero) * beta2).addcmul_(g, g, value=1 - beta2)
        if self._base == "rmsprop":
            return g, (kept.get("v", zero) * group["beta"]).addcmul_(g, g, value=1 - group["beta"])
        return g, torch.addcmul(kept.get("v", zero), g, g)

    def _feed(self, group: Group, kept: State, g: Tensor) -> None:
        m, kept["v"] = self._moved(group, kept, g)
        if self._base == "adam":
            kept["m"] = m
        kept["step"] += 1

    def _moments(self, part: Part) -> list[State]:
        """Where the moments of each task are kept: the same for all, or its own."""
        (theta,) = part.parameters
        states = [self._task_state(theta, task) for task in part.tasks]
        if isinstance(self._manipulation, AdaTask):
            return states
        joint: State = self.state[theta].setdefault("joint", {"step": 0})
        return [joint] * len(states)


def _solver(name: str) -> Solver:
    if name == "sequential":
        from dominance.optim.solvers.sequential import solve_sequential

        return solve_sequential
    return solve


def _one_of(value: str, name: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; give {', '.join(map(repr, allowed))}")
