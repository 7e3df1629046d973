"""The figures of a report: name, title, what it shows, and how it is drawn from a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.conflict import conflict_layers
from dominance.analyse.folding import worst
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.ownership import owners
from dominance.analyse.study.single import Single
from dominance.analyse.summary import Overview, overview
from dominance.analyse.verdict.finding import Verdict
from dominance.analyse.verdict.verdict import verdict
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.alignment import plot_alignment
from dominance.plots.conflict_layers import plot_conflict_layers
from dominance.plots.effective_tasks import plot_effective_tasks
from dominance.plots.gcd import plot_gcd
from dominance.plots.gradient_norms import plot_gradient_norms
from dominance.plots.inputs import Layers
from dominance.plots.labels import common_module
from dominance.plots.losses import plot_losses
from dominance.plots.lr_dominance import plot_lr_dominance
from dominance.plots.noise_importance import plot_noise_importance
from dominance.plots.noise_scale import plot_noise_scale
from dominance.plots.overview import plot_overview
from dominance.plots.ownership import plot_ownership
from dominance.plots.phases import plot_phases
from dominance.plots.rau_buckets import plot_rau_buckets
from dominance.plots.result import Plot
from dominance.plots.verdict import plot_verdict

FEW, SOME, TASKS = 8, 12, 10
"""Layers in a figure with a row of panels each, and in one with a line each: of more, the worst. Of more tasks than
``TASKS``, those that move the shared parameters most."""


BARS, PAIRS = 15, (12, 24)
"""Pairs in layers where tasks conflict; pairs over training, and by layer."""


class ReportData:
    """A run and what was measured on it, once for all figures; and single-task runs to compare it with."""

    def __init__(
        self, run: xr.DataTree, single: Single | None = None, higher_is_better: Directions | None = None
    ) -> None:
        self.run, self.single, self.higher_is_better = run, single, higher_is_better

    @cached_property
    def seen(self) -> Overview:
        """Raises NothingRecorded when no step can be used, or nothing is shared."""
        return overview(self.run)

    @cached_property
    def verdict(self) -> Verdict:
        """Raises NothingRecorded as ``seen``, and with single-task runs as ``tci``."""
        return verdict(self.run, single=self.single, higher_is_better=self.higher_is_better, seen=self.seen)

    @cached_property
    def prefix(self) -> str:
        """The modules that all layers lie in, where that is long: their names are told without it."""
        return common_module([str(name) for name in self.seen.layers["layer"].values])

    def name(self, layer: str) -> str:
        """What a layer is called in the report."""
        return layer.removeprefix(self.prefix)

    def worst(self, most: int) -> Layers:
        """ "each", or the ``most`` layers with the fewest effective tasks, where there are more."""
        return "each" if self.seen.layers.sizes["layer"] <= most else worst(self.seen.layers, most)

    @cached_property
    def tasks(self) -> list[str] | None:
        """None for all, or of too many those that move the shared parameters most, in the run's order."""
        names = [str(name) for name in self.seen.trunk["task"].values]
        if len(names) <= TASKS:
            return None
        moved = np.nan_to_num(self.seen.norms["update"].sel(layer=ALL_SHARED).values)
        return [names[i] for i in sorted(np.argsort(-moved, kind="stable")[:TASKS])]

    def chosen(self, layers: int, tasks: bool) -> str:
        """What :meth:`worst` and ``tasks`` have left out, in words."""
        count, said = self.seen.layers.sizes["layer"], []
        if 0 < layers < count:
            said.append(f"The {layers} layers of {count} with the fewest effective tasks.")
        if tasks and self.tasks is not None:
            said.append(f"The {TASKS} tasks of {self.seen.trunk.sizes['task']} that move the parameters most.")
        return " ".join(said)


@dataclass(frozen=True)
class FigureSpec:
    """One figure of the report.

    Attributes:
        draw: from the material and a plot backend.
        layers: how many layers it shows at most, the worst; 0 where it has none, or room for all.
        tasks: it shows at most ``TASKS`` of them.
        probe: a probe that it draws: of a run without, it is left out unless it is asked for by its name.
        alone: it has a file of its own, and no place in report.pdf, where others say the same.
    """

    name: str
    title: str
    shows: str
    draw: Callable[[ReportData, Any], Plot]
    layers: int = 0
    tasks: bool = False
    probe: str = ""
    alone: bool = False


