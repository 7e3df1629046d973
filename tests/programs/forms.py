"""Losses, in the ways that people write them: how the tasks' losses come about, and how they become gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from programs.nets import Lines, Net

WEIGHTS = (0.3, 1.7, 0.8, 2.5, 0.6, 1.2)


class Clash(Exception):
    """These values of the axes do not go together."""


@dataclass
class Form:
    """One way to write a loss, as source text."""

    compute: Lines
    """Statements that make the losses, up to what ``backward`` stands on."""
    note: str
    """The tasks' losses for ``hand.note``, each alone or with its weight."""
    names: Mapping[str, tuple[str, ...]]
    """For each task the names that are right for it."""
    loss: str = "loss"
    """The expression that backward() is called on."""
    backward: Lines | None = None
    """Statements that make gradients, where that is not one backward(); ``{s}`` stands for the scale."""
    defs: Lines = field(default_factory=list)
    """Classes and functions."""
    setup: Lines = field(default_factory=list)
    """Statements after the model is there."""
    ahead: Lines = field(default_factory=list)
    """Statements before the model runs."""
    extra: str = ""
    """An expression for more parameters."""
    extra_watch: str = ""
    once: bool = False
    """Whether the gradients are put into .grad by hand: no accumulation, no closure, no scaler."""
    library: Lines = field(default_factory=list)
    """Source of a module that lies in a site-packages folder."""
    alternating: bool = False
    smooth: bool = True
    """Whether it can be evaluated again (no state that goes on)."""
    late: bool = False
    """Whether the note stands at the end of ``backward`` already."""
    weights: bool = True
    """Whether weights and losses are known as one number each."""
    residual: tuple[str, ...] = ()
    nameless: bool = False
    """Whether the losses have no names of their own."""


class Maker:
    """What a form is made of: tasks, their losses as expressions, a random choice."""

    def __init__(self, net: Net, tasks: Lines, rng: Random) -> None:
        self.net = net
        self.tasks = tasks
        self.rng = rng
        kinds = list(LOSSES)
        rng.shuffle(kinds)
        self.kinds = dict(zip(tasks, kinds, strict=False))

    def target(self, task: str) -> str:
        v, place = self.net.feature, self.tasks.index(task)
        return [f"{v}.sum(1)", f"{v}[:, 0]", f"{v}[:, 1] * {v}[:, 2]", f"2 * {v}[:, 3]", f"{v}.mean(1)", f"{v}[:, 4]"][
            place
        ]

    def prediction(self, task: str) -> str:
        return self.net.predictions[task]

    def loss(self, task: str) -> str:
        return LOSSES[self.kinds[task]].format(p=self.prediction(task), y=self.target(task))

    def weight(self, task: str) -> float:
        return WEIGHTS[self.tasks.index(task)]

    def named(self, suffix: str = "") -> Lines:
        """One statement for each task."""
        return [f"{t}{suffix} = {self.loss(t)}" for t in self.tasks]

    def plain(self, suffix: str = "") -> dict[str, tuple[str, ...]]:
        return {t: (t + suffix, t) for t in self.tasks}

    def indexed(self, *vectors: str, also: bool = False) -> dict[str, tuple[str, ...]]:
        return {
            t: (*(f"{v}[{i}]" for v in vectors), *((t, f"{t}_loss") if also else ())) for i, t in enumerate(self.tasks)
        }

    def note(self, pattern: str, weighted: bool = False) -> str:
        """``pattern`` with {t} and {i} for each task; with its weight."""
        return ", ".join(
            f"{t}=({pattern.format(t=t, i=i)}, {self.weight(t)})" if weighted else f"{t}={pattern.format(t=t, i=i)}"
            for i, t in enumerate(self.tasks)
        )

    def list(self) -> str:
        return ", ".join(self.loss(t) for t in self.tasks)

    def ws(self) -> str:
        return ", ".join(str(self.weight(t)) for t in self.tasks)


LOSSES = {
    "mse": "F.mse_loss({p}, {y})",
    "l1": "({p} - {y}).abs().mean()",
    "bce": "F.binary_cross_entropy_with_logits({p}, ({y} > 0).to({p}.dtype))",
    "smooth": "F.smooth_l1_loss({p}, {y})",
    "square": "(({p} - {y}) ** 2).mean()",
    "huber": "nn.functional.huber_loss({p}, {y}, delta=0.5)",
    "by_hand": "torch.sum(({p} - {y}).square()) / len(x)",
    "softplus": "F.softplus(-{p} * {y}.sign()).mean()",
}


def form(function: Callable[[Maker], Form]) -> Callable[[Maker], Form]:
    FORMS[function.__name__] = function
    return function


FORMS: dict[str, Callable[[Maker], Form]] = {}
