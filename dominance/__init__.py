"""Who trains your shared parameters? Task-dominance diagnostics for multi-task learning in PyTorch.

>>> import dominance
>>> dominance.__version__
'0.1.0'

Names are loaded when first used: importing the package loads no torch, xarray or matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Recorder": "dominance.record.recorder",
    "by_class": "dominance.record.columns",
    "by_column": "dominance.record.columns",
    "by_group": "dominance.record.columns",
    "by_part": "dominance.record.columns",
    "observe": "dominance.record.tasks_named",
    "evaluate": "dominance.record.evaluation",
    "log": "dominance.record.metrics",
    "open_run": "dominance.store.reader",
    "open_runs": "dominance.store.reader",
    "au": "dominance.analyse.updates",
    "rau": "dominance.analyse.updates",
    "rau_buckets": "dominance.analyse.updates",
    "gcd": "dominance.analyse.conflict",
    "ownership": "dominance.analyse.ownership",
    "lr_dominance": "dominance.analyse.learning_rate",
    "conflict_layers": "dominance.analyse.conflict",
    "geometry": "dominance.analyse.geometry",
    "alignment": "dominance.analyse.alignment",
    "noise_scale": "dominance.analyse.noise_scale",
    "noise_importance": "dominance.analyse.noise",
    "affinity": "dominance.analyse.affinity",
    "summary": "dominance.analyse.summary",
    "verdict": "dominance.analyse.verdict.verdict",
    "single_task_runs": "dominance.analyse.study.single",
    "final_scores": "dominance.analyse.study.scores",
    "change": "dominance.analyse.study.change",
    "delta": "dominance.analyse.study.delta",
    "delta_m": "dominance.analyse.study.delta",
    "diff_association": "dominance.analyse.study.diff_association",
    "rank_stability": "dominance.analyse.study.rank_stability",
    "similarity_t_tests": "dominance.analyse.study.t_tests",
    "tci": "dominance.analyse.study.tci",
    "tci_over_epochs": "dominance.analyse.study.tci",
    "tci_gcd_correlation": "dominance.analyse.study.tci_gcd",
    "plot_rau_buckets": "dominance.plots.rau_buckets",
    "plot_ownership": "dominance.plots.ownership",
    "plot_lr_dominance": "dominance.plots.lr_dominance",
    "plot_gcd": "dominance.plots.gcd",
    "plot_conflict_layers": "dominance.plots.conflict_layers",
    "plot_geometry": "dominance.plots.geometry",
    "plot_alignment": "dominance.plots.alignment",
    "plot_noise_scale": "dominance.plots.noise_scale",
    "plot_losses": "dominance.plots.losses",
    "plot_scores": "dominance.plots.scores",
    "plot_tci": "dominance.plots.tci",
    "plot_tci_gcd": "dominance.plots.tci_gcd",
    "plot_diff_association": "dominance.plots.diff_association",
    "plot_effective_tasks": "dominance.plots.effective_tasks",
    "plot_gradient_norms": "dominance.plots.gradient_norms",
    "plot_verdict": "dominance.plots.verdict",
    "plot_overview": "dominance.plots.overview",
    "plot_change": "dominance.plots.change",
    "plot_noise_importance": "dominance.plots.noise_importance",
    "plot_affinity": "dominance.plots.affinity",
    "DominanceError": "dominance.errors",
}

_ROOMS = ("optim", "benchmarks", "probes")
"""Packages and modules that ``dominance.optim.PCGrad`` and the like find without an import of their own."""

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from dominance.analyse.affinity import affinity as affinity
    from dominance.analyse.alignment import alignment as alignment
    from dominance.analyse.conflict import conflict_layers as conflict_layers
    from dominance.analyse.conflict import gcd as gcd
    from dominance.analyse.geometry import geometry as geometry
    from dominance.analyse.learning_rate import lr_dominance as lr_dominance
    from dominance.analyse.noise import noise_importance as noise_importance
    from dominance.analyse.noise_scale import noise_scale as noise_scale
    from dominance.analyse.ownership import ownership as ownership
    from dominance.analyse.study.change import change as change
    from dominance.analyse.study.delta import delta as delta
    from dominance.analyse.study.delta import delta_m as delta_m
    from dominance.analyse.study.diff_association import diff_association as diff_association
    from dominance.analyse.study.rank_stability import rank_stability as rank_stability
    from dominance.analyse.study.scores import final_scores as final_scores
    from dominance.analyse.study.single import single_task_runs as single_task_runs
    from dominance.analyse.study.t_tests import similarity_t_tests as similarity_t_tests
    from dominance.analyse.study.tci import tci as tci
    from dominance.analyse.study.tci import tci_over_epochs as tci_over_epochs
    from dominance.analyse.study.tci_gcd import tci_gcd_correlation as tci_gcd_correlation
    from dominance.analyse.summary import summary as summary
    from dominance.analyse.updates import au as au
    from dominance.analyse.updates import rau as rau
    from dominance.analyse.updates import rau_buckets as rau_buckets
    from dominance.analyse.verdict.verdict import verdict as verdict
    from dominance.errors import DominanceError as DominanceError
    from dominance.plots.affinity import plot_affinity as plot_affinity
    from dominance.plots.alignment import plot_alignment as plot_alignment
    from dominance.plots.change import plot_change as plot_change
    from dominance.plots.conflict_layers import plot_conflict_layers as plot_conflict_layers
    from dominance.plots.diff_association import plot_diff_association as plot_diff_association
    from dominance.plots.effective_tasks import plot_effective_tasks as plot_effective_tasks
    from dominance.plots.gcd import plot_gcd as plot_gcd
    from dominance.plots.geometry import plot_geometry as plot_geometry
    from dominance.plots.gradient_norms import plot_gradient_norms as plot_gradient_norms
    from dominance.plots.losses import plot_losses as plot_losses
    from dominance.plots.lr_dominance import plot_lr_dominance as plot_lr_dominance
    from dominance.plots.noise_importance import plot_noise_importance as plot_noise_importance
    from dominance.plots.noise_scale import plot_noise_scale as plot_noise_scale
    from dominance.plots.overview import plot_overview as plot_overview
    from dominance.plots.ownership import plot_ownership as plot_ownership
    from dominance.plots.rau_buckets import plot_rau_buckets as plot_rau_buckets
    from dominance.plots.scores import plot_scores as plot_scores
    from dominance.plots.tci import plot_tci as plot_tci
    from dominance.plots.tci_gcd import plot_tci_gcd as plot_tci_gcd
    from dominance.plots.verdict import plot_verdict as plot_verdict
    from dominance.record.columns import by_class as by_class
    from dominance.record.columns import by_column as by_column
    from dominance.record.columns import by_group as by_group
    from dominance.record.columns import by_part as by_part
    from dominance.record.evaluation import evaluate as evaluate
    from dominance.record.metrics import log as log
    from dominance.record.recorder import Recorder as Recorder
    from dominance.record.tasks_named import observe as observe
    from dominance.store.reader import open_run as open_run
    from dominance.store.reader import open_runs as open_runs


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"dominance.{name}")
    raise AttributeError(f"module 'dominance' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted((*__all__, *_ROOMS))