_ALL = (
    FigureSpec(
        "overview",
        "The run in one picture",
        "Who owns which layer, over training; which tasks conflict; whether they learn.",
        lambda m, b: plot_overview(m.run, seen=m.seen, labeller=m.name, backend=b),
    ),
    FigureSpec(
        "verdict",
        "The verdict",
        "What was found; which task owns how much of each layer, and since when; the mean GCD of each pair of tasks.",
        lambda m, b: plot_verdict(m.verdict, backend=b),
        alone=True,
    ),
    FigureSpec(
        "rau_buckets",
        "Who owns the shared parameters",
        "Share of the shared parameters by rAU: the part that a task holds of their accumulated squared updates "
        "(AdaTask, Eq. 2-3 and Fig. 2). Above 80 % the task owns the parameter.",
        lambda m, b: plot_rau_buckets(m.seen.trunk, tasks=m.tasks, backend=b),
        tasks=True,
    ),
    FigureSpec(
        "rau_buckets_layers",
        "Who owns the shared parameters, by layer",
        "Share of the parameters of each shared layer by rAU (AdaTask, Fig. 8).",
        lambda m, b: plot_rau_buckets(m.seen.layers, tasks=m.tasks, layers=m.worst(FEW), labeller=m.name, backend=b),
        layers=FEW,
        tasks=True,
    ),
    FigureSpec(
        "losses",
        "Losses",
        "The loss of each task, unweighted and on its own scale.",
        lambda m, b: plot_losses(m.run, tasks=m.tasks if _measured(m) else None, backend=b),
        tasks=True,
    ),
    FigureSpec(
        "ownership",
        "Who owns which layer, and since when",
        "The task that owns more than half of the parameters of a shared layer (rAU above 80 %, by more than two "
        "standard errors of sampling), over training.",
        lambda m, b: plot_ownership(owners(m.seen.layers), backend=b),
        alone=True,
    ),
    FigureSpec(
        "phases",
        "Phases of the training",
        "Each task's share of the squared steps on the shared parameters, and the conflict of each pair, with the "
        "levels between the steps at which they change.",
        lambda m, b: plot_phases(m.run, tasks=m.tasks, backend=b),
        tasks=True,
        alone=True,
    ),
    FigureSpec(
        "effective_tasks",
        "Effective number of tasks",
        "How many tasks share a parameter, on average: 1 when one moves it alone, the number of tasks when all move it "
        "alike.",
        lambda m, b: plot_effective_tasks(m.seen.trunk, backend=b),
        alone=True,
    ),
    FigureSpec(
        "effective_tasks_layers",
        "Effective number of tasks, by layer",
        "How many tasks share a parameter of each shared layer, on average, over training.",
        lambda m, b: plot_effective_tasks(m.seen.layers, layers=m.worst(SOME), labeller=m.name, backend=b),
        layers=SOME,
    ),
    FigureSpec(
        "gradient_share",
        "Whose gradient is how large",
        "Share of each task in the summed squared gradient norms of a shared layer. A high share says who is heard; "
        "whether that does harm, it does not say.",
        lambda m, b: plot_gradient_norms(m.run, tasks=m.tasks, layers=m.worst(SOME), labeller=m.name, backend=b),
        layers=SOME,
        tasks=True,
    ),
    FigureSpec(
        "conflict_layers",
        "Where tasks conflict",
        "Mean GCD of two tasks in a shared layer, the largest first. It is called a conflict when it is above 1 with "
        "its lower bound, which allows for steps that resemble each other and for the number of bars.",
        lambda m, b: plot_conflict_layers(conflict_layers(m.run, top=BARS), labeller=m.name, backend=b),
    ),
    FigureSpec(
        "gcd_layers",
        "Gradient conflict, by layer",
        "Mean GCD of each pair of tasks in each shared layer.",
        lambda m, b: plot_gcd(m.seen.conflict, layers=m.worst(SOME), labeller=m.name, most=PAIRS[1], backend=b),
        layers=SOME,
    ),
    FigureSpec(
        "noise_scale",
        "Signal and noise in the gradients",
        "Gradient noise scale of each task (McCandlish et al. 2018), in batches of the size used: above 1 the noise of "
        "a batch outweighs the signal, and a task may be loud without saying much.",
        lambda m, b: plot_noise_scale(m.run, tasks=m.tasks, layers=_and_all(m.worst(FEW)), labeller=m.name, backend=b),
        layers=FEW,
        tasks=True,
    ),
    FigureSpec(
        "gcd",
        "Gradient conflict",
        "GCD of each pair of tasks over training: 0 same direction, 1 at right angles, above 1 in conflict, 2 opposed.",
        lambda m, b: plot_gcd(m.seen.trunk_conflict, most=PAIRS[0], backend=b),
    ),
    FigureSpec(
        "lr_dominance",
        "Whose learning rate it is",
        "Effective learning rate of randomly chosen parameters of each shared layer, and what each task's own "
        "gradients would make it (AdaTask, Fig. 7). A task far above learns more slowly than it would alone.",
        lambda m, b: plot_lr_dominance(m.run, tasks=m.tasks, layers=m.worst(FEW), labeller=m.name, backend=b),
        layers=FEW,
        tasks=True,
    ),
    FigureSpec(
        "alignment",
        "How far updates follow the gradients",
        "Cosine of gradient and update on task-specific and on shared parameters, and their difference Diff (PUB, "
        "Eq. 1 and Fig. 3): 0 when shared parameters follow their gradient as well as those of one task.",
        lambda m, b: plot_alignment(m.run, backend=b),
    ),
    FigureSpec(
        "noise_importance",
        "Noise on the parameters that a task moves most",
        "Relative change of each task's metric when the shared parameters with the owner's highest rAU get noise "
        "(AdaTask, Fig. 1), beside as many random ones and those with its lowest.",
        lambda m, b: plot_noise_importance(m.run, backend=b),
        probe="noise",
    ),
)


def _measured(material: ReportData) -> bool:
    """Whether there is anything to choose tasks by: losses are there without it."""
    try:
        return bool(material.seen)
    except NothingRecorded:
        return False


def _and_all(layers: Layers) -> Layers:
    """With the whole of what is shared, where layers are named."""
    return layers if layers == "each" or layers is None else [*layers, ALL_SHARED]


FIGURES = {spec.name: spec for spec in _ALL}


def select(pattern: str, run: xr.DataTree | None = None) -> list[FigureSpec]:
    """The figures whose names fit a glob, in the order of the report.

    Args:
        run: leave out figures of probes that it does not hold, but for one that the pattern names.

    Raises:
        BadOption: none does.
    """
    chosen = [spec for name, spec in FIGURES.items() if fnmatchcase(name, pattern)]
    if run is not None:
        there = set(run["probe"].children) if "probe" in run.children else set()
        chosen = [spec for spec in chosen if not spec.probe or spec.probe in there or spec.name == pattern]
    if not chosen:
        raise BadOption(f"no figure is called {pattern!r}", fix=f"choose from {', '.join(FIGURES)}")
    return chosen
