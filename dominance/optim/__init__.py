"""Reference optimizers: every method of the AdaTask, MoCoGrad and PUB papers, and the ones they compare with.

Two kinds of classes:

- **combiners** turn the tasks' losses into gradients: ``combiner.backward(losses, parameters)`` takes the place of
  ``loss.backward()``, and any optimizer steps afterwards;
- **task-wise optimizers** (AdaTask, PUB, Clippy) turn the tasks' gradients into a step: ``optimizer.backward(losses)``,
  then ``optimizer.step()``.

Names are loaded when first used. Nothing here needs the rest of dominance.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "AdaTask": "dominance.optim.pub",
    "Clippy": "dominance.optim.clippy",
    "PUB": "dominance.optim.pub",
    "AdaTaskAdagrad": "dominance.optim.adatask_adagrad",
    "AdaTaskAdam": "dominance.optim.adatask_adam",
    "AdaTaskRMSprop": "dominance.optim.adatask_rmsprop",
    "Combiner": "dominance.optim.combiner",
    "Weighting": "dominance.optim.combiner",
    "LossWeighting": "dominance.optim.combiner",
    "TaskGradients": "dominance.optim.rows",
    "task_gradients": "dominance.optim.gradients",
    "EqualWeight": "dominance.optim.equal_weight",
    "GridSearch": "dominance.optim.grid_search",
    "UW": "dominance.optim.uw",
    "DWA": "dominance.optim.dwa",
    "RLW": "dominance.optim.rlw",
    "SI": "dominance.optim.si",
    "GradNorm": "dominance.optim.gradnorm",
    "BanditMTL": "dominance.optim.bandit_mtl",
    "FAMO": "dominance.optim.famo",
    "PCGrad": "dominance.optim.pcgrad",
    "GradVac": "dominance.optim.gradvac",
    "GradDrop": "dominance.optim.graddrop",
    "MoCoGrad": "dominance.optim.mocograd",
    "CAGrad": "dominance.optim.cagrad",
    "MGDA": "dominance.optim.mgda",
    "IMTLG": "dominance.optim.imtl_g",
    "NashMTL": "dominance.optim.nash_mtl",
    "ParetoMTL": "dominance.optim.pareto_mtl",
    "from_torchjd": "dominance.optim.torchjd",
    "IMTL": "dominance.optim.imtl",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from dominance.optim.adatask_adagrad import AdaTaskAdagrad as AdaTaskAdagrad
    from dominance.optim.adatask_adam import AdaTaskAdam as AdaTaskAdam
    from dominance.optim.adatask_rmsprop import AdaTaskRMSprop as AdaTaskRMSprop
    from dominance.optim.bandit_mtl import BanditMTL as BanditMTL
    from dominance.optim.cagrad import CAGrad as CAGrad
    from dominance.optim.clippy import Clippy as Clippy
    from dominance.optim.combiner import Combiner as Combiner
    from dominance.optim.combiner import LossWeighting as LossWeighting
    from dominance.optim.combiner import Weighting as Weighting
    from dominance.optim.dwa import DWA as DWA
    from dominance.optim.equal_weight import EqualWeight as EqualWeight
    from dominance.optim.famo import FAMO as FAMO
    from dominance.optim.graddrop import GradDrop as GradDrop
    from dominance.optim.gradients import task_gradients as task_gradients
    from dominance.optim.gradnorm import GradNorm as GradNorm
    from dominance.optim.gradvac import GradVac as GradVac
    from dominance.optim.grid_search import GridSearch as GridSearch
    from dominance.optim.imtl import IMTL as IMTL
    from dominance.optim.imtl_g import IMTLG as IMTLG
    from dominance.optim.mgda import MGDA as MGDA
    from dominance.optim.mocograd import MoCoGrad as MoCoGrad
    from dominance.optim.nash_mtl import NashMTL as NashMTL
    from dominance.optim.pareto_mtl import ParetoMTL as ParetoMTL
    from dominance.optim.pcgrad import PCGrad as PCGrad
    from dominance.optim.pub import PUB as PUB
    from dominance.optim.pub import AdaTask as AdaTask
    from dominance.optim.rlw import RLW as RLW
    from dominance.optim.rows import TaskGradients as TaskGradients
    from dominance.optim.si import SI as SI
    from dominance.optim.torchjd import from_torchjd as from_torchjd
    from dominance.optim.uw import UW as UW


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dominance.optim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
