"""Multi-task architectures as plain modules, one file each."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from dominance.benchmarks.models.base import Architecture, MakeModule
from dominance.benchmarks.models.cgc import CGC
from dominance.benchmarks.models.cross_stitch import CrossStitch
from dominance.benchmarks.models.hps import HPS
from dominance.benchmarks.models.mmoe import MMoE
from dominance.benchmarks.models.mtan import MTAN
from dominance.benchmarks.models.ple import PLE
from dominance.errors import BadOption

ARCHITECTURES = ("hps", "mmoe", "cgc", "ple", "cross-stitch", "mtan")
OF_EXPERTS = ("mmoe", "cgc", "ple")
"""Those whose experts may read what one shared stem makes of the inputs."""


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
        name: one of ``ARCHITECTURES``.
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
            model = make(make_encoder, features, heads, multi_input=multi_input, inputs=inputs)
            model.stem = stem
            return model
    raise BadOption(f"no architecture {name!r}", fix=f"choose from {', '.join(ARCHITECTURES)}")
