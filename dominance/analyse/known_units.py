"""Units that need no pattern: what is an expert, a head, a neuron or a row of an embedding is read off a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dominance.analyse.kinds import kind
from dominance.analyse.units import Units
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

WORDS = ("expert", "head", "neuron", "row")
"""What ``known`` knows."""

_STACKED = ("in_proj_weight", "in_proj_bias", "qkv.*", "Wqkv.*", "c_attn.*")
_QUERIES = ("q_proj_weight", "q_proj.*", "q.*", "query.*", "to_q.*", "q_lin.*", "wq.*")
_OTHERS = tuple(each.replace("q", "k", 1).replace("kuery", "key") for each in _QUERIES)
_OTHERS += tuple(each.replace("q", "v", 1).replace("vuery", "value") for each in _QUERIES)
_OUT = ("out_proj.weight", "o_proj.weight", "c_proj.weight", "proj.weight", "o.weight", "dense.weight", "out.weight",
        "to_out.0.weight", "out_lin.weight", "wo.weight")  # fmt: skip
"""What torch's attention, and those of transformers, timm, diffusers and of papers' code, call their projections: to
queries, keys and values in one; to queries; to keys or values, of which there may be fewer; and back."""


def known(word: str, parameters: Sequence[Parameter], where: str) -> list[Units]:
    """The units that a word stands for.

    Args:
        word: one of ``WORDS``.
        parameters: all of the run.
        where: what a message calls the run.

    Raises:
        NothingRecorded: the model has no such units, as far as the run knows.
    """
    found = {"expert": _experts, "head": _heads, "neuron": _neurons, "row": _rows}[word](parameters)
    if not found:
        raise NothingRecorded(f"{where}: no {word} is known in this model", fix=_FIX[word])
    return found


_FIX = {
    "expert": 'say by which names: by="moe.{expert}.*"',
    "head": 'say where they are: by=Units("{attention}.qkv.weight", axis=0, count=8, stacks=3, name="head")',
    "neuron": 'say by which axis: by=Units("trunk.*", axis=0)',
    "row": 'say by which axis: by=Units("embed.*", axis=0)',
}


def told(by: object) -> list[Units] | None:
    """The units that the caller himself tells of; None where ``by`` is of parameters, or a word.

    Raises:
        BadOption: some of a list are units and some are not.
    """
    if isinstance(by, Units):
        return [by]
    if isinstance(by, str):
        return [Units(by)] if re.search(r"\{\w+\}", by) else None
    if isinstance(by, list | tuple) and any(isinstance(each, Units) for each in by):
        if not all(isinstance(each, Units) for each in by):
            raise BadOption("by: some of these are Units and some are not", fix="give Units alone, or globs alone")
        return list(by)
    return None


def _experts(parameters: Sequence[Parameter]) -> list[Units]:
    """Lists of experts; those of CGC and PLE, shared and a task's own, where there are gates beside them."""
    names = [parameter.name for parameter in parameters]
    found = []
    for before in dict.fromkeys(each[1] for name in names if (each := re.match(r"(|.*\.)gates\.", name))):
        told_apart = re.sub(r"\b(levels)\.\d+\.", r"\1.{level}.", before)
        found += [Units(f"{told_apart}shared.{{expert}}.*"), Units(f"{told_apart}own.{{task}}.{{expert}}.*")]
    found += [Units("experts.{expert}.*"), Units("{block}.experts.{expert}.*")]
    pairs = [(parameter.name, parameter.layer) for parameter in parameters]
    return [units for units in dict.fromkeys(found) if any(units.label(*pair) is not None for pair in pairs)]


def _heads(parameters: Sequence[Parameter]) -> list[Units]:
    """Rows of what makes queries, keys and values, and columns of the projection back, as wide as a head."""
    found: list[Units] = []
    outs: list[tuple[str, Units]] = []
    attentions = set()
    for parameter in parameters:
        if not (parameter.heads or parameter.head_dim):
            continue
        turned = parameter.module not in ("Linear", "NonDynamicallyQuantizableLinear", "MultiheadAttention")
        turned = turned and len(parameter.shape) == 2  # transformers' Conv1D has its inputs first
        for names, stacks in ((_STACKED, 3), (_QUERIES, 1), (_OTHERS, 1)):
            attention = _before(parameter.name, names)
            if attention is not None:
                attentions.add(attention)
                found += _along(parameter, attention, 1 if turned else 0, stacks, fewer=names is _OTHERS)
        attention = _before(parameter.name, _OUT)
        if attention is not None:
            outs += [(attention, units) for units in _along(parameter, attention, 0 if turned else 1, 1)]
    return found + [units for attention, units in outs if attention in attentions]


def _along(parameter: Parameter, attention: str, axis: int, stacks: int, *, fewer: bool = False) -> list[Units]:
    """Units of one projection; none where its axis has no whole number of heads.

    Args:
        fewer: there may be fewer heads of these than there are of queries.
    """
    if axis >= len(parameter.shape):
        return []
    length = parameter.shape[axis] // stacks
    count = length // parameter.head_dim if parameter.head_dim else parameter.heads
    if not count or length % count or parameter.shape[axis] % stacks:
        return []
    few = fewer and parameter.heads and count < parameter.heads
    before = f"{attention}, " if attention else ""
    name = f"{before}{'key and value head' if few else 'head'}"
    return [Units(parameter.name, axis=axis, count=count, stacks=stacks, name=name)]


def _before(name: str, names: Sequence[str]) -> str | None:
    """The path of the attention in which a parameter has one of these names."""
    for each in names:
        said = re.escape(each).replace(r"\*", r"\w*")
        found = re.fullmatch(rf"(?:(.*)\.)?{said}", name)
        if found:
            return found[1] or ""
    return None


def _neurons(parameters: Sequence[Parameter]) -> list[Units]:
    """Outputs of linear and convolutional layers: the weights that lead to them, and their biases."""
    found = []
    for parameter in parameters:
        if len(parameter.shape) >= 2 and kind(parameter.module) in ("mlp", "conv", "attention", "other", ""):
            axis = 1 if "ConvTranspose" in parameter.module else 0
            found.append(Units(parameter.name, axis=axis))
            lengths = (parameter.shape[axis],)
            found += [Units(p.name, axis=0) for p in parameters if p.layer == parameter.layer and p.shape == lengths]
    return found


def _rows(parameters: Sequence[Parameter]) -> list[Units]:
    return [Units(p.name, axis=0) for p in parameters if kind(p.module) == "embedding" and len(p.shape) == 2]
