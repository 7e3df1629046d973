"""The methods that a training can be made with, by name; nothing here needs torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dominance.errors import BadOption

Step = Literal["plain", "adatask", "pub", "clippy"]


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as it is typed; without regard to case, "-" and "_".
        title: what it does to the tasks, in a few words.
        combiner: class in ``dominance.optim`` that combines the gradients; None: they are added.
        step: the optimizer's kind: one of torch's, or a task-wise one.
        manipulation: class in ``dominance.optim`` that PUB manipulates updates with.
        usual: arguments of the optimizer, unless others are given.
        representation: works on the gradients of the shared representation.
        alone: trains a model for each task.
    """

    name: str
    title: str
    combiner: str | None = None
    step: Step = "plain"
    manipulation: str | None = None
    usual: Mapping[str, Any] = field(default_factory=dict)
    representation: bool = False
    alone: bool = False


METHODS = {
    method.name: method
    for method in (
        Method("equal-weight", "the plain sum of the losses", "EqualWeight"),
        Method("stl", "single-task learning: a model for each task", "EqualWeight", alone=True),
        Method("grid-search", "fixed weights of the losses, given with --option weights=...", "GridSearch"),
        Method("uw", "uncertainty weighting: learnt weights of the losses", "UW"),
        Method("dwa", "dynamic weight average: losses that fall slowly weigh more", "DWA"),
        Method("rlw", "random weights of the losses, new at each step", "RLW"),
        Method("si", "scale-invariant: the sum of the logarithms of the losses", "SI"),
        Method("gradnorm", "learnt weights that bring the gradients to one rate", "GradNorm"),
        Method("bandit-mtl", "adversarial weights that keep the losses' variance low", "BanditMTL"),
        Method("famo", "weights under which all losses fall at one rate", "FAMO"),
        Method("igb", "logarithms of the losses: the largest gap since an early epoch weighs most", "IGB"),
        Method("go4align", "tasks in groups by their losses, one weight a group", "GO4Align"),
        Method("mgda", "the shortest vector in the gradients' convex hull", "MGDA"),
        Method("mgda-ub", "MGDA on the gradients of the representation", "MGDA", representation=True),
        Method("pareto-mtl", "descent within a cone of preferences", "ParetoMTL"),
        Method("pcgrad", "conflicting gradients are projected away", "PCGrad"),
        Method("gradvac", "gradients are drawn to their usual similarity", "GradVac"),
        Method("graddrop", "at each entry one sign of the gradients survives", "GradDrop"),
        Method("cagrad", "the worst-off task's descent, near the mean gradient", "CAGrad"),
        Method("imtl-g", "equal projections on all gradients", "IMTLG"),
        Method("imtl", "IMTL-G, and losses scaled alike", "IMTL"),
        Method("nash-mtl", "the Nash bargaining solution over gradients", "NashMTL"),
        Method("mocograd", "conflicts calibrated by other tasks' momenta", "MoCoGrad"),
        Method("upgrad", "the mean of projections that hurt no task", "UPGrad"),
        Method("aligned-mtl", "gradients made orthogonal and equally long", "AlignedMTL"),
        Method("fairgrad", "alpha-fair progress of the tasks", "FairGrad"),
        Method("stch", "smooth Tchebycheff: the worst loss weighs most", "STCH"),
        Method("db-mtl", "logarithms of the losses, gradients of one length", "DBMTL"),
        Method("config", "one angle with all gradients", "ConFIG"),
        Method("sdmgrad", "MGDA drawn towards the mean gradient", "SDMGrad"),
        Method("modo", "steps towards MGDA by gradients of two batches", "MoDo"),
        Method("excess-mtl", "tasks far from their optimum weigh more", "ExcessMTL"),
        Method("adatask", "an accumulator of squared gradients for each task", step="adatask"),
        Method("ladatask", "AdaTask with one number a layer", step="adatask", usual={"granularity": "layer"}),
        Method("adatask+pcgrad", "AdaTask on gradients manipulated by PCGrad", "PCGrad", step="adatask"),
        Method("adatask+cagrad", "AdaTask on gradients manipulated by CAGrad", "CAGrad", step="adatask"),
        Method("clippy", "updates clipped relative to their parameters", step="clippy"),
        Method("pub", "the Nash bargaining solution over updates", step="pub"),
        Method("pub+clippy", "PUB over updates clipped by Clippy", step="pub", manipulation="Clippy"),
        Method("pub+adatask", "PUB over AdaTask's updates", step="pub", manipulation="AdaTask"),
    )
}


def method(name: str) -> Method:
    """The method of this name; case, "-" and "_" make no difference, "LS" is equal weighting.

    Raises:
        BadOption: there is none.

    >>> method("NashMTL").name, method("AdaTask+PCGrad").name
    ('nash-mtl', 'adatask+pcgrad')
    """
    known = {_bare(each): each for each in METHODS} | {"ls": "equal-weight", "ew": "equal-weight"}
    bare = _bare(name)
    if bare not in known:
        close = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
        fix = f"did you mean {', '.join(known[each] for each in close)}?" if close else ""
        raise BadOption(f"no method {name!r}", fix=fix or "see `dominance train --list`")
    return METHODS[known[bare]]


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())
