"""Program N: one value of each axis, put together as the source text of a script; always the same for the same N."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from programs.clashes import check
from programs.extras import EXTRAS
from programs.forms import FORMS, Clash, Maker
from programs.nets import NETS
from programs.optimizers import OPTIMIZERS
from programs.pieces import Parts
from programs.shapes import SHAPES, text
from programs.wrappers import WRAPPERS

for kind in ("sums", "vectors", "functions", "weighting", "absent", "backward", "gradients"):
    importlib.import_module(f"programs.forms_{kind}")

TASKS = (
    ("depth", "seg"),
    ("price", "stars"),
    ("left", "right"),
    ("income", "married"),
    ("click", "buy", "dwell"),
    ("pose", "mask", "edge"),
    ("near", "far", "mid", "side"),
    ("normal", "albedo", "depth", "light", "shade"),
    ("tone", "pitch", "tempo", "key", "beat", "chord"),
)
AXES: dict[str, tuple[str, ...]] = {
    "form": tuple(FORMS),
    "net": tuple(NETS),
    "optimizer": tuple(OPTIMIZERS),
    "wrapper": tuple(WRAPPERS),
    "shape": tuple(SHAPES),
    "accumulation": (
        "none",
        "chunks_2",
        "chunks_4",
        "every_2",
        "every_3",
        "unequal",
        "never_zeroed",
        "zero_last",
        "zeroed_in_place",
    ),
    "precision": ("float32", "float64", "double", "autocast", "bfloat16", "master"),
    "extra": tuple(EXTRAS),
}
OFTEN = {
    "wrapper": ("none", 0.35),
    "shape": ("flat", 0.15),
    "accumulation": ("none", 0.45),
    "precision": ("float32", 0.5),
    "extra": ("none", 0.35),
    "net": ("module_dict", 0.1),
}
"""Values that are drawn more often than the others, and how much more: not all that is hard comes at once."""


@dataclass(frozen=True)
class Program:
    """A training program and what is known of it."""

    number: int
    axes: dict[str, str]
    text: str
    """Its source, with the lines that make the truth."""
    names: Mapping[str, tuple[str, ...]]
    """For each task the names that are right for it."""
    free: tuple[str, ...] = ()
    """Beginnings of the names of parameters whose task gradients are not judged: weights of losses that are trained."""
    additive: bool = True
    """Whether its steps come apart into the tasks' parts."""
    tolerance: float = 2e-3
    library: str = ""
    """Source of the module ``zoolib`` in a site-packages folder."""
    models: int = 1
    losses: bool = True
    """Whether losses and weights are judged."""
    changed: bool = False
    """Whether .grad is changed in a way that no weight describes."""
    seen: bool = True
    """Whether any optimizer of torch's kind steps."""
    nameless: bool = False
    """Whether its losses have no names of their own."""

    @property
    def script(self) -> str:
        """Its source as a user would have written it."""
        return "".join(line for line in self.text.splitlines(keepends=True) if not line.rstrip().endswith("# by hand"))


def program(number: int, axes: dict[str, str] | None = None) -> Program:
    """Program ``number``; with ``axes``, those values instead of drawn ones.

    Raises:
        Clash: the values given do not go together.
    """
    if axes is not None:
        return _assemble(number, axes)
    rng = Random(f"axes {number}")
    values = [(axis, value) for axis in AXES for value in AXES[axis]]
    while True:
        axis, value = values[number % len(values)]
        try:
            return _assemble(number, {**_draw(rng), axis: value})
        except Clash:
            continue


def _draw(rng: Random) -> dict[str, str]:
    """A value of each axis. Each in turn is set for certain (see above): those that clash with much come often, too."""
    drawn = {name: rng.choice(values) for name, values in AXES.items()}
    for name, (value, share) in OFTEN.items():
        if rng.random() < share:
            drawn[name] = value
    return drawn


def _assemble(number: int, axes: dict[str, str]) -> Program:
    rng = Random(f"parts {number}")
    tasks = list(rng.choice(TASKS))
    if axes["form"] == "min_norm":
        tasks = tasks[:2]
    net = NETS[axes["net"]](tasks)
    form = FORMS[axes["form"]](Maker(net, tasks, rng))
    parts = Parts(net, form, OPTIMIZERS[axes["optimizer"]], WRAPPERS[axes["wrapper"]], EXTRAS[axes["extra"]], axes)
    check(parts)
    return Program(
        number,
        axes,
        text(parts),
        form.names,
        free=(form.extra_watch.split("=")[0],) if form.extra_watch else (),
        additive=parts.stepper.additive and parts.wrapper.additive,
        tolerance=4e-2 if axes["precision"] in ("autocast", "bfloat16", "master") else 2e-3,
        library="\n".join(form.library),
        models=2 if axes["shape"] == "two_models" else 1,
        losses=form.weights and axes["accumulation"] != "never_zeroed" and axes["optimizer"] != "two_rates",
        changed=parts.wrapper.free,
        seen=bool(parts.stepper.things),
        nameless=form.nameless,
    )


def shown(each: Program) -> str:
    """A head line and the source."""
    return f"# {each.number}: {', '.join(f'{k}={v}' for k, v in each.axes.items())}\n{each.script}"
