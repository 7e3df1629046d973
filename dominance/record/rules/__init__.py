"""How the step of each optimizer family splits into tasks: one file per family."""

from __future__ import annotations

from torch.optim import Optimizer

from dominance.record.rules.adadelta import AdadeltaRule
from dominance.record.rules.adafactor import AdafactorRule
from dominance.record.rules.adagrad import AdagradRule
from dominance.record.rules.adam import AdamRule
from dominance.record.rules.adamax import AdamaxRule
from dominance.record.rules.asgd import ASGDRule
from dominance.record.rules.known import known_class
from dominance.record.rules.lbfgs import LBFGSSolo
from dominance.record.rules.lbfgs_parts import LBFGSParts
from dominance.record.rules.linear import Rule
from dominance.record.rules.nadam import NAdamRule
from dominance.record.rules.radam import RAdamRule
from dominance.record.rules.rmsprop import RMSpropRule
from dominance.record.rules.sgd import SGDRule
from dominance.record.rules.solo import ShadowSolo, Solo
from dominance.record.rules.sparse_adam import SparseAdamRule
from dominance.record.rules.traced import Traced

_RULES: dict[str, type[Rule]] = {
    "ASGD": ASGDRule,
    "Adadelta": AdadeltaRule,
    "Adafactor": AdafactorRule,
    "Adagrad": AdagradRule,
    "Adam": AdamRule,
    "AdamW": AdamRule,
    "Adamax": AdamaxRule,
    "NAdam": NAdamRule,
    "RAdam": RAdamRule,
    "RMSprop": RMSpropRule,
    "SGD": SGDRule,
    "SparseAdam": SparseAdamRule,
}
"""By name in torch.optim, since older torch lacks the newest classes; Rprop is not linear, LBFGS has its own way."""


def rule_for(optimizer: Optimizer) -> Rule | None:
    """The rule of the optimizer's class; None for one that nobody wrote a rule for."""
    rule = _clippy(optimizer) or _RULES.get(known_class(optimizer) or "")
    return None if rule is None else rule(optimizer)


def _clippy(optimizer: Optimizer) -> type[Rule] | None:
    """The rule of ``dominance.optim.Clippy``, which is loaded only where a script has loaded the class."""
    if type(optimizer).__module__ != "dominance.optim.optimizers.clippy":
        return None
    from dominance.record.rules.clippy import ClippyRule

    return ClippyRule


def solo_for(optimizer: Optimizer) -> Solo:
    """How the optimizer's solo updates are computed."""
    name = known_class(optimizer)
    return LBFGSSolo(optimizer) if name == "LBFGS" else ShadowSolo(optimizer, foreign=name is None)


def traced_for(optimizer: Optimizer) -> Traced | LBFGSParts | None:
    """How the steps of a class without a rule are split additively, if they are linear; None for Rprop."""
    name = known_class(optimizer)
    if name == "LBFGS":
        return LBFGSParts(optimizer)
    return None if name == "Rprop" else Traced(optimizer)
