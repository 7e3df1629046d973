"""Multi-task architectures as plain modules, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dominance.benchmarks.arguments import pairs, read
from dominance.benchmarks.models.base import Architecture, MakeModule
from dominance.benchmarks.models.cgc import CGC
from dominance.benchmarks.models.cross_stitch import CrossStitch
from dominance.benchmarks.models.hps import HPS
from dominance.benchmarks.models.mmoe import MMoE
from dominance.benchmarks.models.mtan import MTAN
from dominance.benchmarks.models.ple import PLE
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadOption

ARCHITECTURES = ("hps", "mmoe", "cgc", "ple", "cross-stitch", "mtan")
OF_EXPERTS = ("mmoe", "cgc", "ple")
"""Those whose experts may read what one shared stem makes of the inputs."""
_COUNTS = {"mmoe": ("experts", "levels"), "cgc": ("shared", "own"), "ple": ("levels", "shared", "own")}


def parted(architecture: str) -> tuple[str, dict[str, int]]:
    """The name of an architecture, and the counts that are typed after it.

    Raises:
        BadOption: a count that it does not have, or no whole number.

    >>> parted("mmoe:experts=4,levels=2"), parted("hps")
    (('mmoe', {'experts': 4, 'levels': 2}), ('hps', {}))
    """
    name, _, rest = architecture.partition(":")
    typed = pairs(rest.split(",") if rest else (), "--architecture")
    counts = read(typed, dict.fromkeys(_COUNTS.get(name, ()), int), "--architecture", name)
    for what, count in counts.items():
        at_least(0 if what in ("shared", "own") else 1, **{what: count})
    if not counts.get("shared", 1) + counts.get("own", 1):
        raise BadOption(f"{architecture} has no experts", fix="give shared or own ones")
    return name, counts


def build(
    name: str,
    make_encoder: MakeModule,
    features: int,
    heads: Mapping[str, MakeModule],
    *,
    multi_input: bool = False,
    inputs: int | None = None,
    stem: nn.Module | None = None,
) -> Architecture:
    """A model of the named architecture.

    Args:
        name: one of ``ARCHITECTURES``; counts of experts and levels may follow it, see ``parted``. "mmoe" in several
            levels is "ple" without experts of a task's own: one gate mixes the experts for the next level's, which all
            tasks share, and each task has gates of its own, too.
        make_encoder: makes one trunk, from inputs to (batch, features); or to maps, (batch, features, height, width),
            but for "ple". For "cross-stitch" and "mtan" a Sequential whose children are its stages.
        features: what a trunk puts out.
        heads: task -> what makes its head, from (batch, features) to the task's output.
        multi_input: each task has inputs of its own.
        inputs: size of one sample, flattened: what the gates of "mmoe", "cgc" and "ple" read; see ``experts.Gate``.
        stem: of the architectures ``OF_EXPERTS``: what all experts and gates read the output of; ``make_encoder`` and
            ``inputs`` are then of that output.

    Raises:
        BadOption: there is no such architecture, or the trunk does not suit it.
    """
    name, counts = parted(name)
    if stem is not None and name not in OF_EXPERTS:
        raise BadOption(f"{name} has no stem", fix=f"choose from {', '.join(OF_EXPERTS)}")
    match name:
        case "hps":
            return HPS(make_encoder, heads, multi_input=multi_input)
        case "cross-stitch":
            return CrossStitch(make_encoder, heads, multi_input=multi_input)
        case "mtan":
            return MTAN(make_encoder, heads, multi_input=multi_input)
        case "mmoe" | "cgc" | "ple":
            make: type[MMoE] | type[CGC] | type[PLE] = {"mmoe": MMoE, "cgc": CGC, "ple": PLE}[name]
            if name == "mmoe" and (levels := counts.pop("levels", 1)) > 1:
                make, counts = PLE, {"levels": levels, "shared": counts.get("experts", 8), "own": 0}
            model = make(make_encoder, features, heads, multi_input=multi_input, inputs=inputs, **counts)
            model.stem = stem
            return model
    raise BadOption(f"no architecture {name!r}", fix=f"choose from {', '.join(ARCHITECTURES)}")
